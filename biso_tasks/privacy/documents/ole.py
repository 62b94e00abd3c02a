"""Compound files: Word 97, Excel 97, PowerPoint 97, Outlook's .msg. Their streams lie in pieces of
512 bytes anywhere in the file, so they are put together first."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.privacy.documents.letters import strings
from biso_tasks.privacy.documents.parts import Inner, Part, Room, Unreadable

__all__ = ["inflate_rtf", "read_ole"]

_FREE: Final = 0xFFFF_FFFA  # and above: no sector
_SHUT: Final = frozenset(("encryptedpackage", "encryptioninfo", "\x06dataspaces"))
_RTF: Final = "__substg1.0_10090102"
# What the compressed rich text of Outlook refers back to before its own beginning.
_BEFORE: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    b"\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    b"\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


@dataclass(frozen=True, slots=True)
class _Stream:
    name: str
    kind: int
    start: int
    size: int


def read_ole(name: str, data: bytes, room: Room) -> Iterator[Part]:
    yield from strings(data)
    try:
        streams = list(_streams(data, room))
    except (struct.error, IndexError, ValueError):
        raise Unreadable("damaged") from None
    shut = ""
    for entry, content in streams:
        low = entry.name.lower()
        if low in _SHUT or _encrypted(low, content):
            shut = "encrypted"
        yield entry.name
        if low == _RTF:
            try:
                yield Inner("", room.take(inflate_rtf(content)))
            except (struct.error, IndexError):
                shut = shut or "damaged"
        yield Inner("", content)
    if shut:
        raise Unreadable(shut)


def _chain(table: Sequence[int], start: int) -> Iterator[int]:
    """The sectors of a stream. Raises ValueError where they go round in a circle."""
    left = len(table)
    while start < _FREE:
        if left == 0:
            raise ValueError("a circle of sectors")
        left -= 1
        yield start
        start = table[start]


def _streams(data: bytes, room: Room) -> Iterator[tuple[_Stream, bytes]]:
    size = 1 << struct.unpack_from("<H", data, 30)[0]
    small = 1 << struct.unpack_from("<H", data, 32)[0]
    if not 128 <= size <= 65_536 or not 8 <= small <= size:
        raise ValueError("no sectors")
    directory, _, cutoff, small_table, _, more, _ = struct.unpack_from("<7I", data, 48)

    def sector(number: int) -> bytes:
        at = (number + 1) * size
        if at >= len(data):
            raise ValueError("a sector beyond the end")
        return data[at : at + size].ljust(size, b"\0")

    def numbers(raw: bytes) -> list[int]:
        return list(struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4]))

    listed = numbers(data[76:512])
    seen: set[int] = set()
    while more < _FREE and more not in seen:
        seen.add(more)
        found = numbers(sector(more))
        listed += found[:-1]
        more = found[-1]
    table = [n for one in listed if one < _FREE for n in numbers(sector(one))]

    def whole(start: int) -> bytes:
        return b"".join(sector(one) for one in _chain(table, start))

    entries = list(_entries(whole(directory)))
    within = whole(entries[0].start) if entries and entries[0].start < _FREE else b""
    minis = numbers(whole(small_table)) if small_table < _FREE else []
    for entry in entries:
        if entry.kind != 2:
            yield entry, b""
        elif entry.size < cutoff:
            parts = (within[n * small : (n + 1) * small] for n in _chain(minis, entry.start))
            yield entry, room.take(b"".join(parts)[: entry.size])
        else:
            yield entry, room.take(whole(entry.start)[: entry.size])


def _entries(raw: bytes) -> Iterator[_Stream]:
    for at in range(0, len(raw) - 127, 128):
        letters, kind = struct.unpack_from("<HB", raw, at + 64)
        if kind:
            called = raw[at : at + max(min(letters, 64) - 2, 0)].decode("utf-16-le", "replace")
            start, size = struct.unpack_from("<IQ", raw, at + 116)
            yield _Stream(called, kind, start, size & 0xFFFF_FFFF)


def _encrypted(name: str, content: bytes) -> bool:
    """Whether Word, Excel or PowerPoint keeps it under a password."""
    if name == "worddocument" and len(content) >= 12:
        return bool(content[11] & 1)
    if name == "current user" and len(content) >= 16:
        return content[12:16] == b"\xdf\xc4\xd1\xf3"
    if name in ("workbook", "book"):
        at = 0
        for _ in range(20):
            if at + 4 > len(content):
                return False
            kind, size = struct.unpack_from("<HH", content, at)
            if kind == 0x2F:
                return True
            at += 4 + size
    return False


def inflate_rtf(packed: bytes) -> bytes:
    """Outlook's compressed rich text (LZFu). Raises struct.error or IndexError where damaged."""
    size, raw_size, kind = struct.unpack_from("<III", packed)
    if kind == 0x414C454D:  # MELA: as it is
        return packed[16 : 16 + raw_size]
    ring = bytearray(_BEFORE.ljust(4096, b"\0"))
    write = len(_BEFORE)
    out = bytearray()
    at, end = 16, min(len(packed), size + 4)
    while at < end:
        flags = packed[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if flags >> bit & 1:
                (pair,) = struct.unpack_from(">H", packed, at)
                at += 2
                start, length = pair >> 4, (pair & 15) + 2
                if start == write:
                    return bytes(out)
                for step in range(length):
                    one = ring[(start + step) % 4096]
                    out.append(one)
                    ring[write] = one
                    write = (write + 1) % 4096
            else:
                out.append(packed[at])
                ring[write] = packed[at]
                write = (write + 1) % 4096
                at += 1
    return bytes(out)
