"""What strings of a PDF show: literals, hexadecimal digits, codes of a font's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["glyphs", "shown"]

_SIMPLE: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"", b"f": b""}
_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|\r?\n|.)", re.DOTALL)
_SHOWN: Final = re.compile(
    rb"\((?P<literal>(?:[^()\\]|\\.|\((?:[^()\\]|\\.)*+\)){0,65536}+)\)"
    rb"|<(?P<hex>[0-9A-Fa-f\s]+)>"
    rb"|(?P<gap>-\d+)|(?P<end>\]|T[jJ*dDm]|ET|'|\")",
    re.DOTALL,
)
_GAP: Final = -180  # thousandths of a letter's height: more is a blank
_CHAR: Final = re.compile(rb"<([0-9A-Fa-f\s]+)>\s*<([0-9A-Fa-f\s]+)>")
_RANGE: Final = re.compile(
    rb"<([0-9A-Fa-f\s]+)>\s*<([0-9A-Fa-f\s]+)>\s*(?:<([0-9A-Fa-f\s]+)>|\[([^\]]*)\])"
)
_BLOCK: Final = re.compile(rb"beginbf(char|range)(.*?)endbf", re.DOTALL)
_MOST: Final = 65_536


def _digits(code: bytes) -> str:
    return re.sub(rb"\s", b"", code).decode().upper()


def _letters(code: bytes, plus: int = 0) -> str:
    digits = _digits(code)
    value = bytes.fromhex(digits.rjust(max(4, len(digits) + len(digits) % 2), "0"))
    made = value.decode("utf-16-be", "replace")
    return made[:-1] + chr(min(ord(made[-1]) + plus, 0x10FFFF)) if plus and made else made


def glyphs(cmap: bytes) -> dict[str, str]:
    """A ToUnicode map: code in hexadecimal digits → text."""
    found: dict[str, str] = {}
    for kind, body in _BLOCK.findall(cmap):
        if kind == b"char":
            for code, target in _CHAR.findall(body):
                found[_digits(code)] = _letters(target)
            continue
        for first, last, target, listed in _RANGE.findall(body):
            start, width = int(_digits(first), 16), len(_digits(first))
            end = min(int(_digits(last), 16), start + _MOST)
            each = re.findall(rb"<([0-9A-Fa-f\s]+)>", listed)
            for plus in range(end - start + 1):
                if target:
                    found[f"{start + plus:0{width}X}"] = _letters(target, plus)
                elif plus < len(each):
                    found[f"{start + plus:0{width}X}"] = _letters(each[plus])
            if len(found) > _MOST:
                return found
    return found


def _bare(raw: bytes) -> bytes:
    """A string without its escapes."""

    def one(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code.isdigit() and code[:1] < b"8":
            return bytes([int(code, 8) & 255])
        return _SIMPLE.get(code, b"" if code in b"\r\n" else code)

    return _ESCAPE.sub(one, raw)


def _text(raw: bytes, known: dict[str, str], width: int) -> str:
    if raw[:2] == b"\xfe\xff":
        return raw[2:].decode("utf-16-be", "replace")
    if raw[:3] == b"\xef\xbb\xbf":
        return raw[3:].decode("utf-8", "replace")
    if known:
        code = raw.hex().upper()
        return "".join([known.get(code[at : at + width], "") for at in range(0, len(code), width)])
    return raw.decode("cp1252", "replace")


def _parts(stream: bytes, known: dict[str, str]) -> Iterator[str]:
    width = len(next(iter(known))) if known else 2
    for match in _SHOWN.finditer(stream):
        kind = match.lastgroup
        if kind == "gap":
            if int(match["gap"]) < _GAP:
                yield " "
        elif kind == "literal":
            yield _text(_bare(match["literal"]), known, width)
        elif kind == "hex":
            digits = _digits(match["hex"])
            yield _text(bytes.fromhex(digits + "0" * (len(digits) % 2)), known, width)
        else:
            yield " "


def shown(stream: bytes, known: dict[str, str], between: str = "") -> str:
    """The strings of a stream, parted where it moves on; kerning within one parts no word. `known`
    are a font's letters, see `glyphs`; without it Windows' own are taken. What is no page has
    strings that belong to different things: `between` parts them."""
    return between.join(_parts(stream, known))
