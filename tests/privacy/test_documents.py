"""Text out of files, as far as the standard library reads them."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib

import pytest

from biso_tasks.privacy.documents import Unreadable, texts

NAME = "Özlem Krähenbühl"


def packed(**members: bytes | str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return out.getvalue()


def pdf(content: bytes, *more: bytes) -> bytes:
    out = b"%PDF-1.4\n"
    for stream in (content, *more):
        out += b"1 0 obj <</Filter/FlateDecode>>\nstream\n" + zlib.compress(stream)
        out += b"\nendstream\nendobj\n"
    return out + b"%%EOF"


CMAP = b"1 beginbfrange <0001> <0060> <0020> endbfrange 1 beginbfchar <0070> <00FC> endbfchar"


def glyphs(text: str) -> bytes:
    return "".join(f"{ord(c) - 0x1F:04X}" for c in text).encode()


FILES: dict[str, tuple[bytes, str]] = {
    "utf8": (f"Guten Tag {NAME}".encode(), NAME),
    "latin1": (f"Guten Tag {NAME}".encode("cp1252"), NAME),
    "utf16": (NAME.encode("utf-16"), NAME),
    "html": (b"<p>Herr <b>&Ouml;zl</b>em Kr&auml;henb&uuml;hl</p>", NAME),
    "docx": (packed(word__document_xml="<w:p><w:t>Özlem Krä</w:t><w:t/></w:p>"), "Özlem Krä"),
    "zip in zip": (packed(a=packed(b=NAME)), NAME),
    "gzip": (gzip.compress(NAME.encode()), NAME),
    "pdf literal": (pdf(b"BT (\xd6zlem Kr\\344henb\\374hl) Tj ET"), NAME),
    "pdf kerned": (pdf(b"BT [(\xd6zl) -20 (em Kr\xe4hen) 5 (b\xfchl)] TJ ET"), NAME),
    "pdf hex": (pdf(b"BT <" + NAME.encode("cp1252").hex().encode() + b"> Tj ET"), NAME),
    "pdf glyphs": (pdf(b"BT <" + glyphs("Peter Meier") + b"> Tj ET", CMAP), "Peter Meier"),
    "pdf title": (b"%PDF-1.4\n<< /Title (Akte Meier) >>\n%%EOF", "Akte Meier"),
    "binary": (b"\x00\x01\x02" + b"Peter Meier\x00\x00" + b"\x05" * 9, "Peter Meier"),
    "word 97": (b"\xd0\xcf\x11\xe0\x00\x00" + "Peter Meier".encode("utf-16-le"), "Peter Meier"),
    "broken zip": (packed(a=b"x" * 50)[:-30] + b" Peter Meier", "Peter Meier"),
}


@pytest.mark.parametrize("kind", FILES)
def test_text_is_found_in_every_kind_of_file(kind: str) -> None:
    data, expected = FILES[kind]
    assert any(expected in text for _, text in texts(kind, data))


def test_names_of_members_are_read_too() -> None:
    data = packed(**{"Brief Meier.txt": "x"})
    assert ("Brief Meier.txt", "Brief Meier.txt") in list(texts("a.zip", data))


def test_what_is_encrypted_is_not_taken_for_clean() -> None:
    data = bytearray(packed(a="secret"))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag in the directory says: encrypted
    with pytest.raises(Unreadable):
        list(texts("a.zip", bytes(data)))
    with pytest.raises(Unreadable):
        list(texts("a.pdf", b"%PDF-1.4\ntrailer << /Encrypt 5 0 R >>"))


def test_a_bomb_is_refused_in_bounded_memory() -> None:
    with pytest.raises(Unreadable):
        list(texts("a.zip", packed(a=b"\0" * 70_000_000)))
