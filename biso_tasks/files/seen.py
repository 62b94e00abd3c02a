"""What the files of a tree were when they were copied: their inodes and ctimes, which no program
can set. By them the next copy knows which files are still the ones that were copied. Size and mtime
alone do not tell: `cp -p`, `touch -r` and unpackers leave them as they were.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from biso_tasks.files.listing import Entry, Listing

__all__ = ["Seen", "decode", "encode", "seen"]

# Two changes may have one ctime: clocks of filesystems tick every few milliseconds, those of old
# ones every second or two. What changed just before it was listed may have changed again since.
_TICK: Final = 2_000_000_000
_HEAD: Final = b"biso-tasks seen 1"


class _Stamp(NamedTuple):
    size: int
    mtime: int
    ctime: int
    inode: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The regular files of one listing, by path."""

    files: Mapping[str, _Stamp]

    def same(self, entry: Entry) -> bool:
        """Whether it is certainly the file that was copied, unchanged."""
        return self.files.get(entry.path) == _stamp(entry)

    def alike(self, entry: Entry) -> bool:
        """Whether size and mtime are those of then: rsync would take it for unchanged."""
        then = self.files.get(entry.path)
        return then is not None and (then.size, then.mtime) == (entry.size, entry.mtime)


def seen(listing: Listing, *, without: Collection[str] = ()) -> Seen:
    """What `listing` saw; paths of `without` and below are left out."""
    left_out = tuple(f"{path}/" for path in without)
    return Seen(
        {
            entry.path: _stamp(entry, settled=entry.ctime < listing.began - _TICK)
            for entry in listing.entries
            if entry.kind == "file"
            and entry.path not in without
            and not entry.path.startswith(left_out)
        }
    )


def encode(given: Seen) -> bytes:
    """For a file: gzip of NUL-terminated fields."""
    fields = [_HEAD]
    for path, stamp in given.files.items():
        fields += (path.encode("utf-8", "surrogateescape"), b"%d %d %d %d" % stamp)
    return gzip.compress(b"".join(field + b"\0" for field in fields), 3, mtime=0)


def decode(content: bytes | None) -> Seen | None:
    """What `encode` wrote. None for anything else, and for None: then each file is compared by its
    content, which is slow and never wrong."""
    if content is None:
        return None
    try:
        head, *fields, end = gzip.decompress(content).split(b"\0")
        if head != _HEAD or end != b"":
            return None
        paths = (path.decode("utf-8", "surrogateescape") for path in fields[::2])
        stamps = (_Stamp(*map(int, text.split())) for text in fields[1::2])
        return Seen(dict(zip(paths, stamps, strict=True)))
    except (OSError, EOFError, zlib.error, TypeError, ValueError):
        return None


def _stamp(entry: Entry, *, settled: bool = True) -> _Stamp:
    return _Stamp(entry.size, entry.mtime, entry.ctime if settled else 0, entry.inode)
