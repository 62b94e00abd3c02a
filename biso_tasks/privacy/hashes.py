"""Keyed hashes: what remains of the originals in memory. The key is drawn here, held by one object
and never shown; what is made with it means nothing in any other process."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, NoReturn, final

from biso_tasks.privacy.detect import fold, words

__all__ = ["CELL", "Hasher", "Vocabulary"]

CELL: Final = "\x1e"  # parts the cells of a block of text: no name reaches across it

_WORDS: Final = 1_000_000  # remembered words; more are hashed again
# White space, dashes and quotes that are neither ASCII nor letters.
_MARKS: Final = (
    "\u00a0\u202f\u2009\u2013\u2014\u2011\u00ab\u00bb"
    "\u201e\u201c\u201d\u2018\u2019\u2026\u00b7\u2022"
)
_BLANK: Final = bytes(
    code if code >= 128 or code == ord(CELL) or chr(code).isalnum() else 32 for code in range(256)
)


@final
class Hasher:
    """SipHash under this process's own random key, and a salt that nobody can ask for: each takes
    a thousandth of what a digest would, and neither key is ever written anywhere."""

    __slots__ = ("_salt",)

    def __init__(self) -> None:
        self._salt = secrets.randbits(63)

    def of(self, domain: str) -> Callable[[str], int]:
        """The hash function of `domain`; equal texts of two domains have nothing in common."""
        salt = hash((self._salt, domain))

        def value(text: str) -> int:
            return hash((salt, text))

        return value

    def value(self, domain: str, text: str) -> int:
        """The hash of `text` in `domain`."""
        return hash((hash((self._salt, domain)), text))

    def __repr__(self) -> str:
        return "Hasher(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Hasher cannot be pickled: its key stays in this process")


@final
class Vocabulary(dict[bytes, int | None]):
    """The words of texts as hashes, each folded once whatever its number: a text has few words, and
    they repeat. None stands for what folds to no word, or to several (`odd`)."""

    def __init__(self, hasher: Hasher) -> None:
        super().__init__()
        self._value = hasher.of("word")
        self.cell = self._value(CELL)
        self[CELL.encode()] = self.cell
        self.odd: dict[bytes, tuple[int, ...]] = {}

    def __missing__(self, token: bytes) -> int | None:
        if token.isascii():  # parted by what is no letter: one word
            hashed = self[token] = self._value(token.decode("ascii").lower())
            return hashed
        found = words(fold(token.decode("utf-8", "surrogatepass")))
        if len(found) == 1:
            hashed = self[token] = self._value(found[0])
            return hashed
        self.odd[token] = tuple(map(self._value, found))
        self[token] = None
        return None

    def of(self, text: str) -> list[int]:
        """The hash of each word of `text`, in its order; `cell` where one cell ends."""
        if len(self) > _WORDS:
            self.clear()
            self.odd.clear()
            self[CELL.encode()] = self.cell
        if not text.isascii():
            for mark in _MARKS:
                text = text.replace(mark, " ")
        raw = text.encode("utf-8", "surrogatepass").translate(_BLANK)
        if CELL in text:
            raw = raw.replace(b"\x1e", b" \x1e ")
        tokens = raw.split()
        found = list(map(self.__getitem__, tokens))
        if None not in found:
            return found  # type: ignore[return-value]
        return [
            one
            for token, hashed in zip(tokens, found, strict=True)
            for one in (self.odd[token] if hashed is None else (hashed,))
        ]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Vocabulary cannot be pickled: it stays in this process")
