"""How texts and numbers are shown: made harmless for a terminal, measured in cells, wrapped, and
with units a person reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = [
    "amount",
    "cells",
    "clean",
    "clean_lines",
    "duration",
    "fact",
    "pad",
    "size",
    "wrap",
]

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": " "}
_BYTES: Final = frozenset({"", "B", "byte", "bytes"})


def clean(text: str) -> str:
    """The text on one line, with whatever is not printable written out (`\\x1b`, `\\u202e`).

    What a remote host says may hold sequences that set a terminal's title, clear it, or reorder
    what is read; a file's name may hold bytes that no encoding takes (surrogates).
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def clean_lines(text: str) -> list[str]:
    """The lines of a text, each as `clean` gives it; none for an empty text."""
    return [clean(line.removesuffix("\r")) for line in text.split("\n")] if text else []


def cells(text: str) -> int:
    """How many columns a cleaned text takes: "ü" one even where it is written as u and a
    combining diaeresis, "表" two."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def pad(text: str, width: int) -> str:
    """The text, followed by blanks up to `width` columns."""
    return text + " " * (width - cells(text))


def wrap(text: str, width: int) -> list[str]:
    """The lines of a cleaned text, each at most `width` columns: cut at blanks, or within a word
    that is longer than a line. At least one line."""
    width = max(width, 2)
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cells(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while cells(line) > width:
            head = _head(line, width)
            lines.append(line[:head])
            line = line[head:]
    return [*lines, line] if line or not lines else lines


def duration(seconds: float) -> str:
    """`0.04 s`, `12.3 s`, `2 min 05 s`, `1 h 04 min`, `2 d 3 h`."""
    seconds = max(0.0, seconds)
    if round(seconds, 2) < 1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def size(count: float) -> str:
    """Bytes with three digits or so, in powers of ten: `999 B`, `1.2 kB`, `85.3 MB`, `120 GB`."""
    if abs(count) < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if abs(count) < 99.95:
            return f"{count:.1f} {unit}"
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} PB"


def amount(count: float, unit: str) -> str:
    """`1.2 GB` where the unit is bytes, else `12,345 rows`."""
    return size(count) if unit in _BYTES else f"{count:,.0f} {clean(unit)}"


def fact(key: str, value: Any) -> str:
    """A journaled fact on one line. Its key tells bytes and seconds from other numbers."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float() if key == "bytes" or key.endswith("_bytes"):
            return size(value)
        case int() | float() if key == "rate":
            return f"{size(value)}/s"
        case int() | float() if key == "seconds" or key.endswith("_seconds"):
            return duration(value)
        case int():
            return f"{value:,}"
        case Mapping():
            return _join(f"{clean(str(k))}: {fact(str(k), v)}" for k, v in value.items())
        case list() | tuple() if any(isinstance(one, Mapping) for one in value):
            return "; ".join(fact("", one) for one in value)
        case list() | tuple():
            return _join(fact("", one) for one in value)
        case _:
            return clean(str(value))


def _join(parts: Iterable[str]) -> str:
    return ", ".join(parts) or "none"


def _visible(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if unicodedata.category(char) == "Zs":  # a no-break space, which is harmless
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _cell(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _head(word: str, width: int) -> int:
    """How many characters of the word fit; a combining mark stays with its letter."""
    used = 0
    for index, char in enumerate(word):
        used += _cell(char)
        if used > width:
            return max(index, 1)
    return len(word)
