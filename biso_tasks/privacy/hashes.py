"""Sets of keyed hashes: what remains of the originals in memory. The key is drawn here, held by
one object and never shown; eight bytes an entry."""

from __future__ import annotations

import secrets
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Final, NoReturn, final

__all__ = ["HashSet", "Hasher"]

_WORDS: Final = 200_000  # remembered words; more are hashed again
_MASK: Final = (1 << 64) - 1


@final
class HashSet:
    """A set of 64-bit hashes: filled first, frozen, then asked. A bitmap answers nearly every
    "no" at once; a sorted array answers the rest."""

    __slots__ = ("_bits", "_hashes", "_mask")

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._bits = bytearray()
        self._mask = 0

    def add(self, value: int) -> None:
        self._hashes.append(value)

    def freeze(self, *, at_most: int = 0, without: HashSet | None = None) -> None:
        """Sorts and takes out doubles. With `at_most`, what was added more often is dropped;
        `without` names hashes that are dropped in any case."""
        kept = array("Q")
        last, count = -1, 0
        ordered = sorted(self._hashes)
        ordered.append(-1)
        for value in ordered:
            if value == last:
                count += 1
                continue
            if last >= 0 and (not at_most or count <= at_most) and (
                without is None or last not in without
            ):  # fmt: skip
                kept.append(last)
            last, count = value, 1
        self._hashes = kept
        size = 1 << max(13, (len(kept) * 16).bit_length())
        self._mask = size - 1
        bits = bytearray(size >> 3)
        for value in kept:
            place = value & self._mask
            bits[place >> 3] |= 1 << (place & 7)
        self._bits = bits

    def counted(self, at_least: int) -> HashSet:
        """Of what was added so far and not yet frozen: the hashes added that often, frozen."""
        found = HashSet()
        for value, same in groupby(sorted(self._hashes)):
            if sum(1 for _ in same) >= at_least:
                found.add(value)
        found.freeze()
        return found

    def __contains__(self, value: int) -> bool:
        place = value & self._mask
        if not self._bits[place >> 3] & (1 << (place & 7)):
            return False
        at = bisect_left(self._hashes, value)
        return at < len(self._hashes) and self._hashes[at] == value

    def maybe(self, values: Iterable[int]) -> list[int]:
        """The places in `values` of those that may be in the set; for scanning many at once."""
        bits, mask = self._bits, self._mask
        return [at for at, v in enumerate(values) if bits[(v & mask) >> 3] >> (v & 7) & 1]

    def __len__(self) -> int:
        return len(self._hashes)


@final
class Hasher:
    """BLAKE2b under a random key that nobody can ask for."""

    __slots__ = ("_base", "_functions", "_word", "_words")

    def __init__(self) -> None:
        self._base = blake2b(key=secrets.token_bytes(32), digest_size=8)
        self._functions: dict[str, Callable[[str], int]] = {}
        self._words: dict[str, int] = {}
        self._word = self.of("word")

    def of(self, domain: str) -> Callable[[str], int]:
        """The hash function of `domain`; equal texts of two domains have nothing in common."""
        base = self._base.copy()
        base.update(domain.encode("utf-8", "surrogatepass") + b"\0\0")
        fresh = base.copy

        def value(text: str) -> int:
            state = fresh()
            state.update(text.encode("utf-8", "surrogatepass"))
            return int.from_bytes(state.digest(), "little")

        return value

    def value(self, domain: str, text: str) -> int:
        """The hash of `text` in `domain`."""
        function = self._functions.get(domain)
        if function is None:
            function = self._functions[domain] = self.of(domain)
        return function(text)

    def words(self, words: Sequence[str]) -> list[int]:
        """The hash of each word; frequent ones are looked up."""
        known = self._words
        if len(known) >= _WORDS:
            known.clear()
        get, value = known.get, self._word
        found = [get(word) for word in words]
        if None in found:
            for word in words:
                if word not in known:
                    known[word] = value(word)
        return [known[word] for word in words]

    def __repr__(self) -> str:
        return "Hasher(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Hasher cannot be pickled: its key stays in this process")
