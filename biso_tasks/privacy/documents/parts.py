"""What readers of documents hand on, and how much they may unpack."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Final, Protocol, final

__all__ = ["BROKEN", "Inner", "Part", "Raw", "Reader", "Room", "Unreadable"]

_MEMBER: Final = 67_108_864  # bytes of one unpacked member: a bomb must not fill the memory
_TOTAL: Final = 536_870_912

# What the standard library raises for input that is not what it begins like.
BROKEN: Final = (
    *(ValueError, LookupError, EOFError, OSError, ArithmeticError, AttributeError, TypeError),
    *(NotImplementedError, RecursionError, AssertionError, zlib.error),
)


class Unreadable(Exception):
    """A file whose content cannot be searched for certain: encrypted, of a kind that is not opened,
    or unpacking beyond all bounds."""


@dataclass(frozen=True, slots=True)
class Inner:
    """A file within a file. Without a name it is the file itself, unpacked."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Letters that came out of something else than text: nothing is spelled in them."""

    text: str


Part = str | Raw | Inner


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


@final
class Room:
    """How many bytes may still be unpacked, of one file with all that is in it."""

    def __init__(self) -> None:
        self.left = _TOTAL

    def take(self, data: bytes) -> bytes:
        """`data`, which was unpacked. Raises Unreadable where that is more than fits."""
        self.left -= len(data)
        if len(data) > _MEMBER or self.left <= 0:
            raise Unreadable("too large")
        return data

    @property
    def most(self) -> int:
        """One byte more than may be unpacked at once: whoever gets as many has met a bomb."""
        return min(_MEMBER, max(self.left, 0)) + 1

    def read(self, handle: IO[bytes]) -> bytes:
        """All of an unpacking stream. Raises Unreadable beyond the bounds."""
        return self.take(handle.read(self.most))

    def unpack(self, data: bytes, new: Callable[[], _Decompressor]) -> bytes:
        """A stream of one or more compressed parts, as far as it can be read. Raises Unreadable
        beyond the bounds, and what the decompressor raises where there is nothing to read."""
        made: list[bytes] = []
        while data:
            one = new()
            try:
                made.append(self.take(one.decompress(data, self.most)))
            except (OSError, EOFError, ValueError, zlib.error):
                if not made:
                    raise
                break  # what follows the last part is none
            if sum(map(len, made)) > _MEMBER:
                raise Unreadable("too large")
            data = one.unused_data if one.eof else b""
        return b"".join(made)

    def inflate(self, data: bytes) -> bytes:
        """A zlib stream, or a raw one, as far as it can be read; b"" where it is none. Raises
        Unreadable beyond the bounds."""
        for window in (15, -15):
            inflater = zlib.decompressobj(window)
            made: list[bytes] = []
            try:
                # In pieces: what comes before a damage is kept.
                for at in range(0, len(data), 65_536):
                    made.append(inflater.decompress(data[at : at + 65_536], self.most))
                    if inflater.unconsumed_tail or sum(map(len, made)) > _MEMBER:
                        raise Unreadable("too large")
                    if inflater.eof:
                        break
            except zlib.error:
                pass
            if any(made):
                return self.take(b"".join(made))
        return b""


# A reader gets a file's name and content, and gives its texts and the files within it.
Reader = Callable[[str, bytes, Room], Iterator[Part]]
