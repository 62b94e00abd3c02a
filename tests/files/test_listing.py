"""A listing says all that a copy must preserve, for every name that a filesystem allows."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError, list_tree

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync")]

ODD = [b"new\nline", b"-rf", b"\xff\xfe", b"quote'\"", b"tab\tname", b" ", b"a\\b", b"\xc3\xa4"]


def paths(access: Access, root: Path, **options: Any) -> list[str]:
    return [entry.path for entry in list_tree(access, str(root), **options).entries]


def test_every_name_and_every_attribute_is_seen(here: Access, tmp_path: Path) -> None:
    for name in ODD:
        file = tmp_path / os.fsdecode(name)
        file.write_bytes(b"12345")
        os.utime(file, ns=(1, 1_600_000_000_123_456_789))
        file.chmod(0o640)
    (tmp_path / "sub").mkdir()
    os.link(tmp_path / " ", tmp_path / "sub/linked")
    (tmp_path / "sub/link").symlink_to("new\nline\0"[:8])
    os.mkfifo(tmp_path / "fifo")
    os.utime(tmp_path / "fifo", ns=(0, -1_500_000_000))
    listing = list_tree(here, str(tmp_path))
    by_path = {entry.path: entry for entry in listing.entries}
    assert set(by_path) == {*map(os.fsdecode, ODD), "sub", "sub/linked", "sub/link", "fifo"}
    for entry in by_path.values():
        there = (tmp_path / entry.path).lstat()
        assert (entry.size, entry.mode) == (there.st_size, there.st_mode & 0o7777)
        assert (entry.inode, entry.device, entry.links) == (
            there.st_ino,
            there.st_dev,
            there.st_nlink,
        )
        assert entry.owner == getpass.getuser()
        assert entry.mtime == there.st_mtime_ns
    assert by_path["sub/link"].target == "new\nline"
    assert by_path["sub/link"].kind == "link"
    assert by_path["fifo"].kind == "special"
    assert listing.top.kind == "dir"
    assert listing.size == 5 * len(ODD)


def test_the_excludes_are_anchored(here: Access, tmp_path: Path) -> None:
    for path in ("tmp/x", "deep/tmp/kept", "phpdocx/lib/data/kept", "a.log", "deep/b.log"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "maintenance.on").touch()
    (tmp_path / "deep/maintenance.on").touch()
    kept = paths(here, tmp_path)
    assert {"deep/tmp/kept", "phpdocx/lib/data/kept", "deep/maintenance.on", "tmp"} <= set(kept)
    assert not {"tmp/x", "a.log", "deep/b.log", "maintenance.on"} & set(kept)
    # the trap: an exclude that is not anchored, with plain rsync
    subprocess.run(
        ["rsync", "-a", "--exclude=data", f"{tmp_path}/", f"{tmp_path}.trap"], check=True
    )
    assert not Path(f"{tmp_path}.trap/phpdocx/lib/data").exists()
    assert "phpdocx/lib/data/kept" in paths(here, tmp_path, exclude=("/data/",))


def test_a_link_named_tmp_is_left_out(here: Access, tmp_path: Path) -> None:
    (tmp_path / "tmp").symlink_to("/var/tmp")
    (tmp_path / "x").touch()
    assert paths(here, tmp_path) == ["x"]


def test_links_are_not_followed(here: Access, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    assert paths(here, tmp_path) == ["out"]


def test_an_empty_or_missing_source_is_refused(here: Access, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is empty"):
        list_tree(here, str(tmp_path))
    (tmp_path / "a.log").touch()
    with pytest.raises(Refused, match="is empty"):
        list_tree(here, str(tmp_path))
    assert list_tree(here, str(tmp_path), empty_ok=True).entries == ()
    with pytest.raises(Refused, match="does not exist"):
        list_tree(here, str(tmp_path / "nowhere"))
    with pytest.raises(Refused, match="not a directory"):
        list_tree(here, str(tmp_path / "a.log"))


def test_only_the_folders_are_listed_where_only_they_are_asked_for(
    here: Access, tmp_path: Path
) -> None:
    (tmp_path / "a/b c").mkdir(parents=True)
    (tmp_path / "a/file").touch()
    (tmp_path / "link").symlink_to("a")
    found = list_tree(here, str(tmp_path), exclude=(), folders_only=True)
    assert [one.path for one in found.entries] == ["a", "a/b c"]
    assert found.top.kind == "dir"


def test_what_the_reader_may_not_read_is_known_before_the_transfer(
    lab: Any, places: tuple[Path, Path]
) -> None:
    prod, _ = places
    access = lab.prod.access(user="www-data")
    (prod / "open").touch()
    (prod / "closed").touch(mode=0o600)
    assert list_tree(access, str(prod)).unreadable == ("closed",)
    (prod / "link").symlink_to("nirgends")
    assert [one.path for one in list_tree(access, str(prod), closed_only=True).entries] == [
        "closed"
    ]
    (prod / "tmp").mkdir(mode=0o700)
    assert "tmp" in paths(access, prod)
    (prod / "locked").mkdir(mode=0o700)
    for closed_only in (False, True):
        with pytest.raises(FilesError, match="locked"):
            list_tree(access, str(prod), closed_only=closed_only)


@pytest.mark.needs("root")
def test_a_mount_inside_is_part_of_the_tree_and_named(here: Access, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "mounted"], check=False)
    if done.returncode:
        pytest.skip("needs the right to mount")
    try:
        (tmp_path / "mounted/file").touch()
        listing = list_tree(here, str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)
    assert [entry.path for entry in listing.entries] == ["mounted", "mounted/file"]
    assert listing.mounts[0] == "mounted"


def test_a_socket_is_special(here: Access, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert list_tree(here, str(tmp_path)).entries[0].kind == "special"


CHURN = """
import os, sys
turn = 0
while True:
    turn += 1
    path = os.path.join(sys.argv[1], str(turn % 50))
    if os.path.exists(path):
        os.unlink(path)
    open(path, "w").close()
"""


def test_a_tree_is_read_while_its_files_come_and_go(here: Access, tmp_path: Path) -> None:
    """A file that is deleted under find's hands must not shift the records of those that follow."""
    writer = subprocess.Popen([sys.executable, "-c", CHURN, tmp_path])
    try:
        (tmp_path / "stays").write_text("12345")
        end, vanished = time.monotonic() + 60, 0
        while vanished < 10 and time.monotonic() < end:
            listing = list_tree(here, str(tmp_path))
            vanished += listing.vanished
            sizes = {entry.path: entry.size for entry in listing.entries}
            assert sizes.pop("stays") == 5
            assert set(sizes.values()) <= {0}
            assert set(sizes) <= {str(number) for number in range(50)}
        assert vanished >= 10, "nothing was deleted at the right moment"
    finally:
        writer.kill()
        writer.wait()
