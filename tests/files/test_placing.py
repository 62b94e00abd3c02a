"""Placeholders arrive in one stream, each a file of its own with the original's attributes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, list_tree
from biso_tasks.files.placeholders import placeholder
from biso_tasks.files.placing import write_placeholders
from biso_tasks.files.policy import decide
from biso_tasks.files.sync import finish_root, transfer

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync", "root")]

MODEL = Entry("", "file", 5, 1_600_000_000_987_654_321, 0o640, "root", "root", 1, 1, 1, "", True)


def test_hostile_names_and_attributes_survive(here: Access, tmp_path: Path) -> None:
    odd = [b"new\nline.pdf", b"-rf", b"\xff\xfe.png", b"d/" + b"x" * 200 + b"/y.txt", b"\\n.txt"]
    entries = [MODEL._replace(path=os.fsdecode(name)) for name in odd]
    entries.append(MODEL._replace(path="www.txt", owner="www-data", group="www-data"))
    entries.append(MODEL._replace(path="empty.pdf", size=0))
    root = tmp_path / "dst"
    assert write_placeholders(here, str(root), entries) == len(entries)
    for entry in entries:
        path = root / entry.path
        there = path.stat()
        assert path.read_bytes() == (placeholder(entry.path) if entry.size else b"")
        assert there.st_mode & 0o7777 == 0o640
        assert path.owner() == entry.owner
        # the second is the original's; its last nanosecond tells it from the original
        assert there.st_mtime_ns == 1_600_000_000_000_000_001
        assert there.st_nlink == 1


def test_thousands_are_written_in_one_go(here: Access, tmp_path: Path) -> None:
    entries = [MODEL._replace(path=f"anhang/{number % 30}/{number}.pdf") for number in range(5_000)]
    write_placeholders(here, str(tmp_path / "dst"), entries)
    assert len(list((tmp_path / "dst/anhang/7").iterdir())) == 167


def test_an_unknown_fallback_owner_is_a_configuration_error(here: Access, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist there"):
        write_placeholders(here, str(tmp_path / "d"), [MODEL], fallback_owner="nosuch:www-data")


def test_an_anonymised_tree_on_another_host(lab: Any, places: tuple[Path, Path]) -> None:
    """With directories of root's that the unpacking user may not write into."""
    prod, test = places
    for path in ("anhang/1.pdf", "fonts/a.ttf", "roots/2.png"):
        (prod / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        (prod / "src" / path).write_text("a person's name")
    (prod / "src/roots").chmod(0o755)
    reader = lab.prod.access(user="www-data", root=True)
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(prod / "src"))
    decision = decide(listing, [])
    root = str(test / "dst")
    write_placeholders(writer, root, decision.placeholder)
    transfer(reader, listing.root, writer, root, decision.copy)
    finish_root(writer, root, listing.top)
    got = {str(p.relative_to(root)): p for p in Path(root).rglob("*") if p.is_file()}
    assert set(got) == {"anhang/1.pdf", "fonts/a.ttf", "roots/2.png"}
    assert got["fonts/a.ttf"].read_text() == "a person's name"
    for path in ("anhang/1.pdf", "roots/2.png"):
        assert got[path].read_bytes() == placeholder(path)
        assert got[path].owner() == "root"
    assert Path(root, "roots").stat().st_mtime_ns == (prod / "src/roots").stat().st_mtime_ns
    assert Path(root).owner() == (prod / "src").owner()


def test_a_placeholder_never_passes_for_the_original_of_the_same_size(
    here: Access, tmp_path: Path
) -> None:
    """The live tree holds placeholders of the last refresh; this one copies the originals, one of
    which has the placeholder's size and a time in whole seconds."""
    (tmp_path / "src").mkdir()
    original = tmp_path / "src/1.pdf"
    original.write_bytes(b"p" * len(placeholder("1.pdf")))
    os.utime(original, ns=(0, 1_600_000_000_000_000_000))
    listing = list_tree(here, str(tmp_path / "src"))
    write_placeholders(here, str(tmp_path / "live"), listing.entries)
    assert int((tmp_path / "live/1.pdf").stat().st_mtime) == 1_600_000_000
    transfer(
        here,
        listing.root,
        here,
        str(tmp_path / "stage"),
        listing.entries,
        basis=str(tmp_path / "live"),
    )
    assert (tmp_path / "stage/1.pdf").read_bytes() == original.read_bytes()
