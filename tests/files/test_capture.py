"""Trees into a set: whole, the login's own, joined to the set before and never harming it."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Interrupted
from biso_tasks.files import carry as carrying
from biso_tasks.files.access import Access
from biso_tasks.files.capture import Before, Captured, capture, catch_up, check, finish
from biso_tasks.files.carry import carry
from biso_tasks.files.listing import FilesError, Listing, list_tree
from biso_tasks.files.seen import Seen, seen
from biso_tasks.host.command import command

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync", "root")]

NAMES = [
    *(b"plain", b"with space", b"new\nline", b"-rf", b"--help", b"quote'\"$(touch pwned)`x`"),
    *(b"umlaut-\xc3\xa4", b"not-utf8-\xff\xfe", b"star*?[a]", b"#comment", b";x", b"host:path"),
    *(b"back\\slash", b"\\#012", b" blanks ", b"x" * 250),
]
_LAB = pytest.mark.needs("root", "sshd", "ssh", "rsync", "sudo")
WAYS = ["root", *(pytest.param(way, marks=_LAB) for way in ("by-root", "own", "other"))]


@dataclass(frozen=True)
class World:
    """Who reads `src`, who keeps `store`; `login` is None where files keep their owners.
    `remembered`: what is known of the files of each set."""

    source: Access
    target: Access
    src: Path
    store: Path
    login: str | None
    remembered: dict[str, Seen] = field(default_factory=dict)

    def listing(self) -> Listing:
        return list_tree(self.source, str(self.src))

    def capture(self, name: str, before: str | None = None, **more: Any) -> Captured:
        listing = more.pop("listing", None) or self.listing()
        joined = before and Before(str(self.store / before), self.remembered.get(before))
        return capture(
            self.source,
            str(self.src),
            self.target,
            str(self.store / name),
            _settled(listing),
            before=joined or None,
            left=self.remembered.get(name),
            remember=lambda files: self.remembered.update({name: files}),
            **more,
        )

    def catch_up(self, name: str, then: Listing, now: Listing) -> Any:
        into = str(self.store / name)
        return catch_up(self.source, str(self.src), self.target, into, then, now)

    def settle(self, name: str, listing: Listing) -> None:
        finish(self.target, str(self.store / name), listing)
        assert check(self.target, str(self.store / name), listing) == []
        self.remembered[name] = seen(_settled(listing))


def _settled(listing: Listing) -> Listing:
    """As if a while had passed since anything changed: tests have not the time."""
    return replace(listing, began=listing.began + 60 * 10**9)


def build(root: Path, owner: str) -> None:
    base = os.fsencode(root)
    for number, name in enumerate(NAMES):
        with open(base + b"/" + name, "wb") as file:
            file.write(b"content %d\n" % number)
        os.utime(base + b"/" + name, ns=(10**18, 1_500_000_000_123_456_789 + number))
    (root / "fol\nder-\udcff").mkdir()
    (root / "deep/er/empty").mkdir(parents=True)
    (root / "deep/er/file").write_text("deep")
    (root / "locked").mkdir()
    (root / "locked/in").write_text("in a folder of mode 0500")
    (root / "one").write_text("hard")
    os.link(root / "one", root / "deep/two")
    os.link(root / "one", root / "deep/er/three")
    (root / "link").symlink_to("one")
    (root / "dangling").symlink_to("no where\n")
    os.mkfifo(root / "fifo")
    with open(root / "sparse", "wb") as file:
        file.truncate(20 << 20)
        file.seek(10 << 20)
        file.write(b"middle")
    subprocess.run(["chown", "-hR", f"{owner}:", root], check=True)
    (root / "plain").chmod(0o4750)
    (root / "-rf").chmod(0o440)
    (root / "locked").chmod(0o500)
    os.utime(root / "link", ns=(0, 1_300_000_000_000_000_007), follow_symlinks=False)
    os.utime(root / "deep/er/empty", ns=(0, 1_400_000_000_000_000_001))
    os.utime(root / "deep", ns=(0, 1_400_000_000_000_000_002))
    root.chmod(0o2750)


@pytest.fixture
def world(request: pytest.FixtureRequest, here: Access, tmp_path: Path) -> Iterator[World]:
    way = getattr(request, "param", "root")
    if way == "root":
        source, target, folder, reader, login = here, here, tmp_path, "www-data", None
    else:
        machine = request.getfixturevalue("lab").prod
        folder = machine.home / f"capture-{abs(hash(request.node.nodeid)) % 10**9}"
        folder.mkdir()
        login = machine.login
        target = machine.access()
        reader = login if way == "own" else "www-data"
        user = None if way == "own" else reader
        source = machine.access(user=user, root=way == "by-root")
    made = World(source, target, folder / "a [s]*r'c", folder / "sto:re", login)
    made.src.mkdir()
    made.store.mkdir(mode=0o700)
    if login is not None:
        shutil.chown(made.store, login, login)
    build(made.src, reader)
    if way in ("root", "by-root"):
        (made.src / "secret").write_text("only root")
        (made.src / "secret").chmod(0o600)
    yield made
    shutil.rmtree(folder)


def picture(root: Path, login: str | None = None) -> dict[str, Any]:
    """All that must be equal, for each path; with `login` as a set of that login holds it."""
    found: dict[str, Any] = {}
    groups: dict[int, set[str]] = {}
    for path in [root, *root.rglob("*")]:
        there = path.lstat()
        relative = str(path.relative_to(root))
        if stat.S_ISFIFO(there.st_mode):
            continue
        mode, owner, group, content = there.st_mode, there.st_uid, there.st_gid, b""
        if path.is_symlink():
            content = os.fsencode(os.readlink(path))
        elif path.is_file():
            content = path.read_bytes()
            groups.setdefault(there.st_ino, set()).add(relative)
        if login is not None:
            owner, group = pwd.getpwnam(login)[2:4]
            mode |= 0o700 if path.is_dir() else 0o600
        found[relative] = (mode, owner, group, there.st_mtime_ns, content)
    found["<links>"] = {tuple(sorted(names)) for names in groups.values() if len(names) > 1}
    return found


def inodes(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.lstat().st_ino
        for path in root.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def blocks(root: Path, *others: Path) -> int:
    """Bytes on the disk of what is shared with none of the others."""
    known = {inode for other in others for inode in inodes(other).values()}
    files = [path.lstat() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sum(there.st_blocks * 512 for there in files if there.st_ino not in known)


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few new files there are, tar goes first."""
    monkeypatch.setattr(carrying, "MANY", 1)


@pytest.fixture
def fake_tar(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    program = tmp_path_factory.mktemp("bin") / "tar"
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def write(text: str) -> None:
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)

    return write


@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_a_tree_is_captured_whole_and_belongs_to_the_login(
    world: World, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(world.src)
    if many:
        monkeypatch.setattr(carrying, "MANY", 1)
    done = world.capture("first")
    world.settle("first", done.listing)
    assert picture(world.store / "first") == picture(world.src, world.login)
    assert picture(world.src) == before
    assert done.vanished == ()
    assert done.files == sum(
        path.is_file() and not path.is_symlink() for path in world.src.rglob("*")
    )
    assert (world.store / "first/sparse").stat().st_blocks * 512 < 1 << 20
    assert not (world.store / "first/fifo").exists()
    assert [path.name for path in world.store.iterdir()] == ["first"]
    assert not set(inodes(world.store / "first").values()) & set(inodes(world.src).values())


def test_many_new_files_are_brought_without_rsync(
    world: World, few_are_many: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "_RSYNC", ("false",))
    done = world.capture("first")
    world.settle("first", done.listing)
    assert picture(world.store / "first") == picture(world.src)
    files = {path.stat().st_ino: path for path in world.src.rglob("*") if is_file(path)}
    assert done.copied == sum(path.stat().st_size for path in files.values())


def is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@pytest.mark.parametrize(
    "text",
    [
        "cat > /dev/null; exit 127",
        # ends well, and has said half of it
        'case " $* " in *" --create "*) /usr/bin/tar "$@" | head -c 20480; exit 0; esac\n'
        'exec /usr/bin/tar "$@"',
        'case " $* " in *" --extract "*) cat > /dev/null; exit 0; esac; exec /usr/bin/tar "$@"',
    ],
    ids=["fails", "half", "takes nothing"],
)
def test_what_tar_does_not_bring_rsync_does(
    world: World, few_are_many: None, fake_tar: Callable[[str], None], text: str
) -> None:
    fake_tar(text)
    done = world.capture("first")
    assert done.vanished == ()
    world.settle("first", done.listing)
    assert picture(world.store / "first") == picture(world.src)


def test_a_file_that_vanished_before_tar_is_told(world: World, few_are_many: None) -> None:
    listing = world.listing()
    (world.src / "plain").unlink()
    done = world.capture("first", listing=listing)
    assert done.vanished == ("plain",)


@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_a_second_set_grows_the_disk_by_what_changed(world: World) -> None:
    (world.src / "many").mkdir()
    for number in range(100):
        (world.src / f"many/{number}").write_bytes(random.Random(number).randbytes(40_000))
    subprocess.run(
        ["chown", "-R", f"--reference={world.src}/plain", world.src / "many"], check=True
    )
    done = world.capture("first")
    world.settle("first", done.listing)
    sealed = picture(world.store / "first")
    with open(world.src / "many/7", "r+b") as file:
        file.write(b"changed")
    done = world.capture("second", "first")
    world.settle("second", done.listing)
    assert picture(world.store / "second") == picture(world.src, world.login)
    assert picture(world.store / "first") == sealed
    grown = blocks(world.store / "second", world.store / "first")
    assert 40_000 <= grown <= 45_056
    assert blocks(world.store / "first") > 4_000_000
    assert 0 < done.copied < 80_000
    old, new = inodes(world.store / "first"), inodes(world.store / "second")
    assert [path for path in old if old[path] != new[path]] == ["many/7"]


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that rsync is given."""
    names: list[str] = []

    def watched(*given: Any, **more: Any) -> Any:
        names.extend(more["bring"])
        return carry(*given, **more)

    monkeypatch.setattr("biso_tasks.files.capture.carry", watched)
    return names


@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_what_was_damaged_in_the_set_before_is_brought_anew(world: World) -> None:
    world.settle("first", world.capture("first").listing)
    first = world.store / "first"
    wanted = picture(world.src, world.login)
    (first / "plain").write_bytes(b"cut")
    (first / "quote'\"$(touch pwned)`x`").unlink()
    os.utime(first / "umlaut-\xe4", ns=(0, 1))
    if world.login is None:
        (first / "#comment").chmod(0o666)
    done = world.capture("second", "first")
    world.settle("second", done.listing)
    assert picture(world.store / "second") == wanted
    old, new = inodes(first), inodes(world.store / "second")
    assert old["with space"] == new["with space"]
    assert done.copied > 0


@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_unchanged_files_are_linked_without_being_compared_and_folders_are_as_they_are_now(
    world: World, brought: list[str]
) -> None:
    world.settle("first", world.capture("first").listing)
    brought.clear()
    (world.src / "deep/er").chmod(0o711)
    done = world.capture("second", "first")
    world.settle("second", done.listing)
    assert picture(world.store / "second") == picture(world.src, world.login)
    regular = {e.path for e in done.listing.entries if e.kind == "file" and e.links == 1}
    assert len(regular) > len(NAMES)
    assert regular.isdisjoint(brought)
    assert {"deep/er", "one", "deep/two", "link"} <= set(brought)
    old, new = inodes(world.store / "first"), inodes(world.store / "second")
    assert {path for path in regular if old[path] != new[path]} == set()


def test_what_cannot_be_linked_is_left_to_rsync(
    world: World, hidden: Callable[[str], Path], brought: list[str]
) -> None:
    world.settle("first", world.capture("first").listing)
    brought.clear()
    hidden("perl")
    done = world.capture("second", "first")
    world.settle("second", done.listing)
    assert picture(world.store / "second") == picture(world.src)
    assert "plain" in brought


def rewrite(path: Path) -> None:
    """Other bytes, in place, and size and mtime as they were: as `touch -r` leaves them."""
    was = path.stat()
    with path.open("r+b") as file:
        file.write(b"!")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)


@pytest.mark.parametrize("when", ["before", "while it is copied", "after an interrupted run"])
@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_a_change_that_leaves_size_and_mtime_as_they_were_is_a_change(
    world: World, when: str
) -> None:
    """Of a file, of one with several names, of a folder that takes another's place."""
    there = (world.src / "with space").stat()
    for name, text in (("v1", b"1.0"), ("v2", b"1.1")):
        (world.src / name).mkdir()
        (world.src / name / "version").write_bytes(text)
        os.utime(world.src / name / "version", ns=(0, 315532800 * 10**9))
        for path in (world.src / name, world.src / name / "version"):
            os.chown(path, there.st_uid, there.st_gid)
    done = world.capture("first")
    world.settle("first", done.listing)
    sealed = picture(world.store / "first")
    if when != "before":
        then = world.capture("second", "first").listing
    rewrite(world.src / "with space")
    rewrite(world.src / "deep/two")
    (world.src / "v1").rename(world.src / "v0")
    (world.src / "v2").rename(world.src / "v1")
    if when == "while it is copied":
        now = world.listing()
        world.catch_up("second", then, now)
    else:
        now = world.capture("second", "first").listing
    assert picture(world.store / "first") == sealed
    world.settle("second", now)
    assert picture(world.store / "second") == picture(world.src, world.login)
    assert (world.store / "second/v1/version").read_bytes() == b"1.1"
    assert picture(world.store / "first") == sealed
    shared = set(inodes(world.store / "first").values())
    assert shared >= set(inodes(world.store / "second" / "locked").values())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_a_tree_that_was_put_back_or_of_which_nothing_is_known_is_read_and_not_copied(
    world: World, known: bool
) -> None:
    """Every file has another inode and another ctime."""
    done = world.capture("first")
    world.settle("first", done.listing)
    if known:
        subprocess.run(["cp", "-a", world.src, world.src.parent / "clone"], check=True)
        shutil.rmtree(world.src)
        (world.src.parent / "clone").rename(world.src)
    else:
        del world.remembered["first"]
    done = world.capture("second", "first")
    assert done.copied == 0
    world.settle("second", done.listing)
    assert picture(world.store / "second") == picture(world.src, world.login)
    old, new = inodes(world.store / "first"), inodes(world.store / "second")
    links = {path for path in old if (world.store / "first" / path).is_symlink()}
    assert {path for path in old if old[path] != new[path]} <= links


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("world", [WAYS[0], WAYS[3]], indirect=True)
def test_a_change_of_mode_owner_or_time_alone_never_reaches_a_sealed_set(
    world: World, late: bool
) -> None:
    done = world.capture("first")
    world.settle("first", done.listing)
    sealed = picture(world.store / "first")
    then = world.capture("second", "first").listing  # all of it is shared now
    (world.src / "plain").chmod(0o664)
    (world.src / "one").chmod(0o666)
    (world.src / "with space").chmod(0o4755)
    os.utime(world.src / "star*?[a]", ns=(0, 1))
    os.utime(world.src / "dangling", ns=(0, 1), follow_symlinks=False)
    if world.login is None:
        os.chown(world.src / "--help", 0, 0)
        os.chown(world.src / "link", 0, 0, follow_symlinks=False)
    now = world.listing()
    if late:
        world.catch_up("second", then, now)
    else:
        world.capture("second", "first", listing=now)
    assert picture(world.store / "first") == sealed
    world.settle("second", now)
    assert picture(world.store / "second") == picture(world.src, world.login)
    assert picture(world.store / "first") == sealed


def test_a_change_after_the_listing_never_reaches_a_sealed_set(world: World) -> None:
    done = world.capture("first")
    world.settle("first", done.listing)
    sealed = picture(world.store / "first")
    world.capture("second", "first")  # interrupted at its very end
    listing = world.listing()
    (world.src / "plain").chmod(0o664)
    os.utime(world.src / "dangling", ns=(0, 1), follow_symlinks=False)
    done = world.capture("second", "first", listing=listing)
    assert picture(world.store / "first") == sealed
    now = world.listing()
    world.catch_up("second", done.listing, now)
    world.settle("second", now)
    assert picture(world.store / "first") == sealed


def put(path: Path, text: str, like: Path) -> None:
    """A file of an interrupted run: a new inode, its owner that of `like`."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    for made in (path, path.parent):
        os.chown(made, like.stat().st_uid, like.stat().st_gid)


@pytest.mark.parametrize("world", WAYS[:2], indirect=True)
def test_what_an_interrupted_capture_left_is_used_or_removed(world: World) -> None:
    done = world.capture("first")
    world.settle("first", done.listing)
    sealed = picture(world.store / "first")
    world.capture("partial", "first")
    partial = world.store / "partial"
    put(partial / ".plain.AbCdEf", "rsync's temporary file", world.store)
    put(partial / "not there/any more", "x", world.store)
    (partial / "with space").unlink()
    put(partial / "with space/x", "a folder where a file belongs", world.store)
    shutil.rmtree(partial / "locked")
    put(partial / "locked", "a file where a folder belongs", world.store)
    put(partial / "-rf", "cut", world.store)
    (partial / "deep/two").unlink()  # equal, and no longer the same file
    shutil.copy2(partial / "one", partial / "deep/two")
    subprocess.run(["chown", f"--reference={partial}/one", partial / "deep/two"], check=True)
    (partial / "link").unlink()
    (partial / "link").symlink_to("elsewhere")
    put(partial / "sparse", "", world.store)
    shutil.copy2(world.store / "first/umlaut-ä", partial / "copied")
    (partial / "copied").replace(partial / "umlaut-ä")
    there = (world.store / "first/umlaut-ä").stat()
    os.chown(partial / "umlaut-ä", there.st_uid, there.st_gid)
    kept = inodes(partial)
    os.utime(world.src / "--help", ns=(0, 5))  # changed since
    done = world.capture("partial", "first")
    world.settle("partial", done.listing)
    assert picture(partial) == picture(world.src, world.login)
    assert picture(world.store / "first") == sealed
    # a finished file that is shared with nothing is not copied again
    assert inodes(partial)["umlaut-ä"] == kept["umlaut-ä"]


@pytest.mark.parametrize("world", WAYS[:2], indirect=True)
def test_a_capture_that_is_stopped_leaves_no_process_and_goes_on_later(world: World) -> None:
    (world.src / "big").write_bytes(os.urandom(1 << 20) * 150)
    cancel = threading.Event()
    with pytest.raises(Interrupted):
        world.capture("first", cancel=cancel, progress=lambda _: cancel.set())
    folder = os.fsencode(world.src.parent)
    assert wait_for(lambda: not running(folder)), running(folder)
    done = world.capture("first")
    world.settle("first", done.listing)
    assert picture(world.store / "first") == picture(world.src, world.login)


def running(folder: bytes) -> list[bytes]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if folder in line:
                found.append(line)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.parametrize("world", [WAYS[1]], indirect=True)
def test_a_folder_that_root_had_no_time_to_give_away_starts_the_capture_anew(world: World) -> None:
    world.capture("first")
    (world.store / "first/deep").chmod(0o700)
    os.chown(world.store / "first/deep", 0, 0)
    done = world.capture("first")
    world.settle("first", done.listing)
    assert picture(world.store / "first") == picture(world.src, world.login)


@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_catching_up_brings_whatever_changed_since(world: World) -> None:
    src = world.src
    done = world.capture("first")
    world.settle("first", done.listing)
    sealed = picture(world.store / "first")
    then = world.capture("second", "first").listing
    was = (src / "plain").stat()
    (src / "plain").write_bytes(b"CONTENT 0\n")  # same size, and only nanoseconds later
    os.utime(src / "plain", ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    (src / "new").write_text("new")
    (src / "new folder/below").mkdir(parents=True)
    (src / "new folder/below/-file\n").write_text("new")
    (src / "with space").unlink()
    (src / "deep").rename(src / "moved")
    (src / "--help").unlink()
    (src / "--help").mkdir()
    (src / "--help/x").write_text("a folder now")
    shutil.rmtree(src / "locked")
    (src / "locked").write_text("a file now")
    (src / "link").unlink()
    (src / "link").mkdir()
    (src / "dangling").unlink()
    (src / "dangling").symlink_to("plain")
    os.link(src / "#comment", src / "moved/er/joined")
    shutil.copy2(src / ";x", src / "other")  # replaced, and equal in all but its inode
    (src / "other").replace(src / ";x")
    os.chown(src / ";x", was.st_uid, was.st_gid)
    (src / "umlaut-ä").rename(src / "Umlaut-ä")
    (src / "fol\nder-\udcff").chmod(0o770)
    (src / "sparse").unlink()
    os.mkfifo(src / "sparse")
    (src / "fifo").unlink()
    (src / "fifo").write_text("a file now")
    for made in src.rglob("*"):
        if made.lstat().st_uid == 0 and made.name != "secret":
            os.chown(made, was.st_uid, was.st_gid, follow_symlinks=False)
    now = world.listing()
    found = world.catch_up("second", then, now)
    assert picture(world.store / "first") == sealed
    world.settle("second", now)
    assert picture(world.store / "second") == picture(src, world.login)
    assert picture(world.store / "first") == sealed
    assert found.vanished == ()
    assert found.removed == ("deep", "locked/in", "sparse", "umlaut-ä", "with space")
    assert {"plain", "new", "--help", "--help/x", ";x", "moved/er/file"} <= set(found.changed)
    assert not {"-rf", "host:path", "back\\slash"} & set(found.changed)


@pytest.mark.parametrize("seed", range(4))
def test_any_history_is_caught_up_with(world: World, seed: int) -> None:
    chance = random.Random(seed)
    done = world.capture("0")
    world.settle("0", done.listing)
    then = world.capture("1", "0").listing
    sealed = picture(world.store / "0")
    for _ in range(25):
        mutate(world.src, chance)
    now = world.listing()
    world.catch_up("1", then, now)
    world.settle("1", now)
    assert picture(world.store / "1") == picture(world.src)
    assert picture(world.store / "0") == sealed


def mutate(root: Path, chance: random.Random) -> None:
    """One thing that may happen to a tree."""
    paths = sorted(path for path in root.rglob("*") if path.name != "secret")
    folders = [root, *(path for path in paths if path.is_dir() and not path.is_symlink())]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    new = chance.choice(folders) / f"n{chance.randrange(12)}"
    old = chance.choice(files)
    match chance.randrange(9):
        case 0 if not new.exists():
            new.write_text(str(chance.random()))
        case 1 if not new.exists():
            new.mkdir()
        case 2 if not new.exists():
            os.link(old, new)
        case 3 if not new.exists():
            old.rename(new)
        case 4:
            old.unlink()
        case 5:
            old.chmod(chance.choice([0o600, 0o644, 0o4711]))
        case 6:
            old.write_text(str(chance.random()))
        case 7:
            folder = chance.choice(folders[1:])
            if root not in (folder, new.parent) and not new.is_relative_to(folder):
                folder.rename(folder.parent / f"f{chance.randrange(10**6)}")
        case 8 if not new.is_dir():
            new.unlink(missing_ok=True)
            new.symlink_to(old.name)


class NoHost:
    """Whoever asks it for anything fails the test."""

    name = "nobody"


def test_nothing_to_catch_up_with_starts_no_process(world: World) -> None:
    then = world.capture("first").listing
    now = world.listing()
    nobody = Access(NoHost())  # type: ignore[arg-type]
    found = catch_up(nobody, str(world.src), nobody, "/x", then, now)
    assert (found.changed, found.removed, found.vanished) == ((), (), ())


def test_a_file_that_vanishes_is_reported_and_comes_with_the_next_listing(world: World) -> None:
    listing = world.listing()
    (world.src / "plain").rename(world.src.parent / "away")
    (world.src / "deep/er/file").unlink()
    done = world.capture("first", listing=listing)
    assert done.vanished == ("deep/er/file", "plain")
    assert "plain: is missing in the set" in check(
        world.target, str(world.store / "first"), listing
    )
    (world.src.parent / "away").rename(world.src / "plain")  # the same file as before
    (world.src / "new").write_text("x")
    now = world.listing()
    (world.src / "new").unlink()
    found = world.catch_up("first", done.listing, now)
    assert found.vanished == ("new",)
    world.settle("first", world.listing())
    assert picture(world.store / "first") == picture(world.src)


def test_what_is_there_and_does_not_arrive_is_no_file_that_vanished(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An rsync that ends well and brings nothing: at first, and each time."""
    then = world.capture("first").listing
    (world.src / "new").write_text("x")
    now = world.listing()
    fake = tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\ncat >/dev/null\nmv $0 $0.away 2>/dev/null\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    found = world.catch_up("first", then, now)
    assert (found.changed, found.vanished) == (("new",), ())
    assert (world.store / "first/new").read_text() == "x"
    (world.src / "newer").write_text("x")
    fake.write_text("#!/bin/sh\ncat >/dev/null\n")
    fake.chmod(0o755)
    with pytest.raises(FilesError, match=r"1 path.*did not arrive.*'newer'"):
        world.catch_up("first", now, world.listing())


def test_what_is_removed_and_brought_is_named_to_no_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lists the host's processes reads their words, and sudo writes them into its log."""
    then = world.capture("first").listing
    (world.src / "with space").unlink()
    shutil.rmtree(world.src / "deep/er")
    (world.src / "deep/Antrag Müller.pdf").write_text("x")
    (world.src / "umlaut-ä").write_text("changed")
    now = world.listing()
    noted, programs = world.store.parent / "noted", world.store.parent / "bin"
    programs.mkdir()
    listing = ("rm", "rsync", "sudo", "tar", "xargs", "cp", "ln", "perl", "find", "sort", "comm")
    for program in listing:
        file = programs / program
        real = shutil.which(program)
        file.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>{noted}\nexec {real} "$@"\n')
        file.chmod(0o755)
    noted.touch()
    noted.chmod(0o666)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    world.catch_up("first", then, now)
    world.settle("first", now)
    world.settle("second", world.capture("second", "first").listing)
    said = noted.read_text()
    assert "rsync" in said
    assert "/perl " in said, "unchanged files are linked by it"
    for name in ("with space", "deep/", "Müller", "umlaut"):
        assert name not in said, name


def test_the_check_names_what_differs(world: World) -> None:
    listing = world.capture("first").listing
    root = world.store / "first"
    (root / "plain").write_bytes(b"cut")
    (root / "-rf").unlink()
    os.utime(root / ";x", ns=(0, 0))
    (root / "more").write_text("x")
    (root / "link").unlink()
    (root / "link").symlink_to("two")
    os.chown(root / "--help", 0, 0)
    (root / "locked").chmod(0o700)
    (root / "sparse").unlink()
    (root / "sparse").mkdir()
    said = "\n".join(check(world.target, str(root), listing))
    for part in (
        *(
            "plain: has 3 bytes in the set, and 10 in the tree",
            "-rf: is missing",
            ";x: has another",
        ),
        *("more: is in the set, and not", "link: leads to 'two' in the set, and to 'one'"),
        *("--help: belongs to root:root in the set", "locked: has mode 0700 in the set, and 0500"),
        "sparse: is a dir in the set, and a file in the tree",
    ):
        assert part in said, said
    assert len(said.splitlines()) == 8


@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
@pytest.mark.parametrize("world", [WAYS[3]], indirect=True)
def test_a_file_that_nobody_may_read_fails_the_capture(
    world: World, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:
        monkeypatch.setattr(carrying, "MANY", 1)
    (world.src / "secret").write_text("only root")
    (world.src / "secret").chmod(0o600)
    with pytest.raises(FilesError, match=r"secret.*Permission denied"):
        world.capture("first")


@pytest.mark.parametrize("world", [WAYS[3]], indirect=True)
def test_two_users_of_one_host_exchange_files_without_this_machine(world: World, lab: Any) -> None:
    (world.src / "big").write_bytes(random.Random(1).randbytes(30 << 20))
    shutil.chown(world.src / "big", "www-data")
    world.listing()
    host = lab.prod.host
    nothing = subprocess.DEVNULL
    host.start(command("true"), stdin=nothing, stdout=nothing, stderr=nothing).wait()
    traffic = Path(f"/proc/{host._master.pid}/io")

    def bytes_so_far() -> int:
        return sum(int(line.split()[1]) for line in traffic.read_text().splitlines()[:2])

    before = bytes_so_far()
    done = world.capture("first")
    assert done.copied > 30 << 20
    assert bytes_so_far() - before < 1 << 20


def test_without_rsync_a_tree_is_captured_and_joined_to_the_set_before_all_the_same(
    world: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path_factory.mktemp("bin")
    for folder in ("/usr/bin", "/bin"):
        for file in Path(folder).iterdir():
            if file.name != "rsync" and not (programs / file.name).exists():
                (programs / file.name).symlink_to(file)
    monkeypatch.setenv("PATH", str(programs))
    first = world.capture("first")
    world.settle("first", first.listing)
    (world.src / "deep/er/file").write_text("changed since")
    second = world.capture("second", before="first")
    world.settle("second", second.listing)
    assert (first.vanished, second.vanished) == ((), ())

    def inode(name: str, path: str) -> int:
        return (world.store / name / path).stat().st_ino

    assert inode("second", "plain") == inode("first", "plain")
    assert inode("second", "deep/er/file") != inode("first", "deep/er/file")
    assert inode("second", "one") == inode("second", "deep/two")
    assert 0 < second.copied < first.copied
