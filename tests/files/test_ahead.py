"""What goes ahead of rsync is never the last word: whatever tar does wrong, rsync makes right."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Interrupted
from biso_tasks.files import ahead
from biso_tasks.files import sync as syncing
from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError, list_tree
from biso_tasks.files.sync import Transferred, transfer
from biso_tasks.host.command import command

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync", "root")]

FILES = 30


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MANY", 10)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The names that rsync was given, each time it was asked for anything."""
    given: list[set[str]] = []
    real = syncing._rsync

    def look(*args: Any, **more: Any) -> int:
        given.append({name.decode() for name in args[1].split(b"\0") if name})
        return real(*args, **more)

    monkeypatch.setattr(syncing, "_rsync", look)
    return given


@pytest.fixture
def src(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    for number in range(FILES):
        folder = root / f"folder {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(b"content %d" % number)
    return root


def contents(root: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(path.relative_to(root)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A tar of ours in front of the real one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(text: str) -> None:
        program = folder / "tar"
        program.write_text(f"#!/bin/bash\nreal=/usr/bin/tar\n{text}\n")
        program.chmod(0o755)

    return write


def go(here: Access, src: Path, **more: Any) -> Transferred:
    listing = list_tree(here, str(src))
    return transfer(here, listing.root, here, str(src.parent / "dst"), listing.entries, **more)


def test_new_files_leave_nothing_to_rsync(
    here: Access, src: Path, left: list[set[str]], tmp_path: Path
) -> None:
    told: list[int] = []
    done = go(here, src, using="rsync", progress=told.append)
    assert left == []
    assert contents(tmp_path / "dst") == contents(src)
    assert (done.files, done.method, done.vanished) == (FILES, "rsync", ())
    assert done.bytes_sent == sum(len(content) for content, *_ in contents(src).values())
    for folder in src.iterdir():
        assert (tmp_path / "dst" / folder.name).stat().st_mtime_ns == folder.stat().st_mtime_ns


def test_the_same_files_come_from_beside_and_rsync_sees_the_others(
    here: Access, src: Path, left: list[set[str]], tmp_path: Path
) -> None:
    """A part of a large file is rsync's, and so is a file that only one of two names has."""
    (src / "large").write_bytes(random.Random(1).randbytes(300_000))
    subprocess.run(["cp", "-a", src, tmp_path / "beside"], check=True)
    with (src / "large").open("r+b") as file:
        file.write(b"other")
    (src / "folder 1/file-1").write_text("small and changed")
    os.link(src / "folder 2/file-2", src / "name")
    inodes = {path.stat().st_ino for path in (tmp_path / "beside").rglob("*")}
    done = go(here, src, using="rsync", basis=str(tmp_path / "beside"))
    folders = {f"./folder {number}" for number in range(3)}
    changed = {"./large", "./folder 1/file-1", "./folder 2/file-2", "./name"}
    assert left == [folders | changed]
    assert contents(tmp_path / "dst") == contents(src)
    assert done.bytes_sent < 50_000
    assert not inodes & {path.stat().st_ino for path in (tmp_path / "dst").rglob("*")}


@pytest.mark.parametrize("shares", [True, False])
def test_cp_copies_large_files_where_the_filesystem_shares_blocks(
    here: Access, src: Path, tmp_path: Path, left: Any, shares: bool, fake: Any
) -> None:
    """Elsewhere the name of no file stands among its words. The cp is ours: this filesystem may be
    of either kind."""
    large = src / "folder 0/Antrag Müller.pdf"
    large.write_bytes(random.Random(1).randbytes(2 << 20))
    subprocess.run(["cp", "-a", src, tmp_path / "beside"], check=True)
    said = tmp_path / "said"
    fake('exec "$real" "$@"')
    (tmp_path / "bin/cp").write_text(
        f'#!/bin/bash\nprintf "%s\\n" "$*" >> {said}\n'
        f'case "$*" in *=always*) {"exit 0" if shares else "exit 1"} ;; esac\nexec /bin/cp "$@"\n'
    )
    (tmp_path / "bin/cp").chmod(0o755)
    go(here, src, using="rsync", basis=str(tmp_path / "beside"))
    assert ("Müller" in said.read_text()) == shares
    assert "file-1" not in said.read_text()
    assert contents(tmp_path / "dst") == contents(src)
    assert left == [{f"./folder {number}" for number in range(3)}]


def test_few_files_are_left_to_rsync_alone(
    here: Access, src: Path, left: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MANY", FILES + 1)
    go(here, src, using="rsync")
    assert len(left[0]) == FILES + 3


@pytest.mark.parametrize("more", [{"compress": True}, {"route": "local", "basis": "empty"}])
def test_where_the_wire_is_slow_nothing_goes_unpacked(
    here: Access, src: Path, left: list[set[str]], more: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    if "basis" in more:
        more = more | {"basis": str(tmp_path / "empty")}
    go(here, src, using="rsync", **more)
    assert bool(left) == ("compress" in more)


@pytest.mark.parametrize(
    "text",
    [
        "exit 127",
        "exit 2",
        # ends well, and has said half of it
        'case " $* " in *" --create "*) "$real" "$@" | head -c 20480; exit 0; esac\n'
        '"$real" "$@"; exit 0',
        'case " $* " in *" --extract "*) exit 0; esac; exec "$real" "$@"',
    ],
    ids=["none", "fails", "half", "takes nothing"],
)
@pytest.mark.parametrize("beside", [False, True])
def test_whatever_tar_does_wrong_rsync_makes_right(
    here: Access, src: Path, fake: Any, text: str, beside: bool, tmp_path: Path, left: Any
) -> None:
    if beside:
        subprocess.run(["cp", "-a", src, tmp_path / "beside"], check=True)
    fake(text)
    done = go(here, src, using="rsync", basis=str(tmp_path / "beside") if beside else None)
    assert left
    assert done.files == FILES
    assert contents(tmp_path / "dst") == contents(src)


def test_a_file_that_changes_while_tar_reads_it_is_sent_as_it_is_then(
    here: Access, src: Path, fake: Any, tmp_path: Path, left: Any
) -> None:
    fake(
        'case " $* " in *" --create "*) "$real" "$@"; code=$?\n'
        'printf newest > \'folder 0/file-0\'; exit 1; esac; exec "$real" "$@"'
    )
    go(here, src, using="rsync")
    assert len(left[0]) == FILES + 3
    assert (tmp_path / "dst/folder 0/file-0").read_bytes() == b"newest"


def test_a_device_that_nobody_asked_for_ends_the_transfer(
    here: Access, src: Path, fake: Any, tmp_path: Path
) -> None:
    """rsync would refuse it: a hostile source may say it by tar."""
    fake(
        'case " $* " in *" --create "*) cat > /dev/null; cd "$0-in"\n'
        'exec "$real" -cf - null; esac\n'
        'exec "$real" "$@"'
    )
    (tmp_path / "bin/tar-in").mkdir()
    subprocess.run(["mknod", tmp_path / "bin/tar-in/null", "c", "1", "3"], check=True)
    with pytest.raises(FilesError, match=r"'null' in .* is neither file, directory nor link"):
        go(here, src, using="rsync")


def test_a_member_that_leads_out_of_the_tree_is_not_unpacked(
    here: Access, src: Path, fake: Any, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "f").write_text("stolen")
    (made / "out").symlink_to(tmp_path)
    fake(
        'case " $* " in *" --create "*) cat > /dev/null; cd ' + str(made) + "\n"
        '"$real" -cf - -P --transform "s,^f,../../escaped," f\n'
        '"$real" -cf - out; "$real" -cf - --transform "s,^f,out/through," f; exit 0; esac\n'
        'exec "$real" "$@" --ignore-zeros'
    )
    done = go(here, src, using="rsync")
    assert done.files == FILES
    assert contents(src).items() <= contents(tmp_path / "dst").items()
    assert not list(tmp_path.parent.glob("escaped")) + list(tmp_path.glob("escaped"))
    assert not (tmp_path / "through").exists()


@pytest.mark.parametrize("beside", [False, True], ids=["sent", "from beside"])
def test_whoever_is_interrupted_meanwhile_leaves_no_process(
    here: Access, src: Path, fake: Any, beside: bool, tmp_path: Path
) -> None:
    basis = tmp_path / "beside"
    if beside:
        subprocess.run(["cp", "-a", src, basis], check=True)
    fake(f"echo $$ >> {tmp_path}/pids; sleep 600")
    cancel = threading.Event()
    threading.Timer(0.7, cancel.set).start()
    with pytest.raises(Interrupted, match="was cancelled and stopped"):
        go(here, src, using="rsync", basis=str(basis) if beside else None, cancel=cancel)
    for number in (tmp_path / "pids").read_text().split():
        for _ in range(100):
            if ended(number):
                break
            time.sleep(0.05)
        assert ended(number)


def ended(number: str) -> bool:
    """Whether that process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_stays_on_one_host_never_comes_through_this_machine(
    lab: Any, places: tuple[Path, Path], left: list[set[str]]
) -> None:
    """New files as well as the same ones: bulk that the laptop's line would carry twice."""
    _, test = places
    for number in range(20):
        folder = test / f"src/folder {number}"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(random.Random(number).randbytes(1 << 20))
    subprocess.run(["chown", "-R", "www-data:", test / "src"], check=True)
    access = lab.test.access(user="www-data", root=True)
    listing = list_tree(access, str(test / "src"))
    nothing = subprocess.DEVNULL
    access.host.start(command("true"), stdin=nothing, stdout=nothing, stderr=nothing).wait()
    traffic = Path(f"/proc/{lab.test.host._master.pid}/io")

    def bytes_so_far() -> int:
        return sum(int(line.split()[1]) for line in traffic.read_text().splitlines()[:2])

    before = bytes_so_far()
    told: list[int] = []
    for name, basis in (("new", None), ("same", str(test / "new"))):
        done = transfer(
            access, listing.root, access, str(test / name), listing.entries,
            route="local", basis=basis, progress=told.append,
        )  # fmt: skip
        assert done.files == 20
        assert contents(test / name) == contents(test / "src")
    assert told
    assert bytes_so_far() - before < 1 << 20
    assert [name for given in left for name in given if name.endswith("file")] == []
