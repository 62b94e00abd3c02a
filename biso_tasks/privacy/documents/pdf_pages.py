"""What pypdf reads of a PDF: filters, files that are encrypted without a password, pages."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from biso_tasks.privacy.documents.parts import BROKEN, Room, Unreadable

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["decrypted", "pages", "unfiltered"]

_LETTERS_UNTOLD = "a font does not tell which letters it shows"


def _reader(data: bytes) -> PdfReader:
    from pypdf import PdfReader

    # What it logs of a damaged file quotes from it.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    return PdfReader(io.BytesIO(data), strict=False)


def unfiltered(name: str, data: bytes, told: Mapping[str, int], room: Room) -> bytes | None:
    """`data` without one filter; `told` are numbers of its parameters. None where it cannot be
    taken off; Unreadable where more comes out than fits."""
    from pypdf import filters
    from pypdf.errors import LimitReachedError, PyPdfError
    from pypdf.generic import DictionaryObject, NameObject, NumberObject

    given = DictionaryObject(
        {NameObject(f"/{key}"): NumberObject(value) for key, value in told.items()}
    )
    try:
        if name in ("FlateDecode", "Fl"):
            if told.get("Predictor", 1) < 2:
                return room.inflate(data) or (None if data.strip() else b"")
            return room.take(filters.FlateDecode.decode(data, given))
        if name in ("LZWDecode", "LZW"):
            return room.take(filters.LZWDecode.decode(data, given))
        if name in ("ASCII85Decode", "A85"):
            return room.take(filters.ASCII85Decode.decode(data))
        if name in ("ASCIIHexDecode", "AHx"):
            return room.take(filters.ASCIIHexDecode.decode(data))
        if name in ("RunLengthDecode", "RL"):
            return room.take(filters.RunLengthDecode.decode(data))
    except LimitReachedError as error:
        raise Unreadable("too large") from error
    except (PyPdfError, struct.error, *BROKEN):
        pass
    return None


def decrypted(data: bytes) -> bytes | None:
    """The file as it is for whoever opens it without a password; None where it takes one."""
    from pypdf import PdfWriter
    from pypdf.errors import DependencyError, PyPdfError

    out = io.BytesIO()
    try:
        reader = _reader(data)
        if not reader.decrypt(""):
            return None
        PdfWriter(clone_from=reader).write(out)
    except (PyPdfError, DependencyError, struct.error, *BROKEN):
        return None
    return out.getvalue()


def pages(data: bytes) -> Iterator[str | Unreadable]:
    """The text of each page; Unreadable among them where some of it has no letters. Nothing where
    it is no PDF that can be opened: its streams were read one by one."""
    from pypdf.errors import PyPdfError

    try:
        reader = _reader(data)
        count = len(reader.pages)
    except (PyPdfError, struct.error, *BROKEN):
        return
    for number in range(count):
        try:
            page = reader.pages[number]
            text = page.extract_text()
            untold = _untold(page.get("/Resources"), 0)
        except (PyPdfError, struct.error, *BROKEN):
            continue
        yield text
        if untold:
            yield Unreadable(_LETTERS_UNTOLD)


def _untold(resources: Any, depth: int) -> bool:
    """Whether a font of glyphs has no map to letters, so that nobody could search its text."""
    from pypdf.generic import DictionaryObject

    resources = resources.get_object() if resources is not None else None
    if not isinstance(resources, DictionaryObject) or depth > 4:
        return False
    for font in _values(resources.get("/Font")):
        named = str(font.get("/Encoding", ""))
        if named.startswith("/Identity") and "/ToUnicode" not in font:
            return True
    return any(
        _untold(form.get("/Resources"), depth + 1) for form in _values(resources.get("/XObject"))
    )


def _values(entry: Any) -> Iterator[Any]:
    from pypdf.generic import DictionaryObject

    entry = entry.get_object() if entry is not None else None
    if isinstance(entry, DictionaryObject):
        for value in entry.values():
            one = value.get_object()
            if isinstance(one, DictionaryObject):
                yield one
