"""Trees travel whole, only what changed travels, nothing is shared with what is served."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Interrupted, ProofFailed
from biso_tasks.files import ahead
from biso_tasks.files.access import Access
from biso_tasks.files.listing import DATA_EXCLUDES, FilesError, list_tree
from biso_tasks.files.sync import finish_root, method, transfer
from biso_tasks.host import LocalHost

pytestmark = [pytest.mark.real, pytest.mark.needs("rsync", "root")]

NAMES = [
    b"plain.txt",
    b"with space.txt",
    b"new\nline.txt",
    b"-rf",
    b"--help",
    b"quote'\"$(touch pwned)`x`.txt",
    b"umlaut-\xc3\xa4\xc3\xb6\xc3\xbc.txt",
    b"not-utf8-\xff\xfe.txt",
    b"star*?[a].txt",
    b"#comment",
    b";comment",
    b"host:path",
    b"back\\slash",
    b"\\#012",
    b" leading and trailing ",
    b"x" * 250,
]


# As `transfer` has it: what is the same and what is new goes ahead by tar, of many files.
WAYS = ("rsync", "ahead", "tar")


@pytest.fixture
def using(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The way, on request of however few files."""
    if request.param != "ahead":
        return request.param
    monkeypatch.setattr(ahead, "MANY", 1)
    return "rsync"


def build(root: Path, owner: str = "www-data") -> None:
    """A data dir with everything that a copy may lose."""
    base = os.fsencode(root)
    root.mkdir()
    for number, name in enumerate(NAMES):
        path = base + b"/" + name
        with open(path, "wb") as file:
            file.write(b"content %d\n" % number)
        os.utime(path, ns=(10**18, 1_500_000_000_123_456_789 + number))
    deep = root / "phpdocx/lib/data/tmp"
    deep.mkdir(parents=True)
    (deep / "kept").write_text("deep tmp and data are kept")
    (root / "empty").mkdir(mode=0o700)
    (root / "tmp").mkdir()
    (root / "tmp/scratch").write_text("no")
    (root / "a.log").write_text("no")
    (root / "maintenance.on").write_text("no")
    (root / "one").write_text("hard")
    os.link(root / "one", root / "phpdocx/two")
    (root / "link").symlink_to("one")
    (root / "dangling").symlink_to("nowhere")
    with open(root / "sparse", "wb") as file:
        file.truncate(20 << 20)
        file.seek(10 << 20)
        file.write(b"middle")
    subprocess.run(["chown", "-hR", f"{owner}:{owner}", root], check=True)
    (root / "plain.txt").chmod(0o640)
    os.chown(root / "with space.txt", 0, 0)
    (root / "secret").write_text("root only")
    (root / "secret").chmod(0o600)
    os.utime(root / "empty", ns=(0, 1_400_000_000_000_000_000))
    root.chmod(0o2750)


def spoil(path: Path) -> None:
    """Flip a bit; size and times stay."""
    was = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def picture(root: Path) -> dict[str, tuple[Any, ...]]:
    """All that must be equal, for each path; hard-link groups as the set of their names."""
    found: dict[str, tuple[Any, ...]] = {}
    groups: dict[int, set[str]] = {}
    for path in root.rglob("*"):
        there = path.lstat()
        relative = str(path.relative_to(root))
        content: Any = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes()
            groups.setdefault(there.st_ino, set()).add(relative)
        time_of = None if path.is_symlink() else there.st_mtime_ns
        found[relative] = (there.st_mode, there.st_uid, there.st_gid, time_of, content)
    links = {tuple(sorted(group)) for group in groups.values() if len(group) > 1}
    found["<hard links>"] = (links,)
    return found


def root_of(root: Path) -> tuple[int, ...]:
    there = root.stat()
    return (there.st_mode, there.st_uid, there.st_gid, there.st_mtime_ns)


def expected(root: Path) -> dict[str, tuple[Any, ...]]:
    seen = picture(root)
    for left_out in ("tmp/scratch", "a.log", "maintenance.on"):
        del seen[left_out]
    return seen


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("using", WAYS, indirect=True)
@pytest.mark.parametrize("route", ["relay", "local"])
def test_a_tree_arrives_whole_whatever_the_way(
    here: Access, tmp_path: Path, route: Any, using: Any, compress: bool
) -> None:
    build(tmp_path / "src")
    listing = list_tree(here, str(tmp_path / "src"))
    done = transfer(
        here, listing.root, here, str(tmp_path / "dst"), listing.entries,
        route=route, using=using, compress=compress,
    )  # fmt: skip
    finish_root(here, str(tmp_path / "dst"), listing.top)
    assert picture(tmp_path / "dst") == expected(tmp_path / "src")
    assert root_of(tmp_path / "dst") == root_of(tmp_path / "src")
    assert done.vanished == ()
    assert done.method == using
    assert (tmp_path / "dst/sparse").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
def test_the_relay_joins_two_hosts_that_do_not_know_each_other(
    lab: Any, places: tuple[Path, Path], compress: bool
) -> None:
    prod, test = places
    build(prod / "src")
    (prod / "src/letter.txt").write_text("Sie rief gestern an. " * 100_000)
    reader = lab.prod.access(user="www-data", root=True)
    writer = lab.test.access(user="www-data", root=True)
    assert not lab.prod.host.reachable_from(lab.test.host)
    assert method(reader, writer) == "rsync"
    listing = list_tree(reader, str(prod / "src"))
    before = picture(prod / "src")
    told: list[int] = []
    done = transfer(
        reader,
        listing.root,
        writer,
        str(test / "dst"),
        listing.entries,
        route="relay",
        compress=compress,
        progress=told.append,
    )
    finish_root(writer, str(test / "dst"), listing.top)
    assert picture(test / "dst") == expected(prod / "src")
    assert root_of(test / "dst") == root_of(prod / "src")
    assert picture(prod / "src") == before
    assert told
    assert sorted(tmp.name for tmp in prod.iterdir()) == ["src"]
    assert (1000 if compress else 2_100_000) < done.bytes_sent < (500_000 if compress else 10**8)


def test_a_source_without_root_is_read_by_its_user_and_an_unreadable_file_is_a_failure(
    lab: Any, places: tuple[Path, Path]
) -> None:
    prod, test = places
    build(prod / "src")
    reader = lab.prod.access(user="www-data")
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(prod / "src"))
    assert listing.unreadable == ("secret",)
    with pytest.raises(FilesError, match=r"secret.*Permission denied"):
        transfer(reader, listing.root, writer, str(test / "dst"), listing.entries)
    entries = [entry for entry in listing.entries if entry.path != "secret"]
    transfer(reader, listing.root, writer, str(test / "again"), entries)
    wanted = expected(prod / "src")
    del wanted["secret"]
    assert picture(test / "again") == wanted


def test_tar_between_two_hosts_gives_files_to_their_owners(
    lab: Any, places: tuple[Path, Path]
) -> None:
    prod, test = places
    build(prod / "src")
    (prod / "src/secret").unlink()
    reader = lab.prod.access(user="www-data")
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(prod / "src"))
    transfer(reader, listing.root, writer, str(test / "dst"), listing.entries, using="tar")
    wanted, got = expected(prod / "src"), picture(test / "dst")
    assert got == wanted


@pytest.mark.parametrize("using", WAYS, indirect=True)
def test_what_did_not_change_is_copied_beside_and_shares_no_inode(
    lab: Any, places: tuple[Path, Path], using: Any
) -> None:
    prod, test = places
    build(prod / "src")
    (prod / "src/secret").unlink()
    (prod / "src/big").write_bytes(random.Random(1).randbytes(3 << 20))
    (prod / "src/other").write_bytes(random.Random(2).randbytes(3 << 20))
    subprocess.run(["chown", "www-data:", prod / "src/big", prod / "src/other"], check=True)
    reader = lab.prod.access(user="www-data")
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(prod / "src"))
    live = test / "live"
    first = transfer(reader, listing.root, writer, str(live), listing.entries, using=using)
    assert first.bytes_sent > 6 << 20
    with open(prod / "src/big", "r+b") as file:
        file.seek(100)
        file.write(b"changed")
    # same size, and within the same second: only nanoseconds tell
    was = (prod / "src/plain.txt").stat()
    (prod / "src/plain.txt").write_text("CONTENT 0\n")
    os.utime(prod / "src/plain.txt", ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    listing = list_tree(reader, str(prod / "src"))
    stage = test / "stage"
    second = transfer(
        reader, listing.root, writer, str(stage), listing.entries, basis=str(live), using=using
    )
    assert picture(stage) == expected(prod / "src")
    assert second.bytes_sent < (200_000 if using == "rsync" else 24 << 20)
    inodes = {path.lstat().st_ino for path in live.rglob("*")}
    assert not inodes & {path.lstat().st_ino for path in stage.rglob("*")}
    assert (stage / "other").read_bytes() == (live / "other").read_bytes()
    if using == "rsync":
        assert second.bytes_sent < first.bytes_sent / 20


@pytest.mark.parametrize(
    ("using", "closed"),
    [("rsync", False), ("ahead", False), ("tar", False), ("rsync", True)],
    indirect=["using"],
    ids=["rsync", "ahead", "tar", "a basis that cannot be listed"],
)
def test_a_damaged_file_of_the_basis_is_found_by_its_sum_and_sent_anew(
    lab: Any, places: tuple[Path, Path], using: Any, closed: bool
) -> None:
    """One byte, with size and time as before; one of two names of a file among them."""
    prod, test = places
    build(prod / "src")
    (prod / "src/secret").unlink()
    reader = lab.prod.access(user="www-data")
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(prod / "src"))
    files = [entry for entry in listing.entries if entry.kind == "file"]
    sums = {path: sha256((prod / "src" / path).read_bytes()).hexdigest() for path in
            (entry.path for entry in files)}  # fmt: skip
    live, stage = test / "live", test / "stage"
    transfer(reader, listing.root, writer, str(live), listing.entries, using=using)
    hurt = ["new\nline.txt", "--help", "not-utf8-\udcff\udcfe.txt", "sparse", "one"]
    for path in hurt:
        spoil(live / path)
    if closed:
        (live / "empty").chmod(0o000)
        os.chown(live / "empty", 0, 0)

    moved = transfer(
        reader, listing.root, writer, str(stage), listing.entries, basis=str(live), sums=sums,
        using=using,
    )  # fmt: skip

    found = picture(stage)
    wanted = expected(prod / "src")
    # A folder in which a file was replaced has a new time: `apply_recorded` gives the recorded one.
    for path in ("", ".", "phpdocx"):
        found.pop(path, None), wanted.pop(path, None)
    assert found == wanted
    # tar sends what has several names anyhow.
    by_name = set(hurt) | ({"phpdocx/two"} if using == "rsync" else set())
    assert set(moved.damaged) == by_name - ({"one"} if using == "tar" else set())


@pytest.mark.parametrize("using", WAYS, indirect=True)
def test_a_file_that_is_wrong_even_when_it_was_sent_is_a_failed_proof(
    here: Access, tmp_path: Path, using: Any
) -> None:
    for name in ("src", "live"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
        os.utime(tmp_path / name / "f", (1, 1))
    listing = list_tree(here, str(tmp_path / "src"))
    with pytest.raises(ProofFailed, match="is not what was sealed: 'f'"):
        transfer(
            here, listing.root, here, str(tmp_path / "stage"), listing.entries,
            basis=str(tmp_path / "live"), sums={"f": "0" * 64}, route="local", using=using,
        )  # fmt: skip


@pytest.mark.parametrize("using", WAYS, indirect=True)
def test_names_that_are_one_file_beside_and_two_at_the_source_come_as_two(
    here: Access, tmp_path: Path, using: Any
) -> None:
    """Who writes into the one later must not write into the other."""
    for tree in ("src", "live"):
        (tmp_path / tree).mkdir()
        for name in ("a", "b"):
            (tmp_path / tree / name).write_text("x")
            os.utime(tmp_path / tree / name, (1, 1))
    (tmp_path / "live/b").unlink()
    os.link(tmp_path / "live/a", tmp_path / "live/b")
    listing = list_tree(here, str(tmp_path / "src"))
    transfer(here, listing.root, here, str(tmp_path / "dst"), listing.entries,
             basis=str(tmp_path / "live"), route="local", using=using)  # fmt: skip
    assert [(tmp_path / "dst" / name).stat().st_nlink for name in ("a", "b")] == [1, 1]


def test_link_dest_would_have_shared_inodes_with_the_live_tree(tmp_path: Path) -> None:
    """The trap that --copy-dest avoids, with plain tools."""
    for name in ("src", "live"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
        os.utime(tmp_path / name / "f", (1, 1))
    subprocess.run(
        ["rsync", "-a", f"--link-dest={tmp_path}/live", f"{tmp_path}/src/", f"{tmp_path}/stage"],
        check=True,
    )
    assert (tmp_path / "stage/f").stat().st_ino == (tmp_path / "live/f").stat().st_ino


def test_only_what_the_list_names_travels(here: Access, tmp_path: Path) -> None:
    """`./` in the list, for the root's own mode, would bring every file at the top along."""
    build(tmp_path / "src")
    listing = list_tree(here, str(tmp_path / "src"))
    chosen = [entry for entry in listing.entries if entry.kind == "dir"]
    transfer(here, listing.root, here, str(tmp_path / "dst"), chosen)
    assert not [path for path in (tmp_path / "dst").rglob("*") if not path.is_dir()]
    subprocess.run(
        ["rsync", "-a", "--from0", "--files-from=-", f"{tmp_path}/src/", f"{tmp_path}/trap"],
        input=b"./\0",
        check=True,
    )
    assert (tmp_path / "trap/secret").exists()


@pytest.mark.parametrize("using", WAYS, indirect=True)
def test_a_file_that_vanished_is_reported_and_no_failure(
    here: Access, tmp_path: Path, using: Any
) -> None:
    build(tmp_path / "src")
    listing = list_tree(here, str(tmp_path / "src"))
    (tmp_path / "src/plain.txt").unlink()
    shutil.rmtree(tmp_path / "src/empty")
    done = transfer(here, listing.root, here, str(tmp_path / "dst"), listing.entries, using=using)
    assert done.vanished == ("empty", "plain.txt")
    assert (tmp_path / "dst/-rf").exists()


@pytest.mark.parametrize("using", WAYS, indirect=True)
def test_an_owner_unknown_on_the_target_becomes_the_configured_one(
    here: Access, tmp_path: Path, using: Any
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/f").write_text("x")
    (tmp_path / "src/g").write_text("x")
    os.chown(tmp_path / "src/f", 54321, 54322)
    listing = list_tree(here, str(tmp_path / "src"))
    transfer(
        here,
        listing.root,
        here,
        str(tmp_path / "dst"),
        listing.entries,
        using=using,
        fallback_owner="www-data:www-data",
    )
    assert (tmp_path / "dst/f").owner() == "www-data"
    assert (tmp_path / "dst/f").group() == "www-data"
    assert (tmp_path / "dst/g").owner() == "root"


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
def test_direct_the_target_pulls_with_the_keys_of_its_login(
    lab: Any, places: tuple[Path, Path], compress: bool
) -> None:
    prod, test = places
    build(prod / "src")
    ssh = lab.test.home / ".ssh"
    ssh.mkdir(mode=0o700)
    try:
        shutil.copy(lab.root / "client", ssh / "id_ed25519")
        (ssh / "id_ed25519").chmod(0o600)
        shutil.copy(lab.root / f"known_{lab.prod.login}", ssh / "known_hosts")
        subprocess.run(["chown", "-R", f"{lab.test.login}:", ssh], check=True)
        assert lab.prod.host.reachable_from(lab.test.host)
        reader = lab.prod.access(user="www-data", root=True)
        writer = lab.test.access(user="www-data", root=True)
        listing = list_tree(reader, str(prod / "src"))
        done = transfer(
            reader, listing.root, writer, str(test / "dst"), listing.entries,
            route="direct", compress=compress,
        )  # fmt: skip
        assert picture(test / "dst") == expected(prod / "src")
        assert done.bytes_sent > 500
        (ssh / "known_hosts").write_text("")
        with pytest.raises(FilesError, match=r"[Hh]ost key"):
            transfer(
                reader, listing.root, writer, str(test / "no"), listing.entries, route="direct"
            )
    finally:
        shutil.rmtree(ssh)


def test_thousands_of_small_files_go_by_relay(lab: Any, places: tuple[Path, Path]) -> None:
    prod, test = places
    root = prod / "src"
    for number in range(40):
        folder = root / f"folder {number}"
        folder.mkdir(parents=True)
        for name in range(100):
            (folder / f"file-{name}.bin").write_bytes(b"%d" % (number * name))
    reader, writer = lab.prod.access(user="www-data", root=True), lab.test.access(root=True)
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(root))
    done = transfer(reader, listing.root, writer, str(test / "dst"), listing.entries)
    assert done.files == 4_000
    again = transfer(
        reader, listing.root, writer, str(test / "st"), listing.entries, basis=str(test / "dst")
    )
    assert again.files == 4_000
    assert again.bytes_sent < done.bytes_sent


def processes_below(*folders: Path) -> list[str]:
    """Command lines that name one of the folders: whatever a transfer left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
            except OSError:
                continue
            if any(str(folder) in line for folder in folders):
                found.append(f"{entry.name} {line}")
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


@pytest.mark.parametrize("what", ["source", "target", "cancel"])
def test_a_relay_that_is_cut_is_an_error_and_leaves_no_process(
    lab: Any, places: tuple[Path, Path], what: str
) -> None:
    prod, test = places
    (prod / "src").mkdir()
    for number in range(8):
        (prod / "src" / f"big{number}").write_bytes(random.Random(number).randbytes(60 << 20))
    reader = lab.prod.access(user="www-data", root=True)
    writer = lab.test.access(user="www-data", root=True)
    listing = list_tree(reader, str(prod / "src"))
    cancel = threading.Event()
    caught: list[BaseException] = []

    def go() -> None:
        try:
            transfer(
                reader, listing.root, writer, str(test / "dst"), listing.entries, cancel=cancel
            )
        except (FilesError, Interrupted) as error:
            caught.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    assert wait_for(lambda: list(test.glob("dst/.big*")) or list(test.glob("dst/big*")))
    if what == "cancel":
        cancel.set()
    else:
        place = prod if what == "source" else test
        ssh = [
            int(line.split(" ")[0])
            for line in processes_below(place)
            if line.split(" ")[1].endswith("ssh")
        ]
        assert ssh
        for process in ssh:
            os.kill(process, signal.SIGKILL)
    thread.join(60)
    assert not thread.is_alive()
    assert isinstance(caught[0], Interrupted if what == "cancel" else FilesError)
    assert wait_for(lambda: not processes_below(prod, test)), processes_below(prod, test)


@pytest.mark.parametrize("how", ["local", "direct-less"])
def test_a_cancelled_copy_on_a_remote_host_leaves_no_process(
    lab: Any, places: tuple[Path, Path], how: str
) -> None:
    _, test = places
    (test / "src").mkdir()
    for number in range(20):
        (test / "src" / f"big{number}").write_bytes(random.Random(number).randbytes(60 << 20))
    access = lab.test.access(user="www-data", root=how == "local")
    if how != "local":
        subprocess.run(["chown", "-R", "www-data:", test / "src"], check=True)
    listing = list_tree(access, str(test / "src"))
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    with pytest.raises(Interrupted):
        transfer(
            access,
            listing.root,
            access,
            str(test / "dst"),
            listing.entries,
            route="local",
            cancel=cancel,
        )
    assert wait_for(lambda: not processes_below(test), 30), processes_below(test)


def test_without_rsync_on_one_side_the_method_is_tar(lab: Any, local: LocalHost) -> None:
    with_it = lab.prod.access(root=True)
    # the login may not become this user, so it may not run rsync there
    without = lab.test.access(user="nobody")
    assert method(with_it, with_it) == "rsync"
    assert method(with_it, without) == "tar"


def test_the_excludes_are_those_of_the_contract() -> None:
    assert DATA_EXCLUDES == ("/tmp/**", "**/*.log", "/maintenance.on")
