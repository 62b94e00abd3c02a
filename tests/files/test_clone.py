"""A copy beside the original, on one host; and whether there is room for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.clone import clone
from biso_tasks.files.space import free_space, human, require_space

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync")]


def webroot(root: Path) -> None:
    for path in ("index.php", "data/secret", "phpdocx/lib/data/kept", "-odd\n", "sub/a"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    os.link(root / "sub/a", root / "sub/b")
    (root / "sub/link").symlink_to("a")
    os.utime(root / "sub", ns=(0, 1_500_000_000_000_000_001))


@pytest.mark.parametrize("exclude", [(), ("/data/",)])
def test_a_clone_is_whole_and_shares_nothing(
    here: Access, tmp_path: Path, exclude: tuple[str, ...]
) -> None:
    webroot(tmp_path / "src")
    files = clone(here, str(tmp_path / "src"), str(tmp_path / "dst"), exclude=exclude)
    assert files == (5 if exclude else 6)
    assert (tmp_path / "dst/data").exists() is not bool(exclude)
    assert (tmp_path / "dst/phpdocx/lib/data/kept").exists()
    assert (tmp_path / "dst/sub/a").stat().st_ino == (tmp_path / "dst/sub/b").stat().st_ino
    assert (tmp_path / "dst/sub").stat().st_mtime_ns == 1_500_000_000_000_000_001
    assert (tmp_path / "dst").stat().st_mtime_ns == (tmp_path / "src").stat().st_mtime_ns
    there = {path.lstat().st_ino for path in (tmp_path / "src").rglob("*")}
    assert not there & {path.lstat().st_ino for path in (tmp_path / "dst").rglob("*")}


@pytest.mark.parametrize("root", [True, False])
def test_a_clone_on_a_remote_host(lab: Any, places: tuple[Path, Path], root: bool) -> None:
    _, test = places
    webroot(test / "src")
    access = lab.test.access(user="www-data", root=root)
    clone(access, str(test / "src"), str(test / "dst"), exclude=("/data/",))
    assert (test / "dst/index.php").owner() == ("root" if root else "www-data")
    assert not (test / "dst/data").exists()


def test_room_is_asked_for_the_nearest_directory_that_exists(here: Access, tmp_path: Path) -> None:
    space = free_space(here, str(tmp_path / "not/yet there"))
    there = os.statvfs(tmp_path)
    assert abs(space.bytes - there.f_bavail * there.f_frsize) < 2 << 30
    path = str(tmp_path)
    assert require_space(here, path, bytes_needed=1, inodes_needed=1, purpose="x").bytes
    with pytest.raises(Refused, match=r"free; a stage needs 1000000\.0 TB"):
        require_space(here, path, bytes_needed=10**18, purpose="a stage")
    with pytest.raises(Refused, match="inodes"):
        require_space(here, path, bytes_needed=1, inodes_needed=10**15, purpose="a stage")


def test_bytes_are_written_for_people() -> None:
    assert [human(size) for size in (0, 999, 1500, 2_000_000, 1_500_000_000)] == [
        *("0 B", "999 B", "1.5 kB", "2.0 MB", "1.5 GB"),
    ]
