"""Small valid files that stand for real ones: same kind, no content of anybody's.

Built in code, the same bytes every time. Of some kinds none can be made that is small and free of
programs of others' (.msg, .ppt, .heic, .avi): there a line of text stands under the name.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable
from functools import partial
from typing import Final

from biso_tasks.files.placeholders import archives, office, pictures, recordings, words
from biso_tasks.files.placeholders.words import TEXT

__all__ = ["TEXT", "placeholder"]

_WORD: Final = "vnd.openxmlformats-officedocument.wordprocessingml"
_SHEET: Final = "vnd.openxmlformats-officedocument.spreadsheetml"
_SLIDES: Final = "vnd.openxmlformats-officedocument.presentationml"


@functools.lru_cache(maxsize=128)
def _of(extension: str) -> bytes:
    return _KINDS.get(extension, words.text)()


def placeholder(path: str) -> bytes:
    """The content for a file of this name: what its extension promises, else a line of text."""
    stem, extension = posixpath.splitext(path.lower())
    inner = ".tar" if stem.endswith(".tar") and extension in (".gz", ".bz2", ".xz") else ""
    return _of((inner + extension).removeprefix("."))


def _tar_gz() -> bytes:
    return archives.gz(archives.tar())


def _tar_bz2() -> bytes:
    return archives.bzip2(archives.tar())


def _tar_xz() -> bytes:
    return archives.xz(archives.tar())


_KINDS: Final[dict[str, Callable[[], bytes]]] = {
    "bmp": pictures.bmp,
    "gif": pictures.gif,
    "ico": pictures.ico,
    "jpe": pictures.jpeg,
    "jpeg": pictures.jpeg,
    "jpg": pictures.jpeg,
    "png": pictures.png,
    "svg": words.svg,
    "tif": pictures.tiff,
    "tiff": pictures.tiff,
    "webp": pictures.webp,
    "pdf": pictures.pdf,
    "docx": partial(office.word, f"{_WORD}.document.main"),
    "docm": partial(office.word, "vnd.ms-word.document.macroEnabled.main"),
    "dotx": partial(office.word, f"{_WORD}.template.main"),
    "dotm": partial(office.word, "vnd.ms-word.template.macroEnabledTemplate.main"),
    "xlsx": partial(office.sheet, f"{_SHEET}.sheet.main"),
    "xlsm": partial(office.sheet, "vnd.ms-excel.sheet.macroEnabled.main"),
    "xltx": partial(office.sheet, f"{_SHEET}.template.main"),
    "xltm": partial(office.sheet, "vnd.ms-excel.template.macroEnabled.main"),
    "pptx": partial(office.slides, f"{_SLIDES}.presentation.main"),
    "pptm": partial(office.slides, "vnd.ms-powerpoint.presentation.macroEnabled.main"),
    "ppsx": partial(office.slides, f"{_SLIDES}.slideshow.main"),
    "potx": partial(office.slides, f"{_SLIDES}.template.main"),
    "odt": partial(office.open_text, "text"),
    "ott": partial(office.open_text, "text-template"),
    "ods": partial(office.open_sheet, "spreadsheet"),
    "ots": partial(office.open_sheet, "spreadsheet-template"),
    "odp": partial(office.open_slides, "presentation"),
    "odg": partial(office.open_drawing, "graphics"),
    # Word and LibreOffice open rich text under the old name; nothing shorter is a valid .doc
    "doc": words.rtf,
    "dot": words.rtf,
    "rtf": words.rtf,
    "xls": office.excel_4,
    "zip": archives.zip_,
    "tar": archives.tar,
    "gz": partial(archives.gz, words.text()),
    "bz2": partial(archives.bzip2, words.text()),
    "xz": partial(archives.xz, words.text()),
    "tgz": _tar_gz,
    "tar.gz": _tar_gz,
    "tar.bz2": _tar_bz2,
    "tar.xz": _tar_xz,
    "7z": archives.seven_zip,
    "rar": archives.rar,
    "mp3": recordings.mp3,
    "wav": recordings.wav,
    "m4a": partial(recordings.film, b"M4A "),
    "m4v": partial(recordings.film, b"mp42"),
    "mov": partial(recordings.film, b"qt  "),
    "mp4": partial(recordings.film, b"mp42"),
    "htm": words.html,
    "html": words.html,
    "xhtml": words.xml,
    "xml": words.xml,
    "xsd": words.xml,
    "xsl": words.xml,
    "json": words.json,
    "css": words.css,
    "js": words.css,
    "sql": words.sql,
    "eml": words.eml,
    "mbox": words.mbox,
    "ics": words.ics,
    "vcf": words.vcf,
}
