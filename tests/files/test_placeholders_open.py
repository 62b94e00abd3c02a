"""Placeholders are opened by the libraries that programs use for files of their kinds."""

from __future__ import annotations

import contextlib
import io
import mailbox
import re
import struct
import subprocess
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from PIL import Image
from pypdf import PdfReader

from biso_tasks.files.placeholders import _KINDS, TEXT, placeholder

IMAGES = {
    "png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF", "tif": "TIFF", "tiff": "TIFF",
    "bmp": "BMP", "webp": "WEBP", "ico": "ICO",
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_a_picture_displays(kind: str) -> None:
    with Image.open(io.BytesIO(placeholder(f"Foto.{kind}"))) as image:
        assert image.format == IMAGES[kind]
        image.load()
        assert min(image.size) >= 1


def types(data: bytes, old: str, new: str) -> io.BytesIO:
    """The package as one of another type: python-docx and python-pptx open no templates."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as have, zipfile.ZipFile(out, "w") as made:
        for name in have.namelist():
            made.writestr(name, have.read(name).replace(old.encode(), new.encode()))
    return out


LETTERS = {
    "docx": "vnd.openxmlformats-officedocument.wordprocessingml.document.main",
    "docm": "vnd.ms-word.document.macroEnabled.main",
    "dotx": "vnd.openxmlformats-officedocument.wordprocessingml.template.main",
    "dotm": "vnd.ms-word.template.macroEnabledTemplate.main",
}
SLIDES = {
    "pptx": "vnd.openxmlformats-officedocument.presentationml.presentation.main",
    "pptm": "vnd.ms-powerpoint.presentation.macroEnabled.main",
    "ppsx": "vnd.openxmlformats-officedocument.presentationml.slideshow.main",
    "potx": "vnd.openxmlformats-officedocument.presentationml.template.main",
}


@pytest.mark.parametrize("kind", LETTERS)
def test_a_letter_opens_and_says_what_it_is(kind: str) -> None:
    data = placeholder(f"Brief.{kind}")
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        assert LETTERS[kind].encode() in package.read("[Content_Types].xml")
    found = docx.Document(types(data, LETTERS[kind], LETTERS["docx"]))
    assert TEXT in [one.text for one in found.paragraphs]


@pytest.mark.parametrize("kind", SLIDES)
def test_slides_open_and_say_what_they_are(kind: str) -> None:
    data = placeholder(f"Vortrag.{kind}")
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        assert SLIDES[kind].encode() in package.read("[Content_Types].xml")
    found = pptx.Presentation(types(data, SLIDES[kind], SLIDES["pptx"]))
    assert [shape.text_frame.text for slide in found.slides for shape in slide.shapes] == [TEXT]
    assert len(found.slide_layouts) == 1


SHEETS = ("xlsx", "xlsm", "xltx", "xltm")


@pytest.mark.parametrize("kind", SHEETS)
def test_a_sheet_opens_and_says_what_it_is(kind: str) -> None:
    book = openpyxl.load_workbook(io.BytesIO(placeholder(f"Liste.{kind}")))
    assert TEXT in [cell.value for row in book.worksheets[0].rows for cell in row]


def test_a_pdf_opens_and_says_what_it_is() -> None:
    reader = PdfReader(io.BytesIO(placeholder("Bericht.pdf")), strict=True)
    assert len(reader.pages) == 1
    assert TEXT.split()[0] in reader.pages[0].extract_text()


@pytest.mark.needs("poppler")
def test_poppler_reads_the_pdf_without_a_word_of_complaint(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(placeholder(path.name))
    done = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == ([TEXT], "")


TARS = ("tar", "tgz", "tar.gz", "tar.bz2", "tar.xz")


@pytest.mark.parametrize("kind", TARS)
def test_an_archive_opens(kind: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(placeholder(f"x.{kind}"))) as archive:
        (member,) = archive.getmembers()
        handle = archive.extractfile(member)
        assert handle is not None and handle.read().decode().strip() == TEXT


def test_an_empty_7z_has_a_header_that_checks() -> None:
    data = placeholder("x.7z")
    assert struct.unpack("<I", data[8:12])[0] == zlib.crc32(data[12:])
    assert len(data) == 32


def test_a_recording_is_silent() -> None:
    with wave.open(io.BytesIO(placeholder("x.wav"))) as sound:
        assert set(sound.readframes(sound.getnframes())) == {0x80}


def test_a_mailbox_holds_one_mail(tmp_path: Path) -> None:
    path = tmp_path / "x.mbox"
    path.write_bytes(placeholder(path.name))
    with contextlib.closing(mailbox.mbox(path)) as box:
        assert [one["Subject"] for one in box] == [TEXT]


# What a browser, an editor or the standard library reads as what it is: see test_placeholders.py.
PLAIN = (
    *("svg", "htm", "html", "xhtml", "xml", "xsd", "xsl", "json", "css", "js", "sql", "eml"),
    *("ics", "vcf", "zip", "gz", "bz2", "xz"),
)


def test_what_no_library_opens_here_is_said_in_the_docs() -> None:
    """A placeholder of a new kind comes with a reader, or with a word there."""
    opened = {*IMAGES, *LETTERS, *SLIDES, *SHEETS, *TARS, *PLAIN, "jpe", "pdf", "wav", "mbox"}
    docs = (Path(__file__).parents[2] / "docs/privacy.md").read_text("utf-8")
    listed = re.search(r"uses? for it, but for (.*?):", " ".join(docs.split()))
    assert listed is not None
    assert {one[1:] for one in re.findall(r"\.\w+", listed[1])} == set(_KINDS) - opened
