"""Text is found in files of every kind, in every place of them and in every spelling; the same
files with somebody else in them hold nothing."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import quopri
import sqlite3
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from email.message import EmailMessage
from urllib.parse import quote

import pytest

from biso_tasks.privacy.distinctive import Distinctive
from biso_tasks.privacy.documents import Unreadable, packed, texts
from biso_tasks.privacy.hashes import Hasher

GIVEN, FAMILY, MAIL = "Änne", "Großkopf-Zürcher", "aenne.grosskopf@posteo.ch"
OTHER = ("Ünal", "Weißhaupt-Äbersold", "uenal.weisshaupt@posteo.ch")

# A file of a person: given name, family name, mail address.
Make = Callable[[str, str, str], bytes]


def known() -> Distinctive:
    found = Distinctive(Hasher())
    found.learn_name(GIVEN, FAMILY)
    found.learn(MAIL)
    found.freeze()
    return found


KNOWN = known()


def look(data: bytes, name: str = "") -> set[str]:
    """What the proof finds in a file."""
    found: set[str] = set()
    try:
        for _, text in texts(name, data):
            found |= KNOWN.find(text)
    except Unreadable:
        found.add("unreadable")
    return found


def zipped(*, method: int = zipfile.ZIP_DEFLATED, **members: bytes | str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), data)
    return out.getvalue()


def tarred(mode: str, name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def said(given: str, family: str, mail: str) -> str:
    return f"Guten Tag Frau {given} {family}, erreichbar unter {mail}."


def text_as(encode: Callable[[str], bytes]) -> Make:
    return lambda *who: encode(said(*who))


def escaped(text: str, form: str) -> str:
    return "".join(c if c.isascii() else form.format(ord(c)) for c in text)


def database(given: str, family: str, mail: str) -> bytes:
    with sqlite3.connect(":memory:") as base:
        base.execute("CREATE TABLE p (nachname, alter_, vorname, mail, foto, lang)")
        filler = "x " * 5000  # a cell on several pages
        long = f"{filler}{mail}"
        base.execute("INSERT INTO p VALUES (?,41,?,?,?,?)", (family, given, None, b"\0", long))
        return bytes(base.serialize())


def message(given: str, family: str, mail: str) -> bytes:
    out = EmailMessage()
    out["From"] = f"{given} {family} <stelle@example.org>"
    out["Subject"] = "Termin"
    out.set_content("siehe Anhang ü", cte="base64")
    inner = zipped(word__document_xml=f"<w:p><w:r><w:t>{mail}</w:t></w:r></w:p>")
    out.add_attachment(inner, maintype="application", subtype="x", filename="Brief.docx")
    return bytes(out)


def attached(given: str, family: str, mail: str) -> bytes:
    out = EmailMessage()
    out["Subject"] = mail
    out.set_content("siehe Anhang")
    name = f"{given} {family}.pdf"
    out.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename=name)
    return bytes(out)


def unnamed(*who: str) -> bytes:
    """A ZIP whose directory has lost a member that is still in it."""
    whole = zipped(a=said(*who), b="x")
    rest = whole.index(b"PK\x01\x02")
    end = whole.rindex(b"PK\x05\x06")
    second = whole.index(b"PK\x01\x02", rest + 4)
    tail = bytearray(whole[end:])
    tail[8:12] = b"\1\0\1\0"
    tail[12:16] = (end - second).to_bytes(4, "little")
    return whole[:rest] + whole[second:end] + bytes(tail)


# ruff: noqa: E501  (one line a kind of file)
PLAIN: dict[str, Make] = {
    "utf-8": text_as(str.encode),
    "utf-8 with a mark": text_as(lambda t: t.encode("utf-8-sig")),
    "cp1252": text_as(lambda t: t.encode("cp1252")),
    "cp850": text_as(lambda t: t.encode("cp850")),
    "mac": text_as(lambda t: t.encode("mac_roman")),
    "utf-16": text_as(lambda t: t.encode("utf-16")),
    "utf-16-le": text_as(lambda t: t.encode("utf-16-le")),
    "utf-16-be": text_as(lambda t: t.encode("utf-16-be")),
    "utf-32": text_as(lambda t: t.encode("utf-32")),
    "utf-32-le": text_as(lambda t: t.encode("utf-32-le")),
    "two encodings": text_as(lambda t: "ü\n".encode() + t.encode("cp1252")),
    "decomposed": text_as(lambda t: unicodedata.normalize("NFD", t).encode()),
    "utf-8 taken for cp1252": text_as(lambda t: t.encode().decode("latin-1").encode()),
    "soft hyphens": text_as(lambda t: t.replace("köpf", "kö\u00adpf").encode()),
    "unseen letters": text_as(lambda t: t.replace("o", "o\u200b").encode()),
    "parted at the end of a line": text_as(lambda t: t.replace("oßk", "oß-\nk").encode()),
    "html": text_as(lambda t: f"<p>{escaped(t, '&#{};')}</p>".encode()),
    "html hex": text_as(lambda t: f"<p>{escaped(t, '&#x{:x};')}</p>".encode()),
    "html cut": text_as(lambda t: f"<p>{t.replace('oß', 'o<b>ß</b>').replace('@', '<i>@</i>')}".encode()),
    "html cells": lambda g, f, m: f"<td>{g}</td><td>{f}</td><td>{m}</td>".encode(),
    "html attributes": lambda g, f, m: f'<a title="{g} {f}" href="mailto:{quote(m, safe="")}">'.encode(),
    "html comment": lambda g, f, m: f"<p><!-- {g} <b>{f}</b> {m} --></p>".encode(),
    "xml CDATA": lambda g, f, m: f"<a><![CDATA[{g} {f}]]><b>{m}</b></a>".encode(),
    "svg": lambda g, f, m: f"<svg><text>{g}<tspan x='4'>{f}</tspan></text><desc>{m}</desc>".encode(),
    "json": text_as(lambda t: f'{{"a": "{escaped(t, chr(92) + "u{:04x}")}"}}'.encode()),
    "percent": text_as(lambda t: quote(t, safe="").encode()),
    "percent cp1252": text_as(lambda t: quote(t.encode("cp1252"), safe="").encode()),
    "quoted-printable": text_as(lambda t: quopri.encodestring(t.encode())),
    "base64": text_as(lambda t: b"x: " + base64.b64encode(t.encode())),
    "base64 in lines": text_as(lambda t: base64.encodebytes(t.encode() * 3)),
    "data URI": text_as(lambda t: b'<img src="data:x;base64,' + base64.b64encode(zlib.compress(b"") + t.encode()) + b'">'),
    "bytea in a dump": text_as(lambda t: b"INSERT INTO a VALUES ('\\x" + t.encode().hex().encode() + b"');"),
    "csv": lambda g, f, m: f"name;mail;vorname;jahr\n{f};{m};{g};1961\n".encode(),
    "tsv": lambda g, f, m: f"{g}\t1961\t{f}\t{m}\n".encode("cp1252"),
    "vcf folded": lambda g, f, m: f"BEGIN:VCARD\r\nFN:{g} {f[:4]}\r\n {f[4:]}\r\nEMAIL:{m[:9]}\r\n {m[9:]}\r\n".encode(),
    "vcf 2.1": lambda g, f, m: b"BEGIN:VCARD\nN;ENCODING=QUOTED-PRINTABLE:" + quopri.encodestring(f"{f};{g}".encode(), quotetabs=True) + f"\nEMAIL:{m}".encode(),
    "ics folded": lambda g, f, m: f"BEGIN:VCALENDAR\r\nATTENDEE;CN={g}\r\n  {f}:mailto:{m[:5]}\r\n {m[5:]}\r\n".encode(),
    "rtf": lambda g, f, m: rf"{{\rtf1\ansi\ansicpg1252 {escaped(f'{g} {f}', chr(92) + chr(39) + '{:02x}')}\par {m}}}".encode(),
    "rtf unicode": lambda g, f, m: rf"{{\rtf1\ansi\uc1 {escaped(f'{g} {f}', chr(92) + 'u{}?')}\par {m}}}".encode(),
    "rtf groups": lambda g, f, m: rf"{{\rtf1 {{\info{{\author {g[1:]}}}}}{{\b {escaped(g, chr(92) + chr(39) + '{:02x}')}}} {escaped(f[:4], chr(92) + chr(39) + '{:02x}')}{{\i {escaped(f[4:], chr(92) + chr(39) + '{:02x}')}}} {m[:6]}\i0 {m[6:]}}}".encode(),
    "rtf object": lambda *w: b"{\\rtf1{\\objdata " + zipped(a=said(*w)).hex().encode() + b"}}",
}  # fmt: skip

PACKED: dict[str, Make] = {
    "zip": lambda *w: zipped(a=said(*w)),
    "zip in zip": lambda *w: zipped(a=zipped(b=zipped(c=said(*w)))),
    "zip bzip2": lambda *w: zipped(a=said(*w), method=zipfile.ZIP_BZIP2),
    "zip lzma": lambda *w: zipped(a=said(*w), method=zipfile.ZIP_LZMA),
    "zip names": lambda g, f, m: zipped(**{f"{g} {f} {m}.txt": "x"}),
    "zip behind a program": lambda *w: b"MZ\0\0" * 40 + zipped(a=said(*w)),
    "zip behind a picture": lambda *w: b"\xff\xd8\xff\xe0\0\0" * 40 + zipped(a=said(*w)),
    "zip member that was deleted": unnamed,
    "zip cut off": lambda *w: zipped(a=said(*w), b="x" * 90)[:-60],
    "tar": lambda *w: tarred("w", "a", said(*w).encode("cp1252")),
    "tar names": lambda g, f, m: tarred("w", f"{g} {f}/{m}.txt", b""),
    "tar.gz": lambda *w: tarred("w:gz", "a", said(*w).encode("utf-16")),
    "tar.bz2": lambda *w: tarred("w:bz2", "a", zipped(a=said(*w))),
    "tar.xz": lambda *w: tarred("w:xz", "a", gzip.compress(said(*w).encode())),
    "gz": lambda *w: gzip.compress(said(*w).encode()),
    "gz, second part": lambda *w: gzip.compress(b"a") + gzip.compress(said(*w).encode()),
    "bz2, second part": lambda *w: bz2.compress(b"a") + bz2.compress(said(*w).encode()),
    "xz": lambda *w: lzma.compress(said(*w).encode()),
    "lzma": lambda *w: lzma.compress(said(*w).encode(), lzma.FORMAT_ALONE),
    "sqlite": database,
    "eml": message,
    "eml names": attached,
    "eml 8bit": lambda g, f, m: f"From: {g} {f} <{m}>\n\nx".encode("cp1252"),
    "eml base64": lambda *w: b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(said(*w).encode()),
    "mbox": lambda *w: b"From a@b Mon Jan  1 10:00:00 2024\nSubject: x\n\ny\n\nFrom a@b Mon Jan  1 10:00:00 2024\n" + message(*w),
    "mail in mail in zip": lambda *w: zipped(a=b"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n" + message(*w)),
}  # fmt: skip

SHUT: dict[str, Make] = {
    "7z": lambda *w: b"7z\xbc\xaf\x27\x1c\0\4" + said(*w).encode(),
    "rar": lambda *w: b"Rar!\x1a\x07\1\0" + said(*w).encode("utf-16-le"),
    "zstd": lambda *w: b"\x28\xb5\x2f\xfd\0\0" + said(*w).encode("cp1252"),
    "winmail.dat": lambda *w: b"\x78\x9f\x3e\x22\0\0" + said(*w).encode(),
    "pgp": lambda *w: b"-----BEGIN PGP MESSAGE-----\n" + said(*w).encode(),
    "gz, damaged": lambda *w: b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff" + said(*w).encode(),
}
FULL = {"name", "mail"}


@pytest.mark.parametrize("kind", [*PLAIN, *PACKED])
def test_a_person_is_found_in_every_kind_of_file_and_nobody_where_nobody_is(kind: str) -> None:
    make = {**PLAIN, **PACKED}[kind]
    name = f"x.{kind.split()[0]}"
    assert look(make(GIVEN, FAMILY, MAIL), name) == FULL
    assert look(make(*OTHER), name) == set()


@pytest.mark.parametrize("kind", SHUT)
def test_what_is_not_opened_is_searched_and_not_taken_for_clean(kind: str) -> None:
    assert look(SHUT[kind](GIVEN, FAMILY, MAIL)) == {*FULL, "unreadable"}
    assert look(SHUT[kind](*OTHER)) == {"unreadable"}
    assert look(zipped(a=SHUT[kind](*OTHER))) == {"unreadable"}
    assert packed(SHUT[kind](*OTHER)[:300])


@pytest.mark.parametrize("kind", [k for k in PACKED if not k.startswith(("eml", "mail", "mbox"))])
def test_what_must_be_opened_whole_is_known_by_its_beginning(kind: str) -> None:
    head = PACKED[kind](*OTHER)[:4096]
    assert packed(head) or "behind" in kind


def test_members_are_named_by_their_path() -> None:
    data = zipped(a=zipped(**{"Brief Meier.txt": "Guten Tag"}))
    assert ("a!Brief Meier.txt", "Brief Meier.txt") in list(texts("a.zip", data))
    assert ("a!Brief Meier.txt", "Guten Tag") in list(texts("a.zip", data))


def test_what_is_behind_an_encrypted_member_is_searched_all_the_same() -> None:
    data = bytearray(zipped(a="secret", b=MAIL))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory says: encrypted
    assert look(bytes(data)) == {"mail", "unreadable"}


@pytest.mark.parametrize(
    "bomb",
    [
        lambda zeros: zipped(a=zeros),
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda zeros: tarred("w:gz", "a", zeros),
        lambda zeros: b"%PDF-1.4\n1 0 obj <</Filter/FlateDecode>>\nstream\n" + zlib.compress(zeros),
    ],
    ids=["zip", "gz", "bz2", "xz", "tar.gz", "pdf"],
)
def test_a_bomb_is_refused_in_bounded_memory(bomb: Callable[[bytes], bytes]) -> None:
    assert look(bomb(b"\0" * 70_000_000)) == {"unreadable"}


def test_files_within_files_without_end_are_refused() -> None:
    data = b"x"
    for _ in range(40):
        data = gzip.compress(data)
    assert look(data) == {"unreadable"}


def test_entities_are_neither_expanded_nor_fetched() -> None:
    bomb = (
        '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    )
    found = [text for _, text in texts("x.xml", f"{bomb}<a>&b;&c;</a>".encode())]
    assert not any("haha" in text or "root:" in text for text in found)
    assert any("&b;" in text for text in found)


@pytest.mark.parametrize("mark", ["(", "<", "<a ", "<![CDATA[", "{\\rtf1{", "=?utf-8?B?", "a-\n"])
def test_what_is_written_to_be_slow_is_not(mark: str) -> None:
    for head in (b"", b"%PDF-1.4\n", b"{\\rtf1 ", b"From: x\n\n"):
        look(head + mark.encode() * 20_000)


def test_a_long_text_is_searched_whole_in_pieces() -> None:
    rest = "ab " * 700_000
    for at in (0, 1_048_560, len(rest)):
        assert look((rest[:at] + MAIL + " " + rest[at:]).encode()) == {"mail"}
