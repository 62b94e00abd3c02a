"""Files within files: ZIP and what is made of it, gzip, bzip2, xz, tar. What is recognised and
cannot be opened here is said to be unreadable, after the letters in it were read."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from biso_tasks.privacy.documents.letters import decoded, strings
from biso_tasks.privacy.documents.parts import BROKEN, Inner, Part, Reader, Room, Unreadable
from biso_tasks.privacy.documents.sheets import open_document_rows, open_xml_rows

__all__ = ["begins_tar", "closed", "holds_zip", "read_bz2", "read_gz", "read_tar", "read_xz",
           "read_zip"]  # fmt: skip

_MEMBERS: Final = 65_536
_LZMA: Final = 134_217_728  # bytes of a dictionary
_END: Final = 65_557  # bytes at the end of a ZIP, where its directory is found
_LOCAL: Final = re.compile(rb"PK\x03\x04")


def holds_zip(data: bytes) -> bool:
    """Whether it is a ZIP, or ends in one, as programs that unpack themselves do."""
    return data[:4] == b"PK\x03\x04" or b"PK\x05\x06" in data[-_END:]


def read_zip(name: str, data: bytes, room: Room) -> Iterator[Part]:
    """Every member, those that the directory does not name included."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, *BROKEN):
        yield from strings(data)
        yield from _unnamed(data, set(), room)
        return
    shut = ""
    if data[:4] != b"PK\x03\x04":
        first = min((one.header_offset for one in archive.infolist()), default=0)
        yield from strings(data[:first])
    with archive:
        for info in archive.infolist():
            if info.comment:
                yield from decoded(info.comment)
            try:
                if info.flag_bits & 1:
                    shut = shut or "encrypted"
                    yield Inner(info.filename, b"")
                    continue
                with archive.open(info) as member:
                    yield Inner(info.filename, b"" if info.is_dir() else room.read(member))
            except (zipfile.BadZipFile, lzma.LZMAError, *BROKEN):
                shut = shut or "damaged, or packed in a way that is not known here"
                yield Inner(info.filename, b"")
        yield from decoded(archive.comment)
        yield from _rows(archive, room)
        yield from _unnamed(data, {one.header_offset for one in archive.infolist()}, room)
    if shut:
        yield from strings(data)
        raise Unreadable(shut)


def _rows(archive: zipfile.ZipFile, room: Room) -> Iterator[str]:
    """Sheets row by row, where it holds some: their cells are not side by side in the file."""
    names = archive.namelist()

    def part(name: str) -> str:
        with archive.open(name) as member:
            return room.read(member).decode("utf-8", "replace")

    try:
        if "xl/workbook.xml" in names:
            shared = part("xl/sharedStrings.xml") if "xl/sharedStrings.xml" in names else ""
            for sheet in names:
                if sheet.startswith("xl/worksheets/") and sheet.endswith(".xml"):
                    yield from open_xml_rows(part(sheet), shared)
        elif "content.xml" in names:
            yield from open_document_rows(part("content.xml"))
    except (zipfile.BadZipFile, lzma.LZMAError, *BROKEN):
        return  # whoever read the member has said so


def _unnamed(data: bytes, known: set[int], room: Room) -> Iterator[Inner]:
    """Members that were deleted from the directory, or whose directory is lost."""
    for match in islice(_LOCAL.finditer(data), _MEMBERS):
        at = match.start()
        head = data[at : at + 30]
        if at in known or len(head) < 30:
            continue
        start = at + 30
        start += int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        method = int.from_bytes(head[8:10], "little")
        size = int.from_bytes(head[18:22], "little")
        if method == 8:
            yield Inner("", room.inflate(data[start : start + (size or len(data))]))
        elif method == 0 and size:
            yield Inner("", room.take(data[start : start + size]))


def _unpacker(unpack: Callable[[bytes, Room], bytes]) -> Reader:
    def read(name: str, data: bytes, room: Room) -> Iterator[Part]:
        try:
            made = unpack(data, room)
        except (lzma.LZMAError, *BROKEN):
            yield from strings(data)
            raise Unreadable("damaged") from None
        # gzip keeps the name of what was packed.
        yield from strings(data[:512])
        yield Inner("", made)

    return read


read_gz: Final = _unpacker(lambda data, room: room.unpack(data, lambda: zlib.decompressobj(31)))
read_bz2: Final = _unpacker(lambda data, room: room.unpack(data, bz2.BZ2Decompressor))
read_xz: Final = _unpacker(
    lambda data, room: room.unpack(data, lambda: lzma.LZMADecompressor(memlimit=_LZMA))
)


def begins_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def read_tar(name: str, data: bytes, room: Room) -> Iterator[Part]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), errors="replace") as archive:
            for member in archive:
                said = (member.linkname, member.uname, member.gname, *member.pax_headers.values())
                yield " ".join(filter(None, said))
                handle = archive.extractfile(member) if member.isreg() else None
                yield Inner(member.name, room.read(handle) if handle is not None else b"")
    except (tarfile.TarError, *BROKEN):
        pass  # its members are not compressed: what can be read is read below
    yield from strings(data)


def closed(what: str) -> Reader:
    """A reader of what cannot be opened here: the letters in it, then Unreadable."""

    def read(name: str, data: bytes, room: Room) -> Iterator[Part]:
        yield from strings(data)
        raise Unreadable(what)

    return read
