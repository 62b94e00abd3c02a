"""Who owns what was unpacked: names go to a program's stdin, which no list of processes shows."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, list_tree
from biso_tasks.files.owners import hand_to
from biso_tasks.host.local import LocalHost
from biso_tasks.host.protocol import CommandFailed

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="gives files away: run as root"),
]

NAMES = ("Akte Großkopf.pdf", "-rf", "#kein Kommentar", "; auch keiner", "zwei\nZeilen", "*",
         "sub/tief/er.txt", "sub/tief", "sub", "zeiger", "setuid",
         os.fsdecode(b"\xff\xfe"))  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "wurzel mit ä"
    (root / "sub/tief").mkdir(parents=True)
    for name in NAMES:
        if name not in ("sub", "sub/tief", "zeiger"):
            (root / name).write_text("x")
    (tmp_path / "fremd").write_text("nicht unseres")
    (root / "zeiger").symlink_to(tmp_path / "fremd")
    (root / "setuid").chmod(0o6755)
    (root / "bleibt").write_text("x")
    (root / "sub/bleibt auch").write_text("x")
    return root


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What chown was given, whoever called it."""
    fake = tmp_path / "bin"
    fake.mkdir()
    log = tmp_path / "chown.log"
    chown = fake / "chown"
    chown.write_text(
        f'#!/bin/bash\nprintf "%s\\n" "$@" >>"{log}"\nexec {shutil.which("chown")} "$@"\n'
    )
    chown.chmod(0o755)
    log.touch()
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    return log


@pytest.fixture
def host(words: Path) -> Iterator[LocalHost]:
    one = LocalHost("here")
    yield one
    one.close()


def entries(host: LocalHost, tree: Path) -> list[Entry]:
    listed = {entry.path: entry for entry in list_tree(Access(host), str(tree)).entries}
    return [listed[name] for name in NAMES]


def owner_of(path: Path) -> tuple[str, int]:
    found = path.lstat()
    return pwd.getpwuid(found.st_uid).pw_name, found.st_gid


def require_given(tree: Path, names: Sequence[str], group: int) -> None:
    for name in names:
        assert owner_of(tree / name) == ("daemon", group), name
    for name in ("bleibt", "sub/bleibt auch", "../fremd"):
        assert owner_of(tree / name) == ("root", 0), name


def test_names_of_files_stand_in_no_list_of_processes(
    host: LocalHost, tree: Path, words: Path
) -> None:
    before = {name: (tree / name).lstat() for name in NAMES}
    hand_to(Access(host), str(tree), entries(host, tree), "daemon:bin")
    require_given(tree, NAMES, 2)
    assert words.read_text() == "", "nor in chown's own words"
    for name, was in before.items():
        now = (tree / name).lstat()
        assert (now.st_ino, now.st_mtime_ns, now.st_mode) == (
            was.st_ino, was.st_mtime_ns, was.st_mode,
        ), name  # fmt: skip


def test_a_user_alone_leaves_the_group(host: LocalHost, tree: Path) -> None:
    hand_to(Access(host), f"{tree}/", entries(host, tree), "daemon")
    require_given(tree, NAMES, 0)


def test_the_root_is_given_and_not_what_is_in_it(host: LocalHost, tree: Path, words: Path) -> None:
    top = entries(host, tree)[0]._replace(path="")
    hand_to(Access(host), str(tree), [top], "daemon:bin")
    assert owner_of(tree) == ("daemon", 2)
    require_given(tree, [], 2)
    assert owner_of(tree / "setuid")[0] == "root"
    assert words.read_text().splitlines() == ["-h", "daemon:bin", "--", str(tree)]


def test_without_rsync_chown_does_it(
    host: LocalHost, tree: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = words.parent / "bin/rsync"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    hand_to(Access(host), str(tree), entries(host, tree), "daemon:bin")
    require_given(tree, NAMES, 2)
    assert "Großkopf".encode() in words.read_bytes()


@pytest.mark.parametrize("owner", ["nobody-here:bin", "daemon,root:daemon", "*:bin", "daemon:"])
def test_an_owner_that_is_none_is_chown_s_to_judge(host: LocalHost, tree: Path, owner: str) -> None:
    if owner == "daemon:":  # to chown: the group that this user has at login
        hand_to(Access(host), str(tree), entries(host, tree), owner)
        require_given(tree, NAMES, pwd.getpwnam("daemon").pw_gid)
        return
    with pytest.raises(CommandFailed):
        hand_to(Access(host), str(tree), entries(host, tree), owner)
    assert owner_of(tree / "setuid")[0] == "root"


def test_nothing_to_give_runs_nothing(host: LocalHost, tree: Path, words: Path) -> None:
    hand_to(Access(host), str(tree), [], "daemon:bin")
    assert words.read_text() == ""
