"""A set that was harmed in any way is accepted by no command: harmed before, `restore` and
`refresh-test` find it as `verify` does (tests/faults: byte by byte); harmed after it was read, what
was made of it is not used. The real commands, in this process and on a small set."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored, fingerprint_of, tree

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

LETTER = "brief_vorlagen/Erstgespräch.docx"


def dump_of(folder: Path) -> Path:
    return next((folder / "db").glob("biso_2*.sql.gz"))


def flip(path: Path) -> None:
    """Another byte in the middle; size and times stay, as of a disk that rots."""
    was, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def exchange(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc")


def vouch(folder: Path, *changed: Path) -> None:
    """Make the sums and the state agree with what these files hold now, as somebody would who may
    write into the store, or a backup that believed a pipe."""
    sums, state = folder / "SHA256SUMS", folder / "state.toml"
    text = sums.read_bytes()
    for path in changed:
        at = text.index(b"  " + os.fsencode(path.relative_to(folder)) + b"\n")
        text = text[: at - 64] + sha256(path).encode() + text[at:]
    sums.write_bytes(text)
    state.write_text(re.sub(r'^sums = ".*"', f'sums = "{sha256(sums)}"', state.read_text(),
                            flags=re.MULTILINE))  # fmt: skip


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal_a_cut_dump(folder: Path) -> None:
    dump, manifest = dump_of(folder), folder / "manifest.toml"
    before, text = sha256(dump), gzip.decompress(dump.read_bytes())
    dump.write_bytes(gzip.compress(text[: text.rindex(b"-- PostgreSQL database dump")], 1))
    manifest.write_text(manifest.read_text().replace(before, sha256(dump)))
    vouch(folder, dump, manifest)


def sums_made_anew(folder: Path) -> None:
    flip(folder / "data" / LETTER)
    state = (folder / "state.toml").read_bytes()
    vouch(folder, folder / "data" / LETTER)
    (folder / "state.toml").write_bytes(state)


HARMS: dict[str, Callable[[Path], object]] = {
    "a byte of the dump": lambda folder: flip(dump_of(folder)),
    "the dump cut": lambda folder: os.truncate(dump_of(folder), dump_of(folder).stat().st_size - 9),
    "a dump that was sealed cut": seal_a_cut_dump,
    "the dump gone": lambda folder: dump_of(folder).unlink(),
    "the log's dump in its place": lambda folder: shutil.copy(
        next((folder / "db").glob("biso_log_*")), dump_of(folder)
    ),
    "a byte of an attachment": lambda folder: flip(folder / "data" / LETTER),
    "a file cut": lambda folder: os.truncate(folder / "webroot/index.php", 20),
    "a file gone": lambda folder: (folder / "data" / LETTER).unlink(),
    "two files exchanged": lambda folder: exchange(
        folder / "data/fop.xconf", folder / "data/phpdocxconfig.ini"
    ),
    "a file too many": lambda folder: (folder / "webroot/evil.php").write_text("<?php"),
    "a folder gone": lambda folder: (folder / "data/tmp").rmdir(),
    "a link led elsewhere": lambda folder: relink(folder / "data/Verweis"),
    "a byte of the manifest": lambda folder: flip(folder / "manifest.toml"),
    "a byte of METADATA": lambda folder: flip(folder / "METADATA"),
    "a byte of SHA256SUMS": lambda folder: flip(folder / "SHA256SUMS"),
    "SHA256SUMS gone": lambda folder: (folder / "SHA256SUMS").unlink(),
    "sums made anew": sums_made_anew,
    "another privilege": lambda folder: (folder / "db/grants.sql").write_text("DROP TABLE person;"),
    "another config.php": lambda folder: flip(folder / "config/config.php"),
    "its state gone": lambda folder: (folder / "state.toml").unlink(),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "set"


@pytest.fixture
def harmed(world: Restored, kept: Path) -> Iterator[Restored]:
    """A site whose set may be harmed: it is whole again afterwards."""
    if not kept.exists():
        shutil.copytree(world.set_folder, kept, symlinks=True)
    yield world
    heal(world, kept)


def heal(world: Restored, kept: Path) -> None:
    shutil.rmtree(world.set_folder)
    shutil.copytree(kept, world.set_folder, symlinks=True)


def served(world: Restored) -> tuple[Any, ...]:
    prod, test = world.prod, world.test
    return (
        *(tree(place) for one in (prod, test) for place in (one.webroot, one.datadir)),
        fingerprint_of(prod, "biso"), fingerprint_of(test, "biso_test"),
    )  # fmt: skip


def commands(world: Restored) -> dict[str, dict[str, Any]]:
    to_test = {"to": "test", "confirm": "test"}
    restore = {"set_": world.id, "only": "", "from_": "", "table": "", "path": "", **to_test}
    refresh = {"from_": "", "source": world.id, "no_anonymize": False, "keep_stage": False}
    return {
        "verify": {"set_": world.id, "all_": False, "drill": False, "on": "", "from_": ""},
        "restore": restore,
        "refresh-test": {**refresh, **to_test},
    }


USUAL = (
    "a dump that was sealed cut", "a file gone", "a byte of the manifest", "sums made anew",
    "another config.php", "its state gone",
)  # fmt: skip
"""tests/faults/test_sets_tampered.py harms every place of a set, and asks `verify`."""


@pytest.mark.parametrize(
    "harm",
    [harm if harm in USUAL else pytest.param(harm, marks=pytest.mark.whole) for harm in HARMS],
)
def test_no_command_takes_a_set_that_was_harmed(harmed: Restored, kept: Path, harm: str) -> None:
    world = harmed
    before = served(world)
    for command in ("restore", "refresh-test"):
        HARMS[harm](world.set_folder)
        error = world.run(command, 4, **commands(world)[command])["error"]
        assert error["kind"] == "proof" and world.id in error["message"], (command, error)
        (listed,) = world.run("list", env="", from_="")["sets"]
        assert listed["state"] == "damaged", command
        heal(world, kept)
    assert served(world) == before
    assert "__stage" not in world.test.psql("SELECT datname FROM pg_database", dbname="postgres")


# -- between its verification and its use --

# What a person with access, or a disk, does to it after all of it was read and found well.
LATER = {
    "the dump": 'cp "$1/other.sql.gz" "$(echo "$0"/db/biso_2*.sql.gz)"',
    "an attachment": 'cp "$1/attachment" "$0/data/$2"; touch -r "$1/times" "$0/data/$2"',
    "METADATA": 'cp "$1/METADATA" "$0/METADATA"',
    "privileges": 'echo "DROP TABLE person;" >"$0/db/grants.sql"',
}
INSERT = """
[[recipes.{recipe}.insert]]
after = "open-set"
name = "harms"
on = "prod"
run = ["bash", "-c", '{text}', "{{set.path}}", "{folder}", "{attachment}"]
"""


@pytest.fixture
def raw(harmed: Restored) -> Restored:
    """A site that does not anonymise: nothing but the set decides what comes."""
    file = harmed.built.root / "biso.toml"
    text = re.sub(r"^anonymize = .*$", "", file.read_text(), flags=re.MULTILINE)
    file.write_text(text.replace("[refresh]\n", "[refresh]\nanonymize = false\n"))
    return harmed


def write_later(world: Restored, folder: Path, recipe: str, harm: str) -> None:
    """A step that harms the set behind the one that reads it. The attachment, which test has not,
    keeps its size and times."""
    sealed = world.set_folder
    text = gzip.decompress(dump_of(sealed).read_bytes())
    changed = text.replace(b"COPY public.person ", b"-- COPY public.person ", 1)
    (folder / "other.sql.gz").write_bytes(gzip.compress(changed))
    entries = (sealed / "METADATA").read_bytes().split(b"\0")
    entries[2] = b"0777"  # the mode of the first one
    (folder / "METADATA").write_bytes(b"\0".join(entries))
    for path in sorted((sealed / "data/dateien").rglob("*.pdf")):
        name = path.relative_to(sealed / "data")
        if not (world.test.datadir / name).exists():
            break
    for copy in ("attachment", "times"):
        shutil.copy2(path, folder / copy)
    flip(folder / "attachment")
    with (world.built.root / "biso.toml").open("a") as handle:
        handle.write(INSERT.format(recipe=recipe, text=LATER[harm], folder=folder, attachment=name))


@pytest.mark.parametrize(
    ("command", "harm"),
    [
        ("restore", "the dump"),
        ("refresh-test", "METADATA"),
        ("verify", "an attachment"),
        *(
            pytest.param("restore", harm, marks=pytest.mark.whole)
            for harm in LATER
            if harm != "the dump"
        ),
        pytest.param("refresh-test", "the dump", marks=pytest.mark.whole),
        pytest.param("verify", "the dump", marks=pytest.mark.whole),
    ],
)
def test_what_is_harmed_after_it_was_read_is_not_used(
    raw: Restored, tmp_path: Path, command: str, harm: str
) -> None:
    world = raw
    recipe = {"refresh-test": "refresh-from-set", "verify": "drill"}.get(command, command)
    write_later(world, tmp_path, recipe, harm)
    before = served(world)
    more = {"verify": {"drill": True}, "refresh-test": {"no_anonymize": True}}.get(command, {})
    document = world.run(command, 4, **{**commands(world)[command], **more})
    assert {one["name"]: one["status"] for one in document["steps"]}["harms"] in ("ok", "undone")
    assert document["error"]["kind"] == "proof", document["error"]
    if command == "verify":
        assert document["findings"] and document["drilled"] is False
    assert served(world) == before
    assert "__stage" not in world.test.psql("SELECT datname FROM pg_database", dbname="postgres")
