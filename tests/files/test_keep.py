"""What stays the test instance's own, whatever came from production."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.files.access import Access
from biso_tasks.files.keep import is_kept, keep_files, not_there
from biso_tasks.files.listing import FilesError

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync")]


def tree(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: Any = os.readlink(path) if path.is_symlink() else None
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
        name = str(path.relative_to(root))
        time = None if path.is_dir() else status.st_mtime_ns
        found[name] = (status.st_mode, status.st_uid, time, content)
    return found


@pytest.fixture
def live(tmp_path: Path) -> Path:
    root = tmp_path / "live ä"
    (root / "eigen/tief/leer").mkdir(parents=True)
    (root / "eigen/tief").chmod(0o2750)
    (root / "eigen/a").write_text("test")
    os.link(root / "eigen/a", root / "eigen/tief/b")
    (root / "eigen/link").symlink_to("/etc/hostname")
    (root / "datei").write_text("test")
    (root / "wird").mkdir()
    (root / "wird/x").write_text("test")
    (root / "haengt").symlink_to("nirgends")
    return root


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    root = tmp_path / "stage $(id)"
    (root / "eigen/nur prod").mkdir(parents=True)
    (root / "eigen/a").write_text("prod")
    (root / "datei").mkdir()
    (root / "datei/y").write_text("prod")
    (root / "wird").write_text("prod")
    return root


NAMES = ("eigen", "datei", "wird", "haengt", "gibt/es nicht")


def test_folders_stay_whole_and_take_the_place_of_what_came(
    here: Access, live: Path, stage: Path
) -> None:
    kept = keep_files(here, str(live), str(stage), NAMES)
    assert kept == NAMES[:-1]
    assert tree(stage) == tree(live)
    there, here = (os.lstat(root / "eigen/a") for root in (live, stage))
    assert there.st_ino != here.st_ino, "a copy, not a link"
    assert os.lstat(stage / "eigen/tief/b").st_ino == here.st_ino


def test_folders_on_the_way_are_made_as_they_are(here: Access, live: Path, stage: Path) -> None:
    shutil.rmtree(stage / "eigen")
    keep_files(here, str(live), str(stage), ("eigen/tief/b",))
    assert stat.S_IMODE((stage / "eigen/tief").stat().st_mode) == 0o2750
    assert (stage / "eigen/tief/b").read_text() == "test"
    assert not (stage / "eigen/a").exists()


def test_a_link_that_came_is_not_followed(
    here: Access, live: Path, stage: Path, tmp_path: Path
) -> None:
    """It may lead to what is live: there nothing may be written, let alone removed."""
    shutil.rmtree(stage / "eigen")
    (stage / "eigen").symlink_to(live / "eigen")
    before = tree(live)
    with pytest.raises(FilesError, match="'eigen' is a link"):
        keep_files(here, str(live), str(stage), ("eigen/a",))
    assert tree(live) == before
    keep_files(here, str(live), str(stage), ("eigen",))
    assert tree(live) == before
    assert not (stage / "eigen").is_symlink()


def test_root_keeps_folders_of_others(lab: Any) -> None:
    test = lab.test
    live, stage = lab.root / "behalten/live", lab.root / "behalten/stage"
    for root in (live, stage):
        (root / "eigen").mkdir(parents=True)
        for path in (root.parent, root, root / "eigen"):
            path.chmod(0o755)
    (live / "eigen/geheim").write_text("test")
    (live / "eigen/geheim").chmod(0o600)
    (live / "eigen").chmod(0o711)
    (stage / "eigen/prod").write_text("prod")
    try:
        kept = keep_files(test.access(root=True), str(live), str(stage), ("eigen", "fehlt"))
        assert kept == ("eigen",)
        assert tree(stage) == tree(live)
    finally:
        shutil.rmtree(live.parent)


def test_a_name_that_is_not_there_is_told() -> None:
    told = not_there(("da", "dort/", "*.xconf", "fehlt"), ("da", "dort"))
    assert told == (
        "keep_files: the data dir has no '*.xconf'; these are names, no patterns",
        "keep_files: the data dir has no 'fehlt'",
    )


@pytest.mark.parametrize(
    ("path", "kept"),
    [("a", True), ("a/b/c", True), ("ab", False), ("x/a", False), ("d/e", True), ("d", False)],
)
def test_what_lies_in_a_kept_folder_is_kept(path: str, kept: bool) -> None:
    assert is_kept(path, ("a", "d/e")) == kept
