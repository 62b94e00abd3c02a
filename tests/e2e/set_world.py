"""What end-to-end tests of backup sets share: where a world's sets lie, and sets read without the
product, by the format that CONTRACT gives.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

EXCLUDED = re.compile(rb"tmp/.*|(.*/)?[^/]*\.log|maintenance\.on", re.DOTALL)


def store_of(world: Any, *, ssh: bool = True) -> Path:
    """Where the sets of production are: over SSH they belong to an ordinary user, else to root."""
    home: Path = world.hosts["prod"].folder / "home"
    return home / "backups" if ssh else world.base / "backups"


def forget_sets(world: Any) -> None:
    """A world's reset leaves the sets: tests share them."""
    for ssh in (True, False):
        shutil.rmtree(store_of(world, ssh=ssh), ignore_errors=True)


def site(world: Any, *, ssh: bool = True, text: str = "", **sections: Any) -> Path:
    """biso.toml with a store, and no anonymising unless said; returns the store."""
    store = store_of(world, ssh=ssh)
    backup = {"path": str(store), **sections.pop("backup", {})}
    refresh = {"anonymize": False, **sections.pop("refresh", {})}
    world.site(ssh=ssh, text=text, backup=backup, refresh=refresh, **sections)
    return store


def biso(world: Any, *words: str, code: int = 0) -> Any:
    """Run a command with --json; its exit code is checked."""
    ran = world.run(*words, "--json")
    assert ran.code == code, str(ran)
    return ran


def sums_pass(folder: Path) -> bool:
    """By `sha256sum -c` itself."""
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


Recorded = dict[bytes, tuple[bytes, ...]]


def read_metadata(folder: Path) -> Recorded:
    """METADATA by path: type, mode, owner, mtime, link."""
    fields = (folder / "METADATA").read_bytes().split(b"\0")
    assert fields.pop() == b""
    assert len(fields) % 6 == 0
    entries = [tuple(fields[n : n + 6]) for n in range(0, len(fields), 6)]
    assert [entry[0] for entry in entries] == sorted(entry[0] for entry in entries)
    return {entry[0]: entry[1:] for entry in entries}


def live_metadata(area: str, root: Path) -> Recorded:
    """What METADATA has to say of a live tree, looked at by other means."""
    found: Recorded = {}
    first: dict[tuple[int, int], bytes] = {}
    top = os.fsencode(root)
    paths = [b""]
    for here, folders, files in os.walk(top):
        paths += [os.path.relpath(os.path.join(here, name), top) for name in (*folders, *files)]
    for path in sorted(paths, key=lambda path: path and b"/" + path):
        if area == "data" and EXCLUDED.fullmatch(path):
            continue
        status = os.lstat(os.path.join(top, path) if path else top)
        name = area.encode() + (b"/" + path if path else b"")
        kind, target = (
            {stat.S_IFDIR: b"d", stat.S_IFLNK: b"l", stat.S_IFREG: b"f"}[
                stat.S_IFMT(status.st_mode)
            ],
            b"",
        )
        if kind == b"l":
            target = os.readlink(os.path.join(top, path))
        elif kind == b"f" and status.st_nlink > 1:
            known = first.setdefault((status.st_dev, status.st_ino), name)
            if known != name:
                kind, target = b"h", known
        owner = f"{user(status.st_uid)}:{user(status.st_gid)}".encode()
        moment = b"%d.%09d" % divmod(status.st_mtime_ns, 1_000_000_000)
        found[name] = (kind, b"%04o" % stat.S_IMODE(status.st_mode), owner, moment, target)
    return found


def user(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name


def contents(root: Path) -> dict[bytes, tuple[int, str, int]]:
    """Mode, hash and time of every regular file: what must not change in a sealed set."""
    found = {}
    for here, _, files in os.walk(os.fsencode(root)):
        for name in files:
            path = os.path.join(here, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as handle:
                    digest = sha256(handle.read()).hexdigest()
                found[os.path.relpath(path, root.as_posix().encode())] = (
                    stat.S_IMODE(status.st_mode), digest, status.st_mtime_ns
                )  # fmt: skip
    return found


def blocks(*folders: Path) -> dict[tuple[int, int], int]:
    """Bytes on disk by inode, a shared one once."""
    found: dict[tuple[int, int], int] = {}
    for folder in folders:
        for here, folders_, files in os.walk(os.fsencode(folder)):
            for name in (*folders_, *files):
                status = os.lstat(os.path.join(here, name))
                found[(status.st_dev, status.st_ino)] = status.st_blocks * 512
    return found


def dumped(file: Path) -> str:
    """The text of a plain dump."""
    return subprocess.run(["zcat", file], capture_output=True, check=True).stdout.decode()
