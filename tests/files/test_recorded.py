"""A set's tree brought somewhere, and what was recorded about it put into force there."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Interrupted, ProofFailed
from biso_tasks.files.access import Access
from biso_tasks.files.capture import capture, finish
from biso_tasks.files.listing import Entry, FilesError, list_tree
from biso_tasks.files.recorded import apply_recorded
from biso_tasks.files.sync import transfer

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync", "root")]

NAMES = [
    *(b"plain", b"with space", b"new\nline", b"-rf", b"quote'\"$(touch pwned)`x`"),
    *(b"umlaut-\xc3\xa4", b"not-utf8-\xff\xfe", b"star*?[a]", b"#comment", b"host:path"),
]


def build(root: Path) -> None:
    """Everything that a set may hold; several owners."""
    base = os.fsencode(root)
    root.mkdir()
    for number, name in enumerate(NAMES):
        with open(base + b"/" + name, "wb") as file:
            file.write(b"content %d\n" % number)
        os.utime(base + b"/" + name, ns=(10**18, 1_500_000_000_123_456_789 + number))
    (root / "deep/er/empty").mkdir(parents=True)
    (root / "locked/more").mkdir(parents=True)
    (root / "locked/more/in").write_text("in folders of modes 0500 and 0000")
    (root / "one").write_text("hard")
    os.link(root / "one", root / "deep/two")
    (root / "link").symlink_to("one")
    (root / "dangling").symlink_to("no where\n")
    with open(root / "sparse", "wb") as file:
        file.truncate(20 << 20)
        file.seek(10 << 20)
        file.write(b"middle")
    subprocess.run(["chown", "-hR", "www-data:", root], check=True)
    os.chown(root / "with space", 0, 0)
    os.chown(root / "link", 0, 0, follow_symlinks=False)
    os.chown(root / "deep/er", 0, 33)
    (root / "plain").chmod(0o4750)
    (root / "-rf").chmod(0o000)
    (root / "deep").chmod(0o2770)
    (root / "locked/more").chmod(0o000)
    (root / "locked").chmod(0o500)
    os.utime(root / "dangling", ns=(0, 1_300_000_000_000_000_007), follow_symlinks=False)
    for number, path in enumerate([root / "locked/more", root / "deep/er/empty", root / "deep"]):
        os.utime(path, ns=(0, 1_400_000_000_000_000_001 + number))
    root.chmod(0o2750)


def picture(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    groups: dict[int, set[str]] = {}
    for path in [root, *root.rglob("*")]:
        there = path.lstat()
        relative = str(path.relative_to(root))
        content = b""
        if path.is_symlink():
            content = os.fsencode(os.readlink(path))
        elif path.is_file():
            content = path.read_bytes()
            groups.setdefault(there.st_ino, set()).add(relative)
        owner = (there.st_uid, there.st_gid)
        found[relative] = (there.st_mode, owner, there.st_mtime_ns, content)
    found["<links>"] = {tuple(sorted(names)) for names in groups.values() if len(names) > 1}
    return found


@pytest.fixture
def folder(lab: Any) -> Iterator[Path]:
    """A place that both logins can enter; production's own `store` in it."""
    root: Path = lab.root / f"recorded-{random.randrange(10**9)}"
    root.mkdir(mode=0o755)
    for name, machine in (("store", lab.prod), ("stage", lab.test)):
        (root / name).mkdir(mode=0o700)
        shutil.chown(root / name, machine.login, machine.login)
    shutil.chown(root / "stage", "www-data", "www-data")
    yield root
    shutil.rmtree(root)


def entries_of(access: Access, root: Path) -> tuple[tuple[Entry, ...], Entry]:
    listing = list_tree(access, str(root))
    return listing.entries, listing.top


@pytest.mark.parametrize("basis", [False, True])
@pytest.mark.parametrize("owner", ["root", "login"])
def test_a_tree_comes_back_from_a_set_as_it_was(
    here: Access, lab: Any, folder: Path, owner: str, basis: bool
) -> None:
    """Captured by root or by an ordinary login with a short sudo list, and restored by another."""
    src, kept, to = folder / "src", folder / "store/tree", folder / "stage/tree"
    build(src)
    if owner == "root":
        source, store, target = here, here, here
        entries, top = entries_of(here, src)
    else:
        source = lab.prod.access(user="www-data", root=True)
        store, target = lab.prod.access(), lab.test.access(user="www-data", root=True)
        # www-data could not list what is below the locked folder either
        (src / "locked/more").chmod(0o500)
        entries, top = entries_of(source, src)
    listing = list_tree(source, str(src))
    capture(source, str(src), store, str(kept), listing, before=None)
    finish(store, str(kept), listing)
    live = None
    if basis:
        live = folder / "live"
        shutil.copytree(src, live, symlinks=True)
        subprocess.run(["chown", "-hR", "www-data:", live], check=True)
        serving = picture(live)
    transfer(
        store,
        str(kept),
        target,
        str(to),
        entries,
        basis=None if live is None else str(live),
        recorded=True,
    )
    assert apply_recorded(target, str(to), entries, top) == ()
    assert picture(to) == picture(src)
    if live is None:
        assert (to / "sparse").stat().st_blocks * 512 < 1 << 20
    else:  # rsync fills the holes of what it copies from beside
        assert picture(live) == serving
        shared = {path.lstat().st_ino for path in live.rglob("*")}
        assert not shared & {path.lstat().st_ino for path in to.rglob("*")}
    assert apply_recorded(target, str(to), entries, top) == ()
    assert picture(to) == picture(src)


@pytest.mark.parametrize("way", ["root", "sudo", "user"])
def test_names_are_one_file_exactly_where_the_record_says_so(
    here: Access, lab: Any, folder: Path, way: str
) -> None:
    src, to = folder / "src", folder / "stage/tree"
    src.mkdir()
    for name in ("a", "b", "c", "d", "-e", "f", "deep/g\n", "deep/h"):
        (src / name).parent.mkdir(exist_ok=True)
        (src / name).write_text("same")
        os.utime(src / name, ns=(0, 1_500_000_000_123_456_789))
    for first, second in (("a", "deep/g\n"), ("-e", "f")):
        (src / second).unlink()
        os.link(src / first, src / second)
    subprocess.run(["chown", "-R", "www-data:", src], check=True)
    if way != "user":
        os.chown(src / "c", 0, 0)
    os.utime(src / "deep", ns=(0, 1_400_000_000_000_000_001))
    entries, top = entries_of(here, src)
    to.mkdir()
    (to / "deep").mkdir(mode=0o555)
    for name in ("a", "b", "c", "d", "f", "deep/h"):  # all of it joined, and what belongs apart
        if name == "a":
            (to / name).write_text("same")
            os.utime(to / name, ns=(0, 1_500_000_000_123_456_789))
        else:
            os.link(to / "a", to / name)
    for name in ("-e", "deep/g\n"):
        shutil.copy2(to / "a", to / name)
    os.utime(to / "deep", ns=(0, 1_400_000_000_000_000_001))
    target = {
        "root": here,
        "sudo": lab.test.access(user="www-data", root=True),
        "user": lab.test.access(user="www-data"),
    }[way]
    if way == "user":
        subprocess.run(["chown", "-R", "www-data:", to], check=True)
    assert apply_recorded(target, str(to), entries, top) == ()
    assert picture(to) == picture(src)
    assert not list(to.rglob(".*"))


def test_times_that_a_copy_lost_are_given_back(lab: Any, folder: Path) -> None:
    src, to = folder / "src", folder / "stage/tree"
    build(src)
    (src / "locked/more").chmod(0o500)
    source = lab.prod.access(user="www-data", root=True)
    entries, top = entries_of(source, src)
    subprocess.run(["cp", "-rd", "--preserve=links", "--", src, to], check=True)
    subprocess.run(["chmod", "-R", "a+rX", to], check=True)
    target = lab.test.access(user="www-data", root=True)
    assert apply_recorded(target, str(to), entries, top) == ()
    assert picture(to) == picture(src)


def test_a_user_who_cannot_give_files_away_gets_a_note_and_the_rest(
    lab: Any, folder: Path, here: Access
) -> None:
    src, to = folder / "src", folder / "stage/tree"
    build(src)
    (src / "locked/more").chmod(0o500)
    (src / "locked").chmod(0o000)
    entries, top = entries_of(here, src)
    target = lab.test.access(user="www-data")
    transfer(here, str(src), target, str(to), entries, recorded=True)
    (note,) = apply_recorded(target, str(to), entries, top)
    assert "owners were not applied to 3 entries" in note and "www-data cannot" in note
    here_and_there = picture(src), picture(to)
    for path in ("plain", "-rf", "deep", "locked", "locked/more", "dangling", "umlaut-ä", "."):
        assert here_and_there[0][path] == here_and_there[1][path]
    assert here_and_there[0]["<links>"] == here_and_there[1]["<links>"]


def test_an_owner_unknown_here_becomes_the_configured_one(here: Access, tmp_path: Path) -> None:
    for name in ("src", "dst"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    os.chown(tmp_path / "src/f", 54321, 54322)
    (tmp_path / "src/f").chmod(0o6755)
    entries, top = entries_of(here, tmp_path / "src")
    entries = tuple(e._replace(owner="biso-nobody-here") if e.path == "f" else e for e in entries)
    notes = apply_recorded(
        here, str(tmp_path / "dst"), entries, top, fallback_owner="www-data:www-data"
    )
    assert notes == ()
    there = (tmp_path / "dst/f").stat()
    assert (there.st_uid, there.st_gid) == pwd.getpwnam("www-data")[2:4]
    assert stat.S_IMODE(there.st_mode) == 0o6755


def test_what_was_recorded_and_is_not_there_is_no_note_but_a_failure(
    here: Access, tmp_path: Path
) -> None:
    for name in ("src", "dst"):
        (tmp_path / name).mkdir()
    for number in range(12):
        (tmp_path / f"src/{number:02}").write_text("x")
    (tmp_path / "dst/03").write_text("x")
    entries, top = entries_of(here, tmp_path / "src")
    with pytest.raises(ProofFailed, match=r"'00', '01', '02', '04', .* and 1 more should be in"):
        apply_recorded(here, str(tmp_path / "dst"), entries, top)


def test_nothing_is_changed_through_a_link_that_took_the_place_of_a_file(
    here: Access, tmp_path: Path
) -> None:
    for name in ("src", "dst"):
        (tmp_path / name).mkdir()
    (tmp_path / "src/f").write_text("x")
    (tmp_path / "src/f").chmod(0o777)
    os.chown(tmp_path / "src/f", 33, 33)
    (tmp_path / "victim").write_text("root's")
    (tmp_path / "victim").chmod(0o600)
    (tmp_path / "dst/f").symlink_to(tmp_path / "victim")
    entries, top = entries_of(here, tmp_path / "src")
    with pytest.raises(FilesError, match=r"dst/f is a link, and was recorded as a file"):
        apply_recorded(here, str(tmp_path / "dst"), entries, top)
    there = (tmp_path / "victim").stat()
    assert (there.st_uid, stat.S_IMODE(there.st_mode)) == (0, 0o600)


def test_applying_a_record_can_be_cancelled(here: Access, tmp_path: Path) -> None:
    for name in ("src", "dst"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    entries, top = entries_of(here, tmp_path / "src")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        apply_recorded(here, str(tmp_path / "dst"), entries, top, cancel=cancel)


class Counting:
    """A host that remembers what was run on it."""

    def __init__(self, host: Any) -> None:
        self.name, self.login, self.address, self.start = host.name, host.login, "", host.start
        self._host = host
        self.commands: list[str] = []

    def run(self, command: Any, **more: Any) -> Any:
        self.commands.append(str(command))
        return self._host.run(command, **more)


def test_hundreds_of_entries_take_few_processes(here: Access, tmp_path: Path) -> None:
    for number in range(6):
        for name in ("src", "dst"):
            (tmp_path / name / f"{number}").mkdir(parents=True)
            for file in range(100):
                (tmp_path / name / f"{number}/{file}").touch(0o640)
    for path in (tmp_path / "src").rglob("*"):
        os.chown(path, 33, 33 * (path.name != "7"))
        path.chmod(0o2750 if path.is_dir() else 0o4600)
    subprocess.run(["rsync", "-rt", f"{tmp_path}/src/", f"{tmp_path}/dst"], check=True)
    entries, top = entries_of(here, tmp_path / "src")
    host = Counting(here.host)
    assert apply_recorded(Access(host), str(tmp_path / "dst"), entries, top) == ()  # type: ignore[arg-type]
    assert picture(tmp_path / "dst") == picture(tmp_path / "src")
    assert len(host.commands) < 20, host.commands
