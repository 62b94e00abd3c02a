"""Text out of files of every kind: what they show, what they say of themselves, what is within
them, in every spelling. This looks for survivors, it does not render."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from biso_tasks.privacy.documents import archives, images, mail, ole, pdf, rtf, sheets
from biso_tasks.privacy.documents.letters import decoded, is_text
from biso_tasks.privacy.documents.markup import is_markup, markup
from biso_tasks.privacy.documents.parts import Inner, Part, Raw, Reader, Room, Unreadable
from biso_tasks.privacy.documents.spellings import runs, spelled_names, spellings

__all__ = ["Unreadable", "packed", "spelled_names", "texts"]

_DEPTH: Final = 8  # files in files
_PIECE: Final = 1_048_576  # letters that are handed on together
_OVERLAP: Final = 4_096
_TABLES: Final = (".csv", ".tsv", ".tab", ".txt", "")

# How a file begins, and who reads it. What is recognised and not opened is `closed`.
_KINDS: Final[tuple[tuple[re.Pattern[bytes], Reader], ...]] = (
    (re.compile(rb"PK(?:\x03\x04|\x05\x06)"), archives.read_zip),
    (re.compile(rb"\x1f\x8b\x08"), archives.read_gz),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), archives.read_bz2),
    (re.compile(rb"\xfd7zXZ\0|\x5d\0\0[\0-\x80]{2}\xff{8}"), archives.read_xz),
    (re.compile(rb"[\s\S]{0,1024}?%PDF-"), pdf.read_pdf),
    (re.compile(rb"\s*\{\\rtf"), rtf.read_rtf),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), ole.read_ole),
    (re.compile(rb"SQLite format 3\0"), sheets.read_sqlite),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), images.read_png),
    (re.compile(rb"GIF8[79]a"), images.read_gif),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), archives.closed("a 7z archive")),
    (re.compile(rb"Rar!\x1a\x07"), archives.closed("a RAR archive")),
    (re.compile(rb"\x28\xb5\x2f\xfd"), archives.closed("compressed by zstd")),
    (re.compile(rb"\x04\x22\x4d\x18"), archives.closed("compressed by lz4")),
    (re.compile(rb"\x1f[\x9d\xa0][\x80-\x90]"), archives.closed("compressed by compress")),
    (re.compile(rb"MSCF\0\0\0\0"), archives.closed("a cabinet")),
    (re.compile(rb"[\s\S]{2}-lh[0-7]-"), archives.closed("an LHA archive")),
    (re.compile(rb"\x78\x9f\x3e\x22"), archives.closed("a winmail.dat")),
    (re.compile(rb"-----BEGIN PGP MESSAGE|age-encryption\.org|Salted__"),
     archives.closed("encrypted")),
)  # fmt: skip


def _reader(name: str, data: bytes) -> Reader:
    for begins, reader in _KINDS:
        if begins.match(data):
            return reader
    if archives.begins_tar(data):
        return archives.read_tar
    if archives.holds_zip(data):
        return archives.read_zip
    if not is_text(data):
        return images.read_binary
    return mail.read_mail if mail.begins_mail(name, data) else _read_text


def _read_text(name: str, data: bytes, room: Room) -> Iterator[Part]:
    for text in decoded(data):
        yield text
        if name.lower().endswith(_TABLES[:-1]) or "." not in name:
            yield from sheets.csv_rows(text)


def _walk(name: str, data: bytes, depth: int, room: Room) -> Iterator[tuple[str, str]]:
    """Everything that can be read; Unreadable at the end, where that was not all."""
    if depth > _DEPTH:
        raise Unreadable("files nested too deeply")
    failed: Unreadable | None = None
    parts = _reader(name, data)(name, data, room)
    while True:
        try:
            part = next(parts, None)
        except Unreadable as error:
            failed = failed or error
            break
        if part is None:
            break
        try:
            if isinstance(part, Inner):
                yield from _within(name, part, depth, room)
            elif isinstance(part, Raw):
                yield "", part.text
            else:
                yield from _spelled(name, part, depth, room)
        except Unreadable as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _within(name: str, part: Inner, depth: int, room: Room) -> Iterator[tuple[str, str]]:
    if part.name:
        for spelled in spelled_names(part.name):
            yield part.name, spelled
    if part.data:
        for inner, text in _walk(part.name or name, part.data, depth + 1, room):
            path = f"{part.name}!{inner}" if part.name and inner else part.name or inner
            yield path, text


def _spelled(name: str, text: str, depth: int, room: Room) -> Iterator[tuple[str, str]]:
    """One text, without its tags, in each of its spellings, and what is encoded in it."""
    for bare in (text, *(markup(text) if is_markup(text) else ())):
        for one in spellings(bare):
            yield "", one
    for data in runs(text):
        yield from _walk(name, room.take(data), depth + 1, room)


def packed(head: bytes) -> bool:
    """Whether a file that begins so must be opened whole to be read."""
    return any(begins.match(head) for begins, _ in _KINDS) or archives.begins_tar(head)


def texts(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    """(member, text) pairs of one file; `member` is "" for the file itself, else the path within an
    archive. A long text comes in pieces that overlap. Raises Unreadable, after all that could be
    read, where the content cannot be known."""
    for member, text in _walk(name, data, 0, Room()):
        if len(text) <= _PIECE:
            yield member, text
            continue
        for start in range(0, len(text), _PIECE):
            yield member, text[max(0, start - _OVERLAP) : start + _PIECE]
