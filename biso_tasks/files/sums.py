"""SHA-256 of files where they lie: names go there, sums come back, the files stay on their host.
And what a copy took from a tree beside it, held against the sums that are known.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from biso_tasks.errors import Interrupted, ProofFailed, Refused
from biso_tasks.files.access import Access
from biso_tasks.files.hashing import HASHING
from biso_tasks.files.listing import Entry, FilesError, list_tree, named
from biso_tasks.host.command import script
from biso_tasks.host.protocol import CommandFailed

__all__ = ["differing", "require_right", "sums_of", "taken_from"]

_SUMS: Final = (
    HASHING
    + r"""
export LC_ALL=C
hasher ''
cd -- "$1"
hash_names
"""
)
_LINE: Final = re.compile(rb"\\?([0-9a-f]{64}) [ *]")
# What one command reads, so that a run that is interrupted does not wait for all of them.
_FILES: Final = 4000
_BYTES: Final = 1 << 31
_JOBS: Final = 2


def sums_of(
    access: Access,
    root: str,
    entries: Sequence[Entry],
    *,
    cancel: threading.Event | None = None,
) -> dict[str, str]:
    """The SHA-256 of regular files below `root`, by path, as whoever looks at trees there reads
    them. Raises FilesError where one cannot be read, Interrupted when `cancel` is set."""
    found: dict[str, str] = {}

    def read(batch: Sequence[Entry]) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted(f"{access.host.name}: reading {root} was cancelled")
        found.update(_read(access, root, [entry.path for entry in batch]))

    with ThreadPoolExecutor(_JOBS) as pool:
        for _ in pool.map(read, _batches(entries)):
            pass
    return found


def taken_from(
    access: Access, basis: str, files: Sequence[Entry], there: Mapping[str, Entry]
) -> list[Entry]:
    """Which of `files` may be what the tree `basis` holds: those that have the same size there, or
    are one file with such a one; `there` is what now is at their paths. All of them where the basis
    cannot be looked at."""
    arrived = [entry for entry in files if entry.path in there]
    try:
        listing = list_tree(access, basis, exclude=(), empty_ok=True)
    except (FilesError, Refused):
        return arrived
    sizes = {entry.path: entry.size for entry in listing.entries if entry.kind == "file"}
    alike = [
        there[entry.path] for entry in arrived if sizes.get(entry.path) == there[entry.path].size
    ]
    inodes = {(one.device, one.inode) for one in alike}
    return [one for one in arrived if (there[one.path].device, there[one.path].inode) in inodes]


def differing(
    access: Access,
    root: str,
    files: Sequence[Entry],
    sums: Mapping[str, str],
    *,
    cancel: threading.Event | None = None,
) -> tuple[Entry, ...]:
    """Those of `files` below `root` whose content is not what `sums` say. Raises as `sums_of`."""
    found = sums_of(access, root, files, cancel=cancel)
    return tuple(entry for entry in files if found[entry.path] != sums.get(entry.path))


def require_right(
    access: Access,
    root: str,
    files: Sequence[Entry],
    sums: Mapping[str, str],
    *,
    cancel: threading.Event | None = None,
) -> None:
    """Raises ProofFailed, naming files, where the content is not what `sums` say."""
    wrong = differing(access, root, files, sums, cancel=cancel)
    if wrong:
        paths = named([entry.path for entry in wrong])
        raise ProofFailed(
            f"{access.host.name}: what came into {root} is not what was sealed: {paths}",
            hint="nothing was changed; is a disk or the memory of a host damaged? `biso verify "
            "--set` reads all of the set",
        )


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if len(batch) == _FILES or size > _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read(access: Access, root: str, paths: Sequence[str]) -> dict[str, str]:
    names = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
    run = access.reader(script(_SUMS, root))
    try:
        out = access.host.run(run, stdin=names, timeout=None).out
    except CommandFailed as error:
        raise FilesError(
            f"{access.host.name}: files of {root} cannot be read: {error.result.error}",
            hint=error.hint,
        ) from error
    # One line for each name, in their order: how it writes a name is its own affair.
    lines = [_LINE.match(line) for line in out.split(b"\n")[:-1]]
    sums = [line[1].decode() for line in lines if line is not None]
    if not len(sums) == len(lines) == len(paths):
        raise FilesError(f"{access.host.name}: {len(paths)} files of {root} gave {len(sums)} sums")
    return dict(zip(paths, sums, strict=True))
