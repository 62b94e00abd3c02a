"""Each placeholder is what its name promises, for a reader that knows nothing of us."""

from __future__ import annotations

import bz2
import csv
import email
import gzip
import io
import json
import lzma
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
import zipfile
import zlib
from pathlib import Path

import pytest

from biso_tasks.files.placeholders import TEXT, placeholder

TEXTS = [
    "txt",
    "html",
    "htm",
    "xml",
    "json",
    "csv",
    "eml",
    "svg",
    "rtf",
    "doc",
    "css",
    "ics",
    "vcf",
    "sql",
    "mbox",
    "dot",
    "xsd",
    "js",
]
BINARY = [
    *("pdf", "png", "jpg", "jpeg", "gif", "tiff", "bmp", "webp", "ico"),
    *("docx", "docm", "dotx", "dotm", "xlsx", "xlsm", "xltx", "xltm", "xls"),
    *("pptx", "pptm", "ppsx", "potx", "odt", "ott", "ods", "ots", "odp", "odg"),
    *("zip", "tar", "gz", "bz2", "xz", "tgz", "tar.gz", "tar.bz2", "tar.xz", "7z", "rar"),
    *("mp3", "wav", "mp4", "m4a", "m4v", "mov"),
]
# They have no place for words.
DUMB = ("bmp", "webp", "7z", "rar", "wav")


@pytest.mark.parametrize("kind", [*TEXTS, *BINARY, "unknown", ""])
def test_it_is_small_deterministic_and_says_what_it_is(kind: str) -> None:
    data = placeholder(f"a/b.{kind}")
    assert 0 < len(data) <= 10_240
    assert data == placeholder(f"other/NAME.{kind.upper()}")
    if kind in DUMB:
        return
    if kind.endswith(("gz", "bz2", "xz")):
        unpack = {"gz": gzip, "z2": bz2, "xz": lzma}[kind[-2:]]
        data = unpack.decompress(data)
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = b"".join(archive.read(name) for name in archive.namelist())
    assert TEXT.encode() in data


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("pdf", "application/pdf"),
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("gif", "image/gif"),
        ("tiff", "image/tiff"),
        ("bmp", "image/bmp"),
        ("zip", "application/zip"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("odt", "application/vnd.oasis.opendocument.text"),
        ("svg", "image/svg+xml"),
        ("html", "text/html"),
        ("rtf", "text/rtf"),
        ("webp", "image/webp"),
        ("ico", "image/vnd.microsoft.icon"),
        ("xls", "application/vnd.ms-excel"),
        ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        ("odp", "application/vnd.oasis.opendocument.presentation"),
        ("odg", "application/vnd.oasis.opendocument.graphics"),
        ("tar", "application/x-tar"),
        ("tar.gz", "application/gzip"),
        ("bz2", "application/x-bzip2"),
        ("xz", "application/x-xz"),
        ("7z", "application/x-7z-compressed"),
        ("rar", "application/x-rar"),
        ("mp3", "audio/mpeg"),
        ("wav", "audio/x-wav"),
        ("mp4", "video/mp4"),
        ("m4a", "audio/x-m4a"),
        ("mov", "video/quicktime"),
        ("eml", "message/rfc822"),
        ("vcf", "text/vcard"),
        ("ics", "text/calendar"),
    ],
)
@pytest.mark.real
def test_file_knows_it(kind: str, mime: str, tmp_path: Path) -> None:
    if shutil.which("file") is None:
        pytest.skip("file is missing: apt install file")
    path = tmp_path / "x"
    path.write_bytes(placeholder(f"x.{kind}"))
    said = subprocess.run(["file", "-b", "--mime-type", path], capture_output=True, text=True)
    assert said.stdout.strip() == mime


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "bmp", "tiff"])
@pytest.mark.real
@pytest.mark.needs("php (machine)")
def test_php_knows_the_size_of_an_image(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(placeholder(path.name))
    code = "$s = getimagesize($argv[1]); echo $s[0] . 'x' . $s[1];"
    said = subprocess.run(["php", "-n", "-r", code, path], capture_output=True, text=True)
    assert said.stdout == ("8x8" if kind == "jpg" else "1x1")


def test_the_parts_of_office_files_are_xml_and_odt_begins_with_its_type() -> None:
    office = ("docx", "dotm", "xlsx", "xlsm", "pptx", "odt", "ots", "odp", "odg")
    for kind in office:
        with zipfile.ZipFile(io.BytesIO(placeholder(f"x.{kind}"))) as archive:
            assert archive.testzip() is None
            for name in archive.namelist():
                if name.endswith((".xml", ".rels")):
                    ET.fromstring(archive.read(name))
    data = placeholder("x.odt")
    assert data[30:38] == b"mimetype"
    assert data[38:].startswith(b"application/vnd.oasis.opendocument.text")


def test_each_offset_of_the_pdf_leads_to_its_object() -> None:
    data = placeholder("x.pdf")
    start = int(data.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert data[start:].startswith(b"xref\n0 6\n")
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", data), 1):
        assert data[int(offset) :].startswith(b"%d 0 obj" % number)
    length = int(re.search(rb"/Length (\d+)", data)[1])  # type: ignore[index]
    assert len(data.split(b"stream\n")[1].removesuffix(b"\nend")) == length


def test_the_checksums_of_the_png_are_right() -> None:
    data = placeholder("x.png")[8:]
    while data:
        (length,) = struct.unpack(">I", data[:4])
        body, data = data[4 : 8 + length], data[8 + length :]
        assert struct.unpack(">I", data[:4])[0] == zlib.crc32(body)
        data = data[4:]


def test_texts_can_be_parsed() -> None:
    json.loads(placeholder("x.json"))
    ET.fromstring(placeholder("x.xml"))
    ET.fromstring(placeholder("x.svg"))
    assert list(csv.reader(placeholder("x.csv").decode().splitlines())) == [[TEXT]]
    assert email.message_from_bytes(placeholder("x.eml"))["Subject"] == TEXT
