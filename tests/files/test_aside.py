"""A data dir changed where it stands, and put back, whatever happened to it in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import NeedsPerson
from biso_tasks.files.access import Access
from biso_tasks.files.aside import compare, put_back, replace_tree, save
from biso_tasks.files.listing import DATA_EXCLUDES, list_tree
from biso_tasks.files.policy import decide
from biso_tasks.host import LocalHost

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync")]


def fill(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(1, 1_600_000_000_000_000_001 + len(text)))


def seen(root: Path) -> dict[str, Any]:
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        name = str(path.relative_to(root))
        if name.startswith("tmp/") or name.endswith(".log") or path.name == "tmp":
            continue
        content: Any = os.readlink(path) if path.is_symlink() else None
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
        found[name] = (status.st_mode, status.st_mtime_ns, content)
    return found


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path, Path]:
    source, live = tmp_path / "prod ä", tmp_path / "test $(id)"
    fill(source, {
        "gleich.txt": "gleich", "anders.txt": "neu und anders", "neu/tief/x": "neu", "zu/y": "y",
        "Brief \n1": "b", "fop.xconf": "prod", "weg.log": "l", "wird datei": "jetzt Datei",
    })  # fmt: skip
    fill(live, {
        "gleich.txt": "gleich", "anders.txt": "alt", "alt/tief/x": "alt", "alt/tief/z.log": "log",
        "wird datei/a": "Ordner", "zu": "eine Datei", "fop.xconf": "test", "tmp/t": "t",
    })  # fmt: skip
    (live / "link").symlink_to("gleich.txt")
    os.link(live / "alt/tief/x", live / "hart")
    (source / "link").symlink_to("anders.txt")
    return source, live, tmp_path / "stage/in-place"


@pytest.fixture
def at() -> Iterator[Access]:
    host = LocalHost("test")
    yield Access(host)
    host.close()


def go(
    at: Access, source: Path, live: Path, place: Path, *, touched: bool = False, upto: str = "end"
) -> None:
    listing = list_tree(at, str(source))
    decision = decide(listing, (), anonymize=False)
    changes = compare(
        at, list_tree(at, str(live)), listing, decision, ["fop.xconf"], touched=touched
    )
    save(at, str(live), str(place), changes)
    if upto == "end":
        replace_tree(at, str(source), at, str(live), changes, route="local")


def back(at: Access, live: Path, place: Path) -> int:
    return put_back(at, str(live), str(place), exclude=DATA_EXCLUDES)


def test_the_live_tree_becomes_the_other_one_and_back(
    at: Access, trees: tuple[Path, Path, Path]
) -> None:
    source, live, place = trees
    before = seen(live)
    inode = (live / "gleich.txt").stat().st_ino
    go(at, source, live, place)
    expected = seen(source) | {"fop.xconf": before["fop.xconf"]}
    found = seen(live)
    # a folder that holds a log is not ours to delete
    assert {n: one for n, one in found.items() if not n.startswith("alt")} == expected
    assert (live / "gleich.txt").stat().st_ino == inode
    assert (live / "alt/tief/z.log").exists()
    assert (live / "tmp/t").exists()
    for _ in range(2):
        back(at, live, place)
        assert seen(live) == before


def test_files_that_plugins_wrote_or_renamed_come_back_too(
    at: Access, trees: tuple[Path, Path, Path]
) -> None:
    """Without `touched`, a scrubber's write into an unchanged file could not be taken back."""
    source, live, place = trees
    before = seen(live)
    go(at, source, live, place, touched=True)
    (live / "gleich.txt").write_text("geschwärzt")
    (live / "anders.txt").rename(live / "umbenannt.txt")
    (live / "neues Verzeichnis").mkdir()
    back(at, live, place)
    assert seen(live) == before
    shutil.rmtree(place)
    go(at, source, live, place)
    (live / "gleich.txt").write_text("geschwärzt")
    back(at, live, place)
    assert seen(live) != before


def test_nothing_kept_aside_means_nothing_was_changed(
    at: Access, trees: tuple[Path, Path, Path]
) -> None:
    _, live, place = trees
    before = seen(live)
    assert back(at, live, place) == 0
    assert seen(live) == before


def test_half_a_list_deletes_nothing(at: Access, trees: tuple[Path, Path, Path]) -> None:
    """What the list does not name would be deleted."""
    source, live, place = trees
    go(at, source, live, place, upto="save")
    before = seen(live)
    original = place / "original"
    original.write_bytes(original.read_bytes()[:40])
    with pytest.raises(NeedsPerson, match="cut off"):
        back(at, live, place)
    assert seen(live) == before


def test_a_folder_that_is_kept_stays_whole(here: Access, trees: tuple[Path, Path, Path]) -> None:
    source, live, place = trees
    fill(source, {"eigen/prod.txt": "p", "eigen/tief/beide.txt": "prod", "eigener/x": "x"})
    fill(live, {"eigen/test.txt": "t", "eigen/tief/beide.txt": "test", "eigener/y": "y"})
    before = {name: one for name, one in seen(live).items() if name.startswith("eigen/")}
    files = here
    wanted = list_tree(files, str(source))
    decision = decide(wanted, [], anonymize=False)
    names = ("eigen", "fop.xconf", "gibt es nicht")
    found = compare(files, list_tree(files, str(live)), wanted, decision, names, touched=False)
    assert found.kept == ("eigen", "fop.xconf")
    save(files, str(live), str(place), found)
    replace_tree(files, str(source), files, str(live), found, route="local")
    now = seen(live)
    assert {name: one for name, one in now.items() if name.startswith("eigen/")} == before
    assert {name for name in now if name.startswith("eigener/")} == {"eigener/x"}
    assert (live / "fop.xconf").read_text() == "test"
