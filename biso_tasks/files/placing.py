"""Write many placeholders with one stream: no round trip a file, no link between them."""

from __future__ import annotations

import subprocess
import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from biso_tasks.files.access import Access
from biso_tasks.files.crew import Crew
from biso_tasks.files.listing import Entry, FilesError
from biso_tasks.files.owners import give, make_root, owners_for
from biso_tasks.files.placeholders import placeholder
from biso_tasks.host.command import script

__all__ = ["write_placeholders"]

_BLOCK: Final = 512
# Kept at the end of the second, so that a placeholder never passes for the original it stands for
# when rsync compares size and time with the tree beside.
_MARK: Final = 1  # nanoseconds
_UNPACK: Final = """
gzip -dc |
  LC_ALL=C tar --extract --file=- --preserve-permissions --no-same-owner --directory="$1"
"""


def write_placeholders(
    target: Access,
    root: str,
    entries: Sequence[Entry],
    *,
    fallback_owner: str | None = None,
    cancel: threading.Event | None = None,
) -> int:
    """Write a placeholder for each of `entries` below `root`, with the original's mode, owner,
    group and time (whole seconds); returns how many. Directories above them are made as needed.

    Call it before `transfer`, which gives directories their owners, modes and times: afterwards the
    user who unpacks could not write into all of them. An empty original stays empty. Raises
    FilesError when the stream breaks."""
    if not entries:
        return 0
    owners = owners_for(target, entries, fallback_owner)
    make_root(target, root)
    with Crew(cancel, f"writing placeholders on {target.host.name}") as crew:
        read_end, write_end = crew.pipe()
        crew.start(
            "target",
            target.host,
            target.reader(script(_UNPACK, root)),
            stdin=read_end,
            stdout=subprocess.DEVNULL,
        )
        crew.feed(write_end, _compressed(entries))
        crew.close(write_end)
        codes = crew.wait()
        lost = crew.lost(codes)
        if lost is not None:
            raise lost
        if codes["target"] != 0:
            raise FilesError(
                f"{target.host.name}: placeholders could not be written below {root}: "
                + " / ".join(crew.messages("target")[-3:])
            )
    # setuid and setgid bits are for programs; a placeholder is none
    plain = [entry._replace(mode=entry.mode & 0o1777) for entry in entries]
    give(target, root, plain, owners)
    return len(entries)


def _compressed(entries: Sequence[Entry]) -> Iterator[bytes]:
    """A gzip stream of a tar archive: the names are nearly all that it weighs."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for entry in entries:
        yield packer.compress(_member(entry))
    yield packer.compress(bytes(2 * _BLOCK)) + packer.flush()


def _member(entry: Entry) -> bytes:
    """One file. The header of the format itself has whole seconds and 100 bytes for a name; a name
    of any bytes goes into GNU's long-name entry, because pax would have it in UTF-8."""
    name = b"./" + entry.path.encode("utf-8", "surrogateescape")
    data = placeholder(entry.path) if entry.size else b""
    seconds = entry.mtime // 1_000_000_000
    record = b"mtime=%d.%09d\n" % (seconds, _MARK)
    record = b"%d %s" % (len(record) + 3, record)
    parts = [_header(b"././@PaxHeader", len(record), 0o644, 0, b"x"), _padded(record)]
    if len(name) >= 100:
        parts += [_header(b"././@LongLink", len(name) + 1, 0o644, 0, b"L"), _padded(name + b"\0")]
    mode = entry.mode & 0o1777
    parts += [_header(name[:100], len(data), mode, max(seconds, 0), b"0"), _padded(data)]
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _header(name: bytes, size: int, mode: int, mtime: int, kind: bytes) -> bytes:
    block = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0        %s" % (
        name.ljust(100, b"\0"),
        *(mode, 0, 0, size, mtime),
        kind,
    )
    block = block.ljust(257, b"\0") + b"ustar  \0"
    block = block.ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
