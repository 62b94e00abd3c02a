"""A restore gives back what was sealed, whatever the live files look like; or nothing at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from restore_site import Restored, fingerprint_of, tree

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

LETTER = "brief_vorlagen/Erstgespräch.docx"
GONE = f"""
[[recipes.restore.insert]]
after = "open-set"
name = "vanishes"
on = "prod"
run = ["rm", "{{set.path}}/data/{LETTER}"]
"""


def spoil(path: Path) -> None:
    """Flip a bit in the middle; size and times stay."""
    was = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def test_a_damaged_live_file_of_the_right_size_and_time_is_not_taken_over(world: Restored) -> None:
    prod = world.prod
    before = tree(prod.datadir), tree(prod.webroot)
    attachment = next((prod.datadir / "dateien").rglob("*.pdf"))
    for path in (attachment, prod.datadir / LETTER, prod.webroot / "index.php"):
        spoil(path)

    document = world.restore()

    assert (tree(prod.datadir), tree(prod.webroot)) == before
    assert document["ok"]


def test_neither_a_reset_nor_a_refresh_from_a_set_takes_a_damaged_file_over(
    world: Restored,
) -> None:
    test = world.test
    world.run("baseline", env="test", name="")
    letter = test.datadir / LETTER
    whole = letter.read_bytes()

    spoil(letter)
    world.run("reset-test", env="test", name="", confirm="test")
    assert letter.read_bytes() == whole

    theirs = world.prod.datadir / LETTER
    shutil.copy2(theirs, letter)
    spoil(letter)
    given = {"from_": "", "to": "", "source": world.id, "no_anonymize": True, "keep_stage": False}
    world.run("refresh-test", **given)
    assert letter.read_bytes() == theirs.read_bytes()


def test_a_file_that_does_not_arrive_ends_the_restore_before_anything_is_swapped(
    world: Restored,
) -> None:
    world.write(GONE)
    before = tree(world.prod.datadir), fingerprint_of(world.prod, "biso")
    sealed = world.set_folder / "data" / LETTER
    kept = world.built.root / "kept"
    os.link(sealed, kept)
    try:
        error = world.restore(4)["error"]
    finally:
        kept.rename(sealed)

    assert error["kind"] == "proof"
    assert f"data/{LETTER}" in error["message"]
    assert "did not arrive" in error["message"]
    assert (tree(world.prod.datadir), fingerprint_of(world.prod, "biso")) == before
