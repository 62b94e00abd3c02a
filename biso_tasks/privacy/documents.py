"""Text out of files: plain text and HTML, DOCX, XLSX, ODT and ZIP (nested), PDF, and what can be
read in any other file. Standard library only: this looks for survivors, it does not render."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from html import unescape
from typing import Final

__all__ = ["Unreadable", "packed", "texts"]

_DEPTH: Final = 4  # archives in archives
_MEMBER: Final = 67_108_864  # bytes of one unpacked member: a bomb must not fill the memory
_TOTAL: Final = 536_870_912

_RUNS: Final = re.compile(rb"[\x20-\x7e\x80-\xff\t]{6,}")
_WIDE: Final = re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00){6,}")
_STREAM: Final = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_BREAK: Final = re.compile(r"</?(?:w:p|text:p|text:h|a:p|p|div|br|td|tr|li|row|si|c|v|t)\b[^>]*>")
_MARKUP: Final = re.compile(r"<[^>]*>")


class Unreadable(Exception):
    """A file whose content cannot be searched: encrypted, or unpacking beyond all bounds."""


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _binary(data: bytes) -> Iterator[str]:
    for match in _RUNS.finditer(data):
        yield _decoded(match.group())
    for match in _WIDE.finditer(data):
        yield match.group().decode("utf-16-le", "replace")


def _markup(text: str) -> str:
    """Without tags: paragraphs part words, runs within one word do not (`Mü<b/>ller`)."""
    return unescape(_MARKUP.sub("", _BREAK.sub(" ", text)))


def _unpack(archive: zipfile.ZipFile, depth: int, left: list[int]) -> Iterator[tuple[str, str]]:
    for info in archive.infolist():
        yield info.filename, info.filename
        if info.comment:
            yield info.filename, _decoded(info.comment)
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise Unreadable("encrypted")
        with archive.open(info) as member:
            data = member.read(min(_MEMBER, left[0]) + 1)
        left[0] -= len(data)
        if len(data) > _MEMBER or left[0] <= 0:
            raise Unreadable("too large")
        for inner, text in _texts(info.filename, data, depth + 1, left):
            yield (f"{info.filename}!{inner}" if inner else info.filename), text
    if archive.comment:
        yield "", _decoded(archive.comment)


def _escaped(raw: bytes) -> bytes:
    """A PDF string literal without its escapes."""
    simple = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"", b"f": b""}

    def one(match: re.Match[bytes]) -> bytes:
        code = match.group(1)
        if code.isdigit():
            return bytes([int(code, 8) & 255])
        return simple.get(code, b"" if code in b"\r\n" else code)

    return re.sub(rb"\\([0-7]{1,3}|\r?\n|.)", one, raw, flags=re.DOTALL)


_SHOWN: Final = re.compile(
    rb"\((?P<literal>(?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*)\)|<(?P<hex>[0-9A-Fa-f\s]+)>"
    rb"|(?P<end>\]|T[jJ*dDm]|ET|'|\")",
    re.DOTALL,
)
_CHAR: Final = re.compile(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>")
_RANGE: Final = re.compile(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>")
_BLOCK: Final = re.compile(rb"beginbf(char|range)(.*?)endbf", re.DOTALL)


def _glyphs(cmap: bytes) -> dict[str, str]:
    """A ToUnicode map: code in hex → text."""
    found: dict[str, str] = {}

    def text(code: bytes, plus: int = 0) -> str:
        value = bytes.fromhex(code.decode().rjust(4, "0"))
        made = value.decode("utf-16-be", "replace")
        return made[:-1] + chr(min(ord(made[-1]) + plus, 0x10FFFF)) if plus else made

    for kind, body in _BLOCK.findall(cmap):
        if kind == b"char":
            for code, target in _CHAR.findall(body):
                found[code.decode().upper()] = text(target)
            continue
        for first, last, target in _RANGE.findall(body):
            start, end = int(first, 16), min(int(last, 16), int(first, 16) + 65535)
            for plus in range(end - start + 1):
                found[f"{start + plus:0{len(first)}X}"] = text(target, plus)
    return found


def _shown(stream: bytes, glyphs: dict[str, str]) -> str:
    """The text that a page's content stream shows. Kerning inside one TJ parts no word."""
    out: list[str] = []
    for match in _SHOWN.finditer(stream):
        if match.lastgroup == "end":
            out.append(" ")
        elif match.lastgroup == "literal":
            raw = _escaped(match.group("literal"))
            if raw[:2] == b"\xfe\xff":
                out.append(raw[2:].decode("utf-16-be", "replace"))
            elif glyphs and len(next(iter(glyphs))) == 4 and b"\0" in raw:
                codes = [raw[at : at + 2].hex().upper() for at in range(0, len(raw), 2)]
                out.append("".join(glyphs.get(code, "") for code in codes))
            else:
                out.append(raw.decode("cp1252", "replace"))
        else:
            code = re.sub(rb"\s", b"", match.group("hex")).decode().upper()
            width = len(next(iter(glyphs))) if glyphs else 2
            parts = [code[at : at + width] for at in range(0, len(code), width)]
            if glyphs:
                out.append("".join(glyphs.get(part, "") for part in parts))
            else:
                raw = bytes.fromhex(code if len(code) % 2 == 0 else code + "0")
                wide = raw[:2] == b"\xfe\xff"
                out.append(raw.decode("utf-16-be" if wide else "cp1252", "replace"))
    return "".join(out)


def _inflate(data: bytes, left: list[int]) -> bytes:
    if left[0] <= 0:
        raise Unreadable("too large")
    inflater = zlib.decompressobj()
    try:
        made = inflater.decompress(data, min(_MEMBER, left[0]))
    except zlib.error:
        return data
    left[0] -= len(made)
    if inflater.unconsumed_tail:
        raise Unreadable("too large")
    return made


def _pdf(data: bytes, left: list[int]) -> Iterator[str]:
    if re.search(rb"/Encrypt\s+\d+\s+\d+\s+R", data):
        raise Unreadable("encrypted")
    streams = [_inflate(match.group(1), left) for match in _STREAM.finditer(data)]
    maps: list[dict[str, str]] = [{}]
    maps += [m for s in streams if b"beginbf" in s and (m := _glyphs(s))]
    # Which font a string is set in is not followed: each map is tried on each stream.
    for stream in streams:
        if b"Tj" in stream or b"TJ" in stream or b"'" in stream or b"/Type" in stream:
            for glyphs in maps:
                yield _shown(stream, glyphs)
        elif stream.lstrip()[:1] == b"<":
            yield _markup(_decoded(stream))
        else:
            yield from _binary(stream[:1_048_576])
    outside = _STREAM.sub(b" ", data)  # title, author, subject, annotations, form fields
    yield _shown(outside, {})
    yield from _binary(outside)


def _texts(name: str, data: bytes, depth: int, left: list[int]) -> Iterator[tuple[str, str]]:
    if data[:4] == b"PK\x03\x04":
        if depth >= _DEPTH:
            raise Unreadable("archives nested too deeply")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                yield from _unpack(archive, depth, left)
                return
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError):
            pass  # broken: what can be read in it is read below
    if data[:3] == b"\x1f\x8b\x08":
        inflater = zlib.decompressobj(31)
        try:
            inner = inflater.decompress(data, _MEMBER)
        except zlib.error:
            inner = b""
        left[0] -= len(inner)
        if inflater.unconsumed_tail or left[0] <= 0:
            raise Unreadable("too large")
        if depth < _DEPTH and inner:
            yield from _texts(name, inner, depth + 1, left)
        return
    if b"%PDF-" in data[:1024]:
        for text in _pdf(data, left):
            yield "", text
        return
    head = data[:4096]
    if b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        for text in _binary(data):
            yield "", text
        return
    text = _decoded(data)
    yield "", text
    if "<" in text and ">" in text:
        yield "", _markup(text)
    elif "=" in text and ("=C3=" in text or "=FC" in text or "=E4" in text or "=F6" in text):
        yield "", text.replace("=\n", "").replace("=\r\n", "")


def packed(head: bytes) -> bool:
    """Whether a file that begins so must be opened whole to be read."""
    return head[:4] == b"PK\x03\x04" or head[:3] == b"\x1f\x8b\x08" or b"%PDF-" in head[:1024]


def texts(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    """(member, text) pairs of one file; `member` is "" for the file itself, else the path within an
    archive. Raises Unreadable where the content cannot be known."""
    yield from _texts(name, data, 0, [_TOTAL])
