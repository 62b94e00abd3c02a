"""A real set, changed in every way that an accident has: `verify` finds it, and neither a restore
nor a refresh takes it. What is changed is a real copy: a set shares its files with others.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_cases import EVERYTHING
from fault_sets import opened
from fault_world import World

from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.errors import Refused
from biso_tasks.host.local import LocalHost

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

SAMPLE = 200
DOCUMENTS = ("manifest.toml", "METADATA", "RESTORE.md", "SHA256SUMS")


@dataclass(frozen=True)
class Lab:
    """A copy of a set that may be harmed; `whole` is what it was."""

    store: Store
    id: str
    folder: Path
    whole: Path

    def findings(self) -> list[str]:
        return [f"{one.kind} {one.path}" for one in verify_set(self.store, self.id)]

    def mend(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.whole, self.folder, symlinks=True)

    @property
    def dump(self) -> Path:
        return next((self.folder / "db").glob("biso_2*.sql.gz"))

    @contextlib.contextmanager
    def holding(self, path: Path, content: bytes) -> Iterator[None]:
        """While inside, the file says something else."""
        before = path.read_bytes()
        path.write_bytes(content)
        try:
            yield
        finally:
            path.write_bytes(before)

    def vouch(self, *changed: Path) -> None:
        """Make sums, manifest and state agree with what the files say now: as if the set had been
        sealed so."""
        sums = self.folder / "SHA256SUMS"
        text = sums.read_bytes()
        for path in changed:
            end = b"  " + os.fsencode(path.relative_to(self.folder)) + b"\n"
            at = text.index(end)
            text = text[: at - 64] + _sha256(path).encode() + text[at:]
        sums.write_bytes(text)
        state = self.folder / "state.toml"
        lines = [
            f'sums = "{_sha256(sums)}"' if line.startswith("sums = ") else line
            for line in state.read_text("utf-8").splitlines()
        ]
        state.write_text("\n".join(lines), "utf-8")


@pytest.fixture(scope="module")
def made(built: World) -> Iterator[Lab]:
    built.over = "local"
    built.reset("again")
    (sealed,) = (one for one in (built.store / "sets").iterdir())
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="bt-", dir=memory if os.access(memory, os.W_OK) else None)
    )
    host = LocalHost("here")
    try:
        lab = Lab(Store(host, str(folder), "prod"), sealed.name, folder / "sets" / sealed.name,
                  folder / "whole")  # fmt: skip
        lab.store.prepare()
        shutil.copytree(sealed, lab.whole, symlinks=True)
        shutil.copytree(sealed, lab.folder, symlinks=True)
        assert lab.findings() == []
        yield lab
    finally:
        host.close()
        shutil.rmtree(folder)


@pytest.fixture
def lab(made: Lab) -> Iterator[Lab]:
    yield made
    if made.findings():
        made.mend()
    assert made.findings() == []


def test_a_dump_cut_anywhere_is_found(lab: Lab) -> None:
    whole = lab.dump.read_bytes()
    for at in _offsets(len(whole)):
        with lab.holding(lab.dump, whole[:at]):
            assert any(str(lab.dump.name) in one for one in lab.findings()), at


def test_a_dump_that_was_sealed_although_it_is_cut_is_found(lab: Lab) -> None:
    """Every checksum agrees, as after a backup that believed a pipe: the end of its text is not
    there. Cut as a file, and cut as text that was then packed well."""
    whole = lab.dump.read_bytes()
    text = gzip.decompress(whole)
    manifest = lab.folder / "manifest.toml"
    digest = _sha256(lab.dump)
    chance = random.Random(3)
    end = text.rindex(b"-- PostgreSQL database dump complete")
    cuts = [whole[:at] for at in _offsets(len(whole), 25)]
    cuts += [gzip.compress(text[: chance.randrange(end)], 1, mtime=0) for _ in range(25)]
    before = manifest.read_text("utf-8")
    for number, cut in enumerate(cuts):
        lab.dump.write_bytes(cut)
        manifest.write_text(before.replace(digest, _sha256(lab.dump)), "utf-8")
        lab.vouch(lab.dump, manifest)
        assert lab.findings() == [f"dump db/{lab.dump.name}"], number
    lab.dump.write_bytes(whole)
    manifest.write_text(before, "utf-8")
    lab.vouch(lab.dump, manifest)
    assert lab.findings() == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_with_any_byte_changed_is_found(lab: Lab, name: str) -> None:
    path = lab.folder / name
    whole = path.read_bytes()
    chance = random.Random(name)
    count = SAMPLE if name == "manifest.toml" or EVERYTHING else 40
    for at in _offsets(len(whole), count):
        flipped = whole[at] ^ (1 << chance.randrange(8))
        with lab.holding(path, whole[:at] + bytes([flipped]) + whole[at + 1 :]):
            assert any(name in one for one in lab.findings()), at


def test_a_state_with_a_byte_changed_vouches_for_nothing_else_than_it_did(lab: Lab) -> None:
    """It stands outside the checksums, since it changes: a verification, a pin. What a flipped byte
    may do there is to change when or by whom something was said, or a key that is then unknown;
    what it anchors stays anchored."""
    path = lab.folder / "state.toml"
    whole = path.read_bytes()
    status = lab.store.read(lab.id).status
    harmless = 0
    for at in _offsets(len(whole), 80):
        with lab.holding(path, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            if lab.findings():
                continue
            harmless += 1
            now = lab.store.read(lab.id).status
            assert now.sums == status.sums
            assert now.state == "good"
    assert harmless < 80


def test_any_file_removed_cut_or_exchanged_is_found(lab: Lab) -> None:
    """Each of the set's files; in a usual run each in two of the ways, that take turns."""
    files = sorted(path for path in lab.folder.rglob("*") if path.is_file())
    files = [one for one in files if not one.is_symlink() and one.name != "state.toml"]
    for number, (path, other) in enumerate(zip(files, [*files[1:], files[0]], strict=True)):
        name, mine, theirs = (
            str(path.relative_to(lab.folder)),
            path.read_bytes(),
            other.read_bytes(),
        )
        ways = (
            [*_WAYS] if EVERYTHING else [[*_WAYS][(number + more) % len(_WAYS)] for more in (0, 3)]
        )
        for way in ways:
            path.unlink()
            _WAYS[way](path, mine, theirs)
            if way == "exchanged":
                other.write_bytes(mine)
            same = path.is_file() and not path.is_symlink() and path.read_bytes() == mine
            found = lab.findings()
            # Whoever loses the sums themselves is told what they no longer fit.
            named = any(name in one for one in found) or "SHA256SUMS" in (name, other.name)
            assert same or (found and named), f"{name} is {way}: {found}"
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(mine)
            other.write_bytes(theirs)


_WAYS: dict[str, Callable[[Path, bytes, bytes], object]] = {
    "away": lambda path, mine, theirs: None,
    "a link": lambda path, mine, theirs: path.symlink_to("/etc/passwd"),
    "a folder": lambda path, mine, theirs: path.mkdir(),
    "half": lambda path, mine, theirs: path.write_bytes(mine[: len(mine) // 2]),
    "a byte shorter": lambda path, mine, theirs: path.write_bytes(mine[:-1]),
    "empty": lambda path, mine, theirs: path.write_bytes(b""),
    "a byte longer": lambda path, mine, theirs: path.write_bytes(mine + b"\n"),
    "exchanged": lambda path, mine, theirs: path.write_bytes(theirs),
}


def test_what_is_too_much_in_a_set_is_found(lab: Lab) -> None:
    folders = [lab.folder, *sorted(one for one in lab.folder.rglob("*") if one.is_dir())]
    makers = (Path.touch, Path.mkdir, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo)
    for number, folder in enumerate(folders):
        new = folder / ".x"
        for make in makers if EVERYTHING else makers[number % 4 :][:1]:
            make(new)
            name = str(new.relative_to(lab.folder))
            assert any(name in one for one in lab.findings()), name
            new.rmdir() if new.is_dir() and not new.is_symlink() else new.unlink()


def test_the_documents_of_another_set_are_found(lab: Lab, world: World) -> None:
    """All documents of one set over those of another: each is well in itself."""
    world.reset("again")
    made = world.run(world.spec(), *world.words("backup"))
    assert made.code == 0, made.err
    other = Path(made.document["path"])
    for names in ((*DOCUMENTS, "state.toml"), DOCUMENTS, ("manifest.toml",), ("SHA256SUMS",)):
        for name in names:
            shutil.copy2(other / name, lab.folder / name)
        assert lab.findings(), names
        for name in names:
            shutil.copy2(lab.whole / name, lab.folder / name)
    world.reset("again")


def _cut_dump(folder: Path) -> None:
    dump = next((folder / "db").glob("biso_2*.sql.gz"))
    os.truncate(dump, dump.stat().st_size - 9)


def _flip_manifest(folder: Path) -> None:
    text = (folder / "manifest.toml").read_bytes()
    at = text.index(b"rows") if b"rows" in text else len(text) // 2
    (folder / "manifest.toml").write_bytes(text[:at] + bytes([text[at] ^ 32]) + text[at + 1 :])


def _remove_file(folder: Path) -> None:
    next(one for one in (folder / "data").rglob("*") if one.is_file()).unlink()


def _forget_state(folder: Path) -> None:
    (folder / "state.toml").unlink()


_HARMS: dict[str, Callable[[Path], None]] = {
    "the dump is cut": _cut_dump,
    "a byte of the manifest is another": _flip_manifest,
    "a file is gone": _remove_file,
    "its state is gone": _forget_state,
}
_TASKS = {
    "verify": ("verify", "--set", "{}"),
    "restore": ("restore", "{}", "--to", "test", "--yes"),
    "refresh-test": ("refresh-test", "--source", "{}", "--yes"),
}
_PAIRS = [(task, harm) for task in _TASKS for harm in _HARMS]


@pytest.mark.parametrize(("task", "harm"), _PAIRS if EVERYTHING else _PAIRS[::5])
def test_no_command_takes_a_set_that_was_harmed(world: World, task: str, harm: str) -> None:
    world.reset("again")
    (sealed,) = (world.store / "sets").iterdir()
    _HARMS[harm](sealed)
    words = (word.format(sealed.name) for word in _TASKS[task])
    run = world.run(world.spec(), *words, "--json")
    assert run.code == 4, f"exit {run.code}\n{run.err}"
    assert sealed.name in run.document["error"]["message"], run.document["error"]
    assert world.check(run) == "old"
    with opened(world.store, "prod") as store:
        assert [one.state for one in store.list()] == ["damaged"]
        with pytest.raises(Refused, match="no complete good set"):
            store.resolve("latest")


def _offsets(size: int, count: int = SAMPLE) -> list[int]:
    """Places spread over a file, its first and last bytes among them."""
    chance = random.Random(size)
    few = {0, 1, size - 1, size - 2, size - 8, size - 9}
    return sorted(few | {chance.randrange(size) for _ in range(count - len(few))})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
