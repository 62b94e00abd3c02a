"""Office files, PDF and pictures, written by the libraries that people's programs use: a person is
found in every place of them, and nobody where nobody is."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable

import docx
import openpyxl
import pptx
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.comments import Comment
from PIL import Image, PngImagePlugin
from pypdf import PdfWriter
from pypdf.annotations import FreeText

from tests.privacy.test_documents import (
    FAMILY,
    FULL,
    GIVEN,
    MAIL,
    OTHER,
    Make,
    look,
    said,
    zipped,
)


def word(fill: Callable[[docx.document.Document, str], None]) -> Make:
    def make(*who: str) -> bytes:
        out, document = io.BytesIO(), docx.Document()
        fill(document, said(*who))
        document.save(out)
        return out.getvalue()

    return make


def cut_in_runs(document: docx.document.Document, text: str) -> None:
    paragraph = document.add_paragraph()
    for at in range(0, len(text), 3):
        paragraph.add_run(text[at : at + 3]).bold = at % 2 == 0


def in_the_header(document: docx.document.Document, text: str) -> None:
    document.sections[0].header.paragraphs[0].text = text


def in_a_table(document: docx.document.Document, text: str) -> None:
    document.add_table(1, 1).cell(0, 0).text = text


def as_the_author(document: docx.document.Document, text: str) -> None:
    document.core_properties.author = text


def in_a_comment(document: docx.document.Document, text: str) -> None:
    run = document.add_paragraph("x").runs[0]
    document.add_comment([run], text="siehe dort", author=text, initials="x")


def sheet(fill: Callable[[openpyxl.Workbook, str, str, str], None]) -> Make:
    def make(given: str, family: str, mail: str) -> bytes:
        out, book = io.BytesIO(), openpyxl.Workbook()
        fill(book, given, family, mail)
        book.save(out)
        return out.getvalue()

    return make


def in_cells(book: openpyxl.Workbook, *who: str) -> None:
    book.active.append(list(who))  # type: ignore[union-attr]


def in_parts_of_a_cell(book: openpyxl.Workbook, *who: str) -> None:
    text = said(*who)
    parts = [TextBlock(InlineFont(b=True), text[at : at + 4]) for at in range(0, len(text), 4)]
    book.active["A1"] = CellRichText(*parts)  # type: ignore[index]


def in_a_note(book: openpyxl.Workbook, *who: str) -> None:
    book.active["A1"].comment = Comment(said(*who), "x")  # type: ignore[index]


def in_a_formula(book: openpyxl.Workbook, *who: str) -> None:
    book.active["A1"] = f'=CONCATENATE("{said(*who)}")'  # type: ignore[index]


def slides(given: str, family: str, mail: str) -> bytes:
    out, show = io.BytesIO(), pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = f"{given} {family}"
    slide.notes_slide.notes_text_frame.text = mail
    show.save(out)
    return out.getvalue()


def letter(given: str, family: str, mail: str) -> bytes:
    text = f"<text:p>Frau {given}<text:s/>{family}<text:line-break/>{mail}</text:p>"
    return zipped(mimetype="application/vnd.oasis.opendocument.text", content_xml=text)


OFFICE: dict[str, Make] = {
    "docx": word(lambda document, text: document.add_paragraph(text) and None),
    "docx runs": word(cut_in_runs),
    "docx header": word(in_the_header),
    "docx table": word(in_a_table),
    "docx author": word(as_the_author),
    "docx comment": word(in_a_comment),
    "xlsx": sheet(in_cells),
    "xlsx parts": sheet(in_parts_of_a_cell),
    "xlsx note": sheet(in_a_note),
    "xlsx formula": sheet(in_a_formula),
    "pptx": slides,
    "odt": letter,
    "doc": lambda *who: (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504 + said(*who).encode("utf-16-le")
    ),
}


def pdf(*streams: tuple[bytes, bytes]) -> bytes:
    out = b"%PDF-1.4\n"
    for number, (head, stream) in enumerate(streams, 1):
        out += b"%d 0 obj <</Length %d %b>>\nstream\n%b\nendstream\nendobj\n" % (
            number, len(stream), head, stream,
        )  # fmt: skip
    return out + b"%%EOF"


def drawn(text: str) -> bytes:
    return b"BT (" + text.encode("cp1252") + b") Tj ET"


def flate(text: bytes) -> tuple[bytes, bytes]:
    return b"/Filter/FlateDecode", zlib.compress(text)


CMAP = (
    b"1 beginbfrange <0001> <0060> <0020> endbfrange"
    b" 5 beginbfchar <0070> <00C4> <0071> <00DF> <0072> <00FC> <0073> <00DC> <0074> <00D6>"
    b" endbfchar"
)
BEYOND = {"Ä": 0x70, "ß": 0x71, "ü": 0x72, "Ü": 0x73, "Ö": 0x74}


def glyphs(text: str) -> bytes:
    return "".join(f"{BEYOND.get(c, ord(c) - 0x1F):04X}" for c in text).encode()


def in_hex(text: str) -> bytes:
    return text.encode("cp1252").hex().encode()


def kerned(text: str) -> bytes:
    parts = (f"({text[at : at + 2]}) -20" for at in range(0, len(text), 2))
    return b"BT [" + " ".join(parts).encode("cp1252") + b"] TJ ET"


def written(fill: Callable[[PdfWriter, str], None]) -> Make:
    def make(*who: str) -> bytes:
        out, writer = io.BytesIO(), PdfWriter()
        writer.add_blank_page(200, 200)
        fill(writer, said(*who))
        writer.write(out)
        return out.getvalue()

    return make


def titled(writer: PdfWriter, text: str) -> None:
    writer.add_metadata({"/Title": text})


def marked(writer: PdfWriter, text: str) -> None:
    writer.add_annotation(0, FreeText(text=text, rect=(0, 0, 99, 99)))


def with_a_file(writer: PdfWriter, text: str) -> None:
    writer.add_attachment("x.txt", text.encode())


def without_a_password(writer: PdfWriter, text: str) -> None:
    titled(writer, text)
    writer.encrypt("", "owner", algorithm="RC4-128")


PDF: dict[str, Make] = {
    "pdf": lambda *who: pdf(flate(drawn(said(*who)))),
    "pdf plain": lambda *who: pdf((b"", drawn(said(*who)))),
    "pdf kerned": lambda *who: pdf(flate(kerned(said(*who)))),
    "pdf hex": lambda *who: pdf(flate(b"BT <" + in_hex(said(*who)) + b"> Tj")),
    "pdf glyphs": lambda *who: pdf(flate(b"BT <" + glyphs(said(*who)) + b"> Tj"), flate(CMAP)),
    "pdf A85": lambda *who: pdf(
        (b"/Filter/ASCII85Decode", base64.a85encode(drawn(said(*who))) + b"~>")
    ),
    "pdf AHx and Flate": lambda *who: pdf(
        (b"/Filter[/AHx/Fl]", zlib.compress(drawn(said(*who))).hex().encode() + b">")
    ),
    "pdf in two revisions": lambda *who: pdf(flate(drawn(said(*who)))) + pdf(flate(drawn("x"))),
    "pdf title": written(titled),
    "pdf annotation": written(marked),
    "pdf attachment": written(with_a_file),
    "pdf without a password": written(without_a_password),
}  # fmt: skip


def picture(form: str, save: Callable[[Image.Image, io.BytesIO, str], None]) -> Make:
    def make(*who: str) -> bytes:
        out = io.BytesIO()
        save(Image.new("RGB", (8, 8)), out, said(*who))
        return out.getvalue()

    return make


def png(image: Image.Image, out: io.BytesIO, text: str) -> None:
    told = PngImagePlugin.PngInfo()
    told.add_itxt("Description", text, zip=True)
    image.save(out, "png", pnginfo=told)


def exif(form: str) -> Callable[[Image.Image, io.BytesIO, str], None]:
    def save(image: Image.Image, out: io.BytesIO, text: str) -> None:
        told = Image.Exif()
        told[0x010E] = text.encode()
        image.save(out, form, exif=told)

    return save


PICTURES: dict[str, Make] = {
    "png": picture("png", png),
    "jpg": picture("jpeg", exif("jpeg")),
    "webp": picture("webp", exif("webp")),
    "jpg comment": picture("jpeg", lambda i, out, text: i.save(out, "jpeg", comment=text.encode())),
    "gif comment": picture("gif", lambda i, out, text: i.save(out, "gif", comment=text.encode())),
}
ALL = {**OFFICE, **PDF, **PICTURES}


@pytest.mark.parametrize("kind", ALL)
def test_a_person_is_found_wherever_she_is_written_and_nobody_where_nobody_is(kind: str) -> None:
    name = f"x.{kind.split()[0]}"
    assert look(ALL[kind](GIVEN, FAMILY, MAIL), name) >= FULL
    assert look(ALL[kind](*OTHER), name) <= {"unreadable"}
    if kind != "doc":  # what is made up here is none that can be opened
        assert "unreadable" not in look(ALL[kind](*OTHER), name)


def test_what_takes_a_password_is_not_taken_for_clean() -> None:
    def locked(writer: PdfWriter, text: str) -> None:
        titled(writer, text)
        writer.encrypt("geheim", algorithm="RC4-128")

    assert look(written(locked)(*OTHER), "x.pdf") == {"unreadable"}
    assert look(b"%PDF-1.4\ntrailer << /Encrypt 5 0 R >>", "x.pdf") == {"unreadable"}


def test_a_font_that_does_not_tell_its_letters_is_not_taken_for_clean() -> None:
    from pypdf.generic import DictionaryObject, NameObject, StreamObject

    def mute(writer: PdfWriter, text: str) -> None:
        page = writer.pages[0]
        font = {"/Type": "/Font", "/Subtype": "/Type0", "/Encoding": "/Identity-H"}
        entry = DictionaryObject({NameObject(k): NameObject(v) for k, v in font.items()})
        fonts = DictionaryObject({NameObject("/F1"): entry})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = StreamObject()
        content.set_data(b"BT /F1 12 Tf <00410042> Tj ET")
        page[NameObject("/Contents")] = writer._add_object(content)

    assert "unreadable" in look(written(mute)(*OTHER), "x.pdf")
