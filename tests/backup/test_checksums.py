"""SHA256SUMS: for anybody's sha256sum, and read again only where something is new."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.backup.checksums import UNCOVERED, Unreadable, hash_set, make_sums, parse_sums
from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.metadata import TREES
from biso_tasks.backup.store import Store
from biso_tasks.errors import StepFailed

ONE, TWO = "20261119_031500-prod", "20261120_031500-prod"


def check(folder: Path) -> subprocess.CompletedProcess[bytes]:
    words = ["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"]
    return subprocess.run(words, cwd=folder, capture_output=True, check=False)


def covered(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name not in UNCOVERED
    }


def test_sha256sum_is_content_whatever_the_names(sealed: tuple[str, Path]) -> None:
    _, folder = sealed
    done = check(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    sums = parse_sums((folder / "SHA256SUMS").read_bytes())
    assert set(sums) == covered(folder)
    assert "webroot/inner/line\nbreak\\n" in sums
    assert os.fsdecode(b"data/\xff raw") in sums


def linked(store: Store, maker: Any, before: Path) -> Path:
    folder: Path = maker.partial(TWO, ("webroot", "data"))
    for area in ("webroot", "data"):
        shutil.copytree(before / area, folder / area, symlinks=True, copy_function=os.link)
    return folder


def test_what_is_one_file_with_the_set_before_is_not_read_again(store: Store, maker: Any) -> None:
    before = maker.seal(ONE)
    folder = linked(store, maker, before)
    (folder / "data/new").write_text("new")
    (folder / "data/index.php").unlink()
    (folder / "data/index.php").write_text("<?php\n")  # the same content, another file
    (folder / "webroot/index.php").rename(folder / "webroot/moved")
    # rot that a second reading would take for the truth
    rotten = folder / "webroot/inner/höhe und tiefe"
    rotten.write_text("SPACES")
    summed = make_sums(store, TWO, dict.fromkeys(TREES, store.list()[0]))
    sums = parse_sums((folder / "SHA256SUMS").read_bytes())
    assert set(sums) == covered(folder)
    assert summed.files == len(sums)
    assert summed.reused == 4  # the two trees' raw names and names with spaces
    assert "höhe und tiefe: FAILED" in check(folder).stdout.decode()
    assert sums["data/new"] == hashlib.sha256(b"new").hexdigest()


def test_a_store_that_takes_nothing_is_read_all_the_same(
    store: Store, sealed: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is mounted to be read only."""
    id, folder = sealed
    mktemp = tmp_path / "bin/mktemp"
    mktemp.parent.mkdir()
    mktemp.write_text(
        f'#!/bin/bash\n[[ "$*" != *"{store.path}"* ]] || exit 1\nexec /usr/bin/mktemp "$@"\n'
    )
    mktemp.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mktemp.parent}:{os.environ['PATH']}")
    assert set(hash_set(store, id)) == covered(folder)


@pytest.mark.parametrize("how", ["none", "damaged", "changed sums", "no sums"])
def test_a_set_before_that_is_not_well_vouches_for_nothing(
    store: Store, maker: Any, how: str
) -> None:
    before = maker.seal(ONE)
    previous = store.list()[0]
    folder = linked(store, maker, before)
    if how == "none":
        pass
    elif how == "damaged":
        status = previous.status
        store.write_state(ONE, status.after(status.good, problems=True))
        previous = store.list()[0]
    elif how == "changed sums":
        text = (before / "SHA256SUMS").read_text(errors="surrogateescape")
        (before / "SHA256SUMS").write_text(text.replace("a", "b"), errors="surrogateescape")
    else:
        (before / "SHA256SUMS").unlink()
    given = {} if how == "none" else dict.fromkeys(TREES, previous)
    assert make_sums(store, TWO, given).reused == 0
    assert check(folder).returncode == 0


def test_each_tree_takes_its_sums_from_the_set_that_it_was_joined_to(
    store: Store, maker: Any
) -> None:
    whole = maker.seal(ONE)
    alone = maker.seal("20261119_120000-prod", areas=("data",))
    folder = maker.partial(TWO, ("webroot", "data"))
    for area, before in (("webroot", whole), ("data", alone)):
        shutil.copytree(before / area, folder / area, symlinks=True, copy_function=os.link)
    first, second = store.list()[:2]
    assert make_sums(store, TWO, {"webroot": first, "data": second}).reused == 6
    assert check(folder).returncode == 0
    assert make_sums(store, TWO, {"webroot": second, "data": first}).reused == 0
    assert check(folder).returncode == 0


def test_a_sum_file_of_a_run_before_is_not_written_through(store: Store, maker: Any) -> None:
    folder = maker.partial(TWO, ())
    (folder / "a").write_text("a")
    other = Path(store.path, "other")
    other.write_text("other")
    (folder / "SHA256SUMS").hardlink_to(other)
    make_sums(store, TWO, {})
    assert other.read_text() == "other"
    assert set(parse_sums((folder / "SHA256SUMS").read_bytes())) == {"a"}


def test_long_names_and_many_files_do_not_mix(store: Store, maker: Any) -> None:
    folder = maker.partial(TWO, ("data",))
    deep = folder / "data" / ("d" * 200)
    for _ in range(6):
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    for number in range(1500):
        ((deep if number % 3 else folder / "data") / f"{number} {'ä' * 90}").write_text(str(number))
    make_sums(store, TWO, {})
    sums = parse_sums((folder / "SHA256SUMS").read_bytes())
    assert len(sums) == 1500
    assert check(folder).returncode == 0
    assert not list(Path(store.path, "sets").glob(".work*"))


def test_hashing_a_set_gives_what_is_there_now(store: Store, sealed: tuple[str, Path]) -> None:
    id, folder = sealed
    assert hash_set(store, id) == parse_sums((folder / "SHA256SUMS").read_bytes())


@pytest.fixture
def openssl(
    hashed_by: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Make `openssl` a shell script, `real` being the machine's. Where calls of it and of sha256sum
    are noted."""
    programs = tmp_path / "programs"
    programs.mkdir()
    calls = tmp_path / "calls"

    def made(text: str) -> Path:
        for program, does in (("openssl", text), ("sha256sum", 'exec $real "$@"')):
            file, real = programs / program, shutil.which(program) or "false"
            noted = f'#!/bin/sh\necho "{program} $*" >>{calls}\nreal={real}\n{does}\n'
            file.write_text(noted)
            file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        return calls

    return made


FAILS = "[ $# -eq 3 ] || "


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ('exec $real "$@"', True),
        ("exit 127", False),
        ("echo 0000 '*stdin'", False),
        (FAILS + 'exit 1; exec $real "$@"', True),
        (FAILS + '{ $real "$@"; exit 1; }; exec $real "$@"', True),
    ],
    ids=["there", "not there", "another kind", "fails", "fails at the end"],
)
def test_the_sums_are_the_same_with_openssl_and_without(
    store: Store, sealed: tuple[str, Path], openssl: Callable[[str], Path], text: str, jobs: bool
) -> None:
    id, folder = sealed
    calls = openssl(text)
    (folder / "-x").write_text("no option")
    expected = {
        name: hashlib.sha256(Path(folder, name).read_bytes()).hexdigest()
        for name in covered(folder)
    }
    assert hash_set(store, id) == expected
    called = calls.read_text(errors="replace")
    assert any("/dev/fd/" in line for line in called.splitlines() if "openssl" in line) == jobs
    # Whoever lists the host's processes sees no name of a file.
    assert [name for name in covered(folder) if f"/{Path(name).name}" in called] == []
    assert "index.php" not in called


@pytest.mark.needs("openssl")
def test_an_openssl_that_is_killed_says_nothing_of_the_files(
    store: Store, sealed: tuple[str, Path], openssl: Callable[[str], Path]
) -> None:
    openssl(FAILS + 'kill -9 $$; exec $real "$@"')
    with pytest.raises(StepFailed) as caught:
        hash_set(store, sealed[0])
    assert not isinstance(caught.value, Unreadable)


@pytest.mark.usefixtures("hashed_by")
def test_what_a_failing_disk_does_not_give_is_named(
    store: Store, sealed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs know descriptors alone, and a person has to know the file."""
    id, folder = sealed
    programs = folder.parent.parent / "programs"
    programs.mkdir()
    for program in ("openssl", "sha256sum"):
        file = programs / program
        file.write_text(
            "#!/bin/sh\ncase $* in *dev/fd/*) exit 1 ;; esac\n"
            "[ $# -gt 0 ] || ! head -c 6 | grep -q spoilt || { echo no luck >&2; exit 1; }\n"
            f'exec {shutil.which(program)} "$@"\n'
        )
        file.chmod(0o755)
    (folder / "data/Antrag Müller.pdf").write_text("spoilt")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(Unreadable, match=r"no luck\n.*Antrag Müller\.pdf cannot be read"):
        hash_set(store, id)


@given(st.binary(min_size=1, max_size=12).filter(lambda b: b"\0" not in b))
def test_escaped_names_are_read_as_coreutils_writes_them(name: bytes) -> None:
    plain = name
    for old, new in ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r")):
        name = name.replace(old, new)
    line = (b"\\" if name != plain else b"") + b"0" * 64 + b"  " + name + b"\n"
    assert parse_sums(line) == {os.fsdecode(plain): "0" * 64}


@pytest.mark.parametrize(
    "content",
    [b"x", b"0" * 64 + b"  a", b"0" * 63 + b"  a\n", b"0" * 64 + b" *a\n", b"0" * 64 + b"  \n",
     b"\\" + b"0" * 64 + b"  a\\\n", b"\\" + b"0" * 64 + b"  a\\x\n", b"\n",
     (b"0" * 64 + b"  a\n") * 2],
)  # fmt: skip
def test_what_sha256sum_does_not_write_is_refused(content: bytes) -> None:
    with pytest.raises(BadSet, match="SHA256SUMS"):
        parse_sums(content)
