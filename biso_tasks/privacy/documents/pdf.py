"""PDF. Every stream and every string that stands in the file is read, whatever revision it belongs
to; then the pages as a reader shows them, with their fonts, by pypdf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from biso_tasks.privacy.documents import pdf_pages
from biso_tasks.privacy.documents.glyphs import glyphs, shown
from biso_tasks.privacy.documents.letters import strings
from biso_tasks.privacy.documents.parts import Inner, Part, Room, Unreadable

__all__ = ["read_pdf"]

_ENCRYPTED: Final = re.compile(rb"/Encrypt\s*(?:\d+\s+\d+\s+R|<<)")
_STREAM: Final = re.compile(rb">>\s*stream(?:\r\n|\n|\r)?")
_FILTER: Final = re.compile(rb"/Filter\s*(\[[^\]]*\]|/\w+)")
_LENGTH: Final = re.compile(rb"/Length\s+(\d{1,12})(?!\d|\s+\d+\s+R)")
_NUMBERS: Final = re.compile(rb"/(Predictor|Columns|Colors|EarlyChange)\s+(\d{1,9})")
_PAGE: Final = re.compile(rb"\b(?:T[jJ]|BT)\b|\)\s*['\"]|/Type\b")
_HEAD: Final = 65_536  # bytes of a stream's dictionary
_MAPS: Final = 256  # fonts whose letters are tried
_SHOWN: Final = 268_435_456  # bytes that are read anew with another font, at most

_PICTURES: Final = frozenset((b"DCTDecode", b"DCT", b"JPXDecode", b"CCITTFaxDecode", b"CCF",
                              b"JBIG2Decode"))  # fmt: skip


def read_pdf(name: str, data: bytes, room: Room) -> Iterator[Part]:
    if _ENCRYPTED.search(data):
        plain = pdf_pages.decrypted(data)
        if plain is None:
            yield from strings(data)
            raise Unreadable("encrypted")
        data = room.take(plain)
    unread = ""
    drawn: list[bytes] = []
    maps: list[dict[str, str]] = []
    outside: list[bytes] = []
    for before, head, raw in _streams(data):
        outside.append(before)
        filters = [one.strip(b"/") for one in re.findall(rb"/\w+", _last(_FILTER, head))]
        made, left = _unpacked(raw, filters, head, room)
        if made is None:
            unread = unread or "a stream is damaged, or packed in a way that is not known here"
        elif left:  # a picture: what it says of itself is read
            yield Inner("", made)
        elif b"beginbf" in made:
            maps.append(glyphs(made))
        elif _PAGE.search(made):
            drawn.append(made)
        else:
            yield Inner("", made)
    yield from _all_shown(drawn, maps)
    rest = b" ".join(outside)
    yield shown(rest, {}, " ")
    yield from strings(rest)
    for page in pdf_pages.pages(data):
        if isinstance(page, Unreadable):
            unread = unread or str(page)
        else:
            yield page
    if unread:
        raise Unreadable(unread)


def _last(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    found = pattern.findall(text)
    return found[-1] if found else b""


def _streams(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What stands before each stream, its dictionary, its bytes; at last what stands behind."""
    past = 0
    while (match := _STREAM.search(data, past)) is not None:
        head = data[max(past, match.start() - _HEAD) : match.start() + 2]
        head = head[max(head.rfind(b" obj"), 0) :]
        before, start = data[past : match.start() + 2], match.end()
        length = _last(_LENGTH, head)
        end = start + int(length) if length else -1
        if length and data[end : end + 12].lstrip().startswith(b"endstream"):
            past = end
        else:
            found = data.find(b"endstream", start)
            past = end = found if found >= 0 else len(data)
        yield before, head, data[start:end]
    yield data[past:], b"", b""


def _unpacked(
    raw: bytes, filters: list[bytes], head: bytes, room: Room
) -> tuple[bytes | None, bool]:
    """The content of a stream (None: it cannot be read), and whether it is a picture."""
    told = {key.decode(): int(value) for key, value in _NUMBERS.findall(head)}
    for one in filters:
        if one in _PICTURES:
            return raw, True
        if one == b"Crypt":
            continue
        made = pdf_pages.unfiltered(one.decode(), raw, told, room)
        if made is None:
            return None, False
        raw = made
    if not filters and b"/Filter" in head:  # named in another object: most are this
        raw = room.inflate(raw) or raw
    return raw, b"/Subtype /Image" in head or b"/Subtype/Image" in head


def _all_shown(streams: list[bytes], maps: list[dict[str, str]]) -> Iterator[Part]:
    """Which font a string is set in is not followed here: each map is tried on each stream."""
    left = _SHOWN
    kept = [one for at, one in enumerate(maps) if one and one not in maps[:at]][:_MAPS]
    for stream in streams:
        yield shown(stream, {})
        yield from strings(stream)
        for one in kept:
            left -= len(stream)
            if left > 0:
                yield shown(stream, one)
