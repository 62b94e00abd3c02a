"""Small valid files that stand for real ones: same kind, no content of anybody's.

Built in code, the same bytes every time.
"""

from __future__ import annotations

import functools
import io
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Final

__all__ = ["TEXT", "placeholder"]

TEXT: Final = "Placeholder"
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OPENXML: Final = "http://schemas.openxmlformats.org"
_OFFICE: Final = "urn:oasis:names:tc:opendocument:xmlns"


@functools.lru_cache(maxsize=64)
def _of(extension: str) -> bytes:
    return _KINDS.get(extension, _text)()


def placeholder(path: str) -> bytes:
    """The content for a file of this name: what its extension promises, else a line of text."""
    return _of(posixpath.splitext(path)[1].lower().removeprefix("."))


def _text() -> bytes:
    return f"{TEXT}\n".encode()


def _html() -> bytes:
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{TEXT}</title></head>'
        f"<body><p>{TEXT}</p></body></html>\n"
    ).encode()


def _xml() -> bytes:
    return f"{_XML}<placeholder>{TEXT}</placeholder>\n".encode()


def _json() -> bytes:
    return f'{{"placeholder": "{TEXT}"}}\n'.encode()


def _eml() -> bytes:
    return (
        "From: placeholder@example.invalid\r\nTo: placeholder@example.invalid\r\n"
        f"Subject: {TEXT}\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{TEXT}\r\n"
    ).encode()


def _svg() -> bytes:
    return (
        f'{_XML}<svg xmlns="http://www.w3.org/2000/svg" width="120" height="24">'
        f'<text x="4" y="16">{TEXT}</text></svg>\n'
    ).encode()


def _rtf() -> bytes:
    return rf"{{\rtf1\ansi {TEXT}\par}}".encode()


def _css() -> bytes:
    return f"/* {TEXT} */\n".encode()


def _ics() -> bytes:
    return (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//placeholder//EN\r\nBEGIN:VEVENT\r\n"
        "UID:placeholder@example.invalid\r\nDTSTAMP:19700101T000000Z\r\nDTSTART:19700101T000000Z\r\n"
        f"SUMMARY:{TEXT}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    ).encode()


def _vcf() -> bytes:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nN:{TEXT};;;;\r\nFN:{TEXT}\r\nEND:VCARD\r\n".encode()


def _pdf() -> bytes:
    drawing = f"BT /F1 18 Tf 72 760 Td ({TEXT}) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R"
        b" /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
    )
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
        + chunk(b"tEXt", b"Comment\0" + TEXT.encode())
        + chunk(b"IDAT", zlib.compress(b"\0\x80"))
        + chunk(b"IEND", b"")
    )


def _jpeg() -> bytes:
    """8×8 pixels of one grey: both Huffman tables hold a single code of one bit."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    one_code = b"\x01" + bytes(15) + b"\0"
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
        + segment(0xFE, TEXT.encode())
        + segment(0xDB, b"\0" + b"\x01" * 64)
        + segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\0")
        + segment(0xC4, b"\x00" + one_code)
        + segment(0xC4, b"\x10" + one_code)
        + segment(0xDA, b"\x01\x01\0\0\x3f\0")
        + b"\x3f\xff\xd9"
    )


def _gif() -> bytes:
    comment = b"\x21\xfe" + bytes([len(TEXT)]) + TEXT.encode() + b"\0"
    screen = struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\x80\x80\x80\xff\xff\xff"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + screen + comment + image + b"\x3b"


def _tiff() -> bytes:
    note = TEXT.encode() + b"\0"
    tags = [  # tag, type (2 text, 3 short, 4 long), count, value
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, len(note), 0),
        (273, 4, 1, 0),
        (277, 3, 1, 1),
        (278, 3, 1, 1),
        (279, 4, 1, 1),
    ]
    after = 8 + 2 + 12 * len(tags) + 4
    places = {270: after, 273: after + len(note)}
    table = b"".join(
        struct.pack("<HHII", tag, kind, count, places.get(tag, value))
        for tag, kind, count, value in tags
    )
    return (
        b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + struct.pack("<I", 0) + note + b"\x80"
    )


def _bmp() -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + info + b"\x80\x80\x80\0"


def _webp() -> bytes:
    # Eight white pixels each way, lossless, as libwebp writes them.
    pixels = bytes.fromhex("2f07c0010007d0fffef7bfff8188e87f00")
    chunk = b"VP8L" + struct.pack("<I", len(pixels)) + pixels + b"\0" * (len(pixels) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _archive(*members: tuple[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o600 << 16
            # `mimetype` must be first and stored, or readers do not know the format
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return out.getvalue()


def _zip() -> bytes:
    return _archive(("placeholder.txt", f"{TEXT}\n"))


def _types(part: str, kind: str, *more: tuple[str, str]) -> tuple[str, str]:
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="application/'
        f'vnd.openxmlformats-officedocument.{content}+xml"/>'
        for name, content in ((part, kind), *more)
    )
    return (
        "[Content_Types].xml",
        f'{_XML}<Types xmlns="{_OPENXML}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
    )


def _relation(file: str, kind: str, target: str) -> tuple[str, str]:
    return (
        file,
        f'{_XML}<Relationships xmlns="{_OPENXML}/package/2006/relationships"><Relationship '
        f'Id="rId1" Type="{_OPENXML}/officeDocument/2006/relationships/{kind}" '
        f'Target="{target}"/></Relationships>',
    )


def _docx() -> bytes:
    return _archive(
        _types("/word/document.xml", "wordprocessingml.document.main"),
        _relation("_rels/.rels", "officeDocument", "word/document.xml"),
        (
            "word/document.xml",
            f'{_XML}<w:document xmlns:w="{_OPENXML}/wordprocessingml/2006/main"><w:body><w:p>'
            f"<w:r><w:t>{TEXT}</w:t></w:r></w:p></w:body></w:document>",
        ),
    )


def _xlsx() -> bytes:
    main = f"{_OPENXML}/spreadsheetml/2006/main"
    relations = f"{_OPENXML}/officeDocument/2006/relationships"
    return _archive(
        _types(
            "/xl/workbook.xml",
            "spreadsheetml.sheet.main",
            ("/xl/worksheets/sheet1.xml", "spreadsheetml.worksheet"),
        ),
        _relation("_rels/.rels", "officeDocument", "xl/workbook.xml"),
        (
            "xl/workbook.xml",
            f'{_XML}<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="{TEXT}" '
            'sheetId="1" r:id="rId1"/></sheets></workbook>',
        ),
        _relation("xl/_rels/workbook.xml.rels", "worksheet", "worksheets/sheet1.xml"),
        (
            "xl/worksheets/sheet1.xml",
            f'{_XML}<worksheet xmlns="{main}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>'
            f"{TEXT}</t></is></c></row></sheetData></worksheet>",
        ),
    )


def _open_document(mime: str, body: str) -> bytes:
    kind = f"application/vnd.oasis.opendocument.{mime}"
    return _archive(
        ("mimetype", kind),
        (
            "META-INF/manifest.xml",
            f'{_XML}<manifest:manifest xmlns:manifest="{_OFFICE}:manifest:1.0" '
            f'manifest:version="1.2"><manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="{kind}"/><manifest:file-entry '
            'manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>',
        ),
        (
            "content.xml",
            f'{_XML}<office:document-content xmlns:office="{_OFFICE}:office:1.0" '
            f'xmlns:text="{_OFFICE}:text:1.0" xmlns:table="{_OFFICE}:table:1.0" '
            f'office:version="1.2"><office:body>{body}</office:body></office:document-content>',
        ),
    )


def _odt() -> bytes:
    return _open_document("text", f"<office:text><text:p>{TEXT}</text:p></office:text>")


def _ods() -> bytes:
    return _open_document(
        "spreadsheet",
        f'<office:spreadsheet><table:table table:name="{TEXT}"><table:table-row><table:table-cell '
        f'office:value-type="string"><text:p>{TEXT}</text:p></table:table-cell></table:table-row>'
        "</table:table></office:spreadsheet>",
    )


_KINDS: Final[dict[str, Callable[[], bytes]]] = {
    "bmp": _bmp,
    "gif": _gif,
    "jpg": _jpeg,
    "jpeg": _jpeg,
    "png": _png,
    "tif": _tiff,
    "tiff": _tiff,
    "webp": _webp,
    "svg": _svg,
    "pdf": _pdf,
    "docx": _docx,
    "xlsx": _xlsx,
    "odt": _odt,
    "ods": _ods,
    "zip": _zip,
    # Word and LibreOffice open rich text under the old name; nothing shorter is a valid .doc
    "doc": _rtf,
    "rtf": _rtf,
    "htm": _html,
    "html": _html,
    "xhtml": _xml,
    "xml": _xml,
    "xsl": _xml,
    "json": _json,
    "css": _css,
    "js": _css,
    "eml": _eml,
    "ics": _ics,
    "vcf": _vcf,
}
