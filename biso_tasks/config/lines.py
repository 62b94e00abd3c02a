"""Where each key of a TOML document stands. tomllib gives values but no positions, so a second,
small scan over text that tomllib has already accepted finds the line of every key and table.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final, final

from biso_tasks.config.findings import KeyPath

__all__ = ["lines_of"]

_BLANK: Final = re.compile(r"[ \t]*")
_VOID: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
# A multi-line string may end in up to two more quotes than the three that close it.
_STRINGS: Final = (
    ('"""', re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)),
    ("'''", re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)),
    ('"', re.compile(r'"(?:[^"\\\n]|\\.)*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)


def lines_of(text: str) -> Mapping[KeyPath, int]:
    """The line (from 1) of every key, table and array item, by path: `("a", "b", 0)`.

    `text` must be valid TOML. A table that stands only in longer headers or dotted keys is where
    its first part is written. An array of tables is where its first header is.
    """
    return _Scan(text.replace("\r\n", "\n")).document()


@final
class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[KeyPath, int] = {}
        self._headers: set[KeyPath] = set()
        self._arrays: dict[KeyPath, int] = {}

    def document(self) -> Mapping[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip(_VOID)
            if self._at >= len(self._text):
                return self._lines
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._array_table(self._key())
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._table(self._key())
                self._at += 1
            else:
                self._pair(table)

    def _table(self, key: tuple[str, ...]) -> KeyPath:
        path = self._resolve(key)
        self._note(path)
        # `[a]` after `[a.b]` is legal, and the better place to point at.
        if path not in self._headers:
            self._headers.add(path)
            self._lines[path] = self._line
        return path

    def _array_table(self, key: tuple[str, ...]) -> KeyPath:
        array = (*self._resolve(key[:-1]), key[-1])
        number = self._arrays[array] = self._arrays.get(array, -1) + 1
        self._note((*array, number))
        return (*array, number)

    def _resolve(self, key: tuple[str, ...]) -> KeyPath:
        """A header's path goes through the last item of each array of tables on its way."""
        path: KeyPath = ()
        for part in key:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        path = (*table, *self._key())
        self._note(path)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        """A dotted key; leaves the cursor on what follows it. Counts the line it stands on."""
        parts = []
        while True:
            self._skip(_BLANK)
            if self._text[self._at] in "\"'":
                raw = self._string()
                parts.append(tomllib.loads(f"key = {raw}")["key"])
            else:
                parts.append(self._take(_BARE_KEY))
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                self._count()
                return tuple(parts)
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._string()
        else:
            self._take(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip(_VOID)
            if self._text[self._at] == "]":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._count()
            self._note((*path, number))
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while True:
            self._skip(_VOID)
            if self._text[self._at] == "}":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)

    def _string(self) -> str:
        for opening, pattern in _STRINGS:
            if self._text.startswith(opening, self._at):
                return self._take(pattern)
        raise AssertionError("the text is no valid TOML")

    def _note(self, path: KeyPath) -> None:
        """Remember the first line of a path and of everything above it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return
            self._lines[path[:length]] = self._line

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "the text is no valid TOML"
        self._at = match.end()
        return match[0]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _count(self) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
