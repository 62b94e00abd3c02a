"""Values that point to one person wherever they stand: mail, phone, AHV, IBAN, full name, long
text. "Peter" or "Bern" alone is none. Holds keyed hashes only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, final

from biso_tasks.privacy.detect import FILLER, fold, identifiers, nothing_personal, plain, words
from biso_tasks.privacy.hashes import Hasher, HashSet

__all__ = ["Distinctive"]

_SHINGLE: Final = 5  # words
_RUN: Final = 3  # shingles in a row: seven words that nobody else wrote
_LONG: Final = 8  # words of a long text, at least
_DENSE: Final = 28  # of a longer text a quarter is kept: two dozen words of it are still found
_COMMON: Final = 8  # cells with the same words: a phrase of the house, not of a person
_SHARED: Final = 20  # contact cells with the same number: the house's own
_NAME: Final = 5  # words of a full name, at most
_MASK: Final = (1 << 64) - 1


def _bare(text: str) -> bool:
    """One word or a short number: no such thing points to one person."""
    return text.isalpha() or (len(text) < 9 and text.isalnum())


def _shingles(hashes: Sequence[int]) -> Iterator[int]:
    for five in zip(hashes, hashes[1:], hashes[2:], hashes[3:], hashes[4:], strict=False):
        yield hash(five) & _MASK


@final
class Distinctive:
    """Learns originals, then is frozen and finds them in any text."""

    __slots__ = ("_contacts", "_hasher", "_identifiers", "_lengths", "_names", "_shingles",
                 "_starts", "_words")  # fmt: skip

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._words = hasher.words
        self._identifiers = HashSet()
        self._contacts = HashSet()
        self._names = HashSet()
        self._shingles = HashSet()
        self._starts: set[int] = set()
        self._lengths: set[int] = set()

    def learn(self, text: str) -> None:
        """Identifiers and long text of one personal value."""
        if _bare(text):
            return
        for kind, canonical in identifiers(text):
            hashed = self._hasher.value(kind, canonical)
            self._identifiers.add(hashed)
            if len(text) <= len(canonical) + 8:
                self._contacts.add(hashed)
        if len(text) < 2 * _LONG or " " not in text:
            return
        found = words(fold(plain(text)))
        if len(found) >= _LONG:
            made = list(_shingles(self._words(found)))
            if len(made) > _DENSE:
                # Blocks of four, so that what a scan needs (three in a row) is there or is not.
                made = [one for at, one in enumerate(made) if at % 16 < 4]
            for shingle in set(made):
                self._shingles.add(shingle)

    def learn_name(self, given: str, family: str) -> None:
        """The full name of one row, either way round; with several given names also the first."""
        firsts, lasts = words(fold(given)), words(fold(family))
        if not firsts or not lasts or nothing_personal("".join(firsts)) or nothing_personal(
            "".join(lasts)
        ):  # fmt: skip
            return
        if min(max(map(len, firsts)), max(map(len, lasts))) < 2:
            return
        for names in (firsts, firsts[:1]) if len(firsts) > 1 else (firsts,):
            for both in ((*names, *lasts), (*lasts, *names)):
                self._learn_words(both)

    def learn_full_name(self, name: str) -> None:
        """A full name that stands in one column."""
        found = words(fold(name))
        if len(found) == 2:
            self._learn_words(found[::-1])
        self._learn_words(found)

    def _learn_words(self, found: Sequence[str]) -> None:
        if 2 <= len(found) <= _NAME and len("".join(found)) >= 5:
            hashes = tuple(self._words(found))
            self._starts.add(hashes[0])
            self._lengths.add(len(hashes))
            self._names.add(hash(hashes) & _MASK)

    def freeze(self) -> None:
        """Ends learning. Phrases and contacts that many rows share are taken out."""
        shared = self._contacts.counted(_SHARED)
        self._contacts = HashSet()
        self._identifiers.freeze(without=shared)
        self._names.freeze()
        house = HashSet()
        filler = words(fold(FILLER * 2))
        for shingle in set(_shingles(self._words(filler))):
            house.add(shingle)
        house.freeze()
        self._shingles.freeze(at_most=_COMMON, without=house)

    def exempt(self, texts: Iterable[str]) -> None:
        """What stands in settings, look-up tables and letter templates of the source points to
        nobody. Call it after `freeze`, once."""
        found = HashSet()
        for text in texts:
            for _, hashed in self._hits(text):
                found.add(hashed)
        if not len(found):
            return
        found.freeze()
        for known in (self._identifiers, self._names, self._shingles):
            known.freeze(without=found)

    def _hits(self, text: str) -> Iterator[tuple[str, int]]:
        if len(text) < 5 or _bare(text):
            return
        for kind, canonical in identifiers(text):
            hashed = self._hasher.value(kind, canonical)
            if hashed in self._identifiers:
                yield kind, hashed
        found = words(fold(plain(text)))
        if len(found) < 2:
            return
        hashes = self._words(found)
        starts = self._starts
        if not starts.isdisjoint(hashes):
            for at, hashed in enumerate(hashes):
                if hashed not in starts:
                    continue
                for length in self._lengths:
                    both = hash(tuple(hashes[at : at + length])) & _MASK
                    if at + length <= len(hashes) and both in self._names:
                        yield "name", both
        if len(hashes) >= _SHINGLE + _RUN - 1 and len(self._shingles):
            yield from self._runs(hashes)

    def _runs(self, hashes: Sequence[int]) -> Iterator[tuple[str, int]]:
        """The known shingles of a text where at least three follow each other."""
        shingles = self._shingles
        made = list(map(hash, zip(hashes, hashes[1:], hashes[2:], hashes[3:], hashes[4:],
                                  strict=False)))  # fmt: skip
        places = shingles.maybe(made)
        if len(places) < _RUN:
            return
        run: list[int] = []
        for before, at in zip((-1, *places), places, strict=False):
            value = made[at] & _MASK
            if at != before + 1:
                run.clear()
            if value not in shingles:
                run.clear()
                continue
            run.append(value)
            if len(run) == _RUN:
                for one in run:
                    yield "text", one
            elif len(run) > _RUN:
                yield "text", value

    def find(self, text: str) -> frozenset[str]:
        """The kinds of originals within `text`: `mail`, `phone`, `ahv`, `iban`, `name`, `text`."""
        return frozenset(kind for kind, _ in self._hits(text))

    def __len__(self) -> int:
        return len(self._identifiers) + len(self._names) + len(self._shingles)

    def __repr__(self) -> str:
        return f"Distinctive({len(self)} hashes)"
