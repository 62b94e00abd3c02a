"""What pictures and recordings say of themselves: EXIF, XMP, IPTC, comments. What they show or let
hear is not read."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from biso_tasks.privacy.documents.letters import decoded, strings
from biso_tasks.privacy.documents.parts import Inner, Part, Room

__all__ = ["read_binary", "read_gif", "read_png"]

_XMP: Final = re.compile(
    rb"<x:xmpmeta.*?</x:xmpmeta>|<\?xpacket begin.*?<\?xpacket end|<rdf:RDF.*?</rdf:RDF>", re.DOTALL
)
_TEXTS: Final = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"))


def read_binary(name: str, data: bytes, room: Room) -> Iterator[Part]:
    """The letters in a file of any kind."""
    yield from strings(data)
    for match in _XMP.finditer(data):
        yield Inner("", match[0])


def read_png(name: str, data: bytes, room: Room) -> Iterator[Part]:
    yield from read_binary(name, data, room)
    at = 8
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        at += 12 + size
        if kind not in _TEXTS:
            continue
        # A key, then what may be compressed: a flag and a method, a language, a translated key.
        key, _, rest = body.partition(b"\0")
        packed = kind in (b"zTXt", b"iCCP")
        if kind == b"iTXt" and len(rest) >= 2:
            packed, rest = rest[0] == 1, rest[2:]
            _, _, rest = rest.partition(b"\0")
            translated, _, rest = rest.partition(b"\0")
            yield from decoded(translated)
        elif kind in (b"zTXt", b"iCCP"):
            rest = rest[1:]
        yield from decoded(key)
        yield Inner("", room.inflate(rest) if packed else rest)


def read_gif(name: str, data: bytes, room: Room) -> Iterator[Part]:
    """A comment comes in blocks of 255 bytes: a word may be cut in two."""
    yield from read_binary(name, data, room)
    start = 0
    while (start := data.find(b"\x21\xfe", start)) >= 0:
        start += 2
        at, parts = start, []
        while at < len(data) and data[at]:
            parts.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        yield Inner("", b"".join(parts))
