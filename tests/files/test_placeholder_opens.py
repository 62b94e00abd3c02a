"""Placeholders are opened by the libraries that programs use for files of their kinds."""

from __future__ import annotations

import io

import docx
import openpyxl
import pytest
from PIL import Image
from pypdf import PdfReader

from biso_tasks.files.placeholder import TEXT, placeholder

IMAGES = {
    "png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF", "tif": "TIFF", "tiff": "TIFF",
    "bmp": "BMP", "webp": "WEBP",
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_a_picture_displays(kind: str) -> None:
    with Image.open(io.BytesIO(placeholder(f"Foto.{kind}"))) as image:
        assert image.format == IMAGES[kind]
        image.load()
        assert min(image.size) >= 1


def test_a_letter_opens_and_says_what_it_is() -> None:
    found = docx.Document(io.BytesIO(placeholder("Brief.docx")))
    assert TEXT in [one.text for one in found.paragraphs]


def test_a_sheet_opens_and_says_what_it_is() -> None:
    book = openpyxl.load_workbook(io.BytesIO(placeholder("Liste.xlsx")))
    assert TEXT in [cell.value for row in book.worksheets[0].rows for cell in row]


def test_a_pdf_opens_and_says_what_it_is() -> None:
    reader = PdfReader(io.BytesIO(placeholder("Bericht.pdf")), strict=True)
    assert len(reader.pages) == 1
    assert TEXT.split()[0] in reader.pages[0].extract_text()
