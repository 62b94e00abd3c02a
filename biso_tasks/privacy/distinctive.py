"""Values that point to one person wherever they stand: mail, phone, AHV, IBAN, full name, long
text. "Peter" or "Bern" alone is none. Holds keyed hashes only."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, final

from biso_tasks.privacy.detect import (
    FILLER,
    fold,
    identifier_spans,
    identifiers,
    nothing_personal,
    words,
)
from biso_tasks.privacy.hashes import CELL, Hasher, Vocabulary
from biso_tasks.privacy.house import Held, Phrases, Settings

__all__ = ["Distinctive"]

_PHRASE: Final = 7  # words in a row that nobody else wrote
_LONG: Final = 8  # words of a long text, at least
_DENSE: Final = 32  # words; of a longer text every eighth phrase: fourteen words of it are found
_NAME: Final = 5  # words of a full name, at most

_OWNERS: Final = (1 << 48) - 1
_LETTERS: Final = 5  # of a full name, at least
_REMEMBERED: Final = 200_000  # names whose words are kept

# With accents that stand apart from their letters.
_TOKEN: Final = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f\u00ad])*")
_TAG: Final = re.compile(r"<[^<>\x1e]{1,400}>")
_MASKED: Final = re.compile(r"Text [0-9a-f]{8}(?: |$)")
_FILLED: Final = FILLER * 50


def _masked(text: str) -> bool:
    """Whether it is a pseudonym of ours to the last letter: nothing else stands in it."""
    return _MASKED.match(text) is not None and text[14:] == _FILLED[: len(text) - 14]


def _grams(hashes: Sequence[int]) -> Iterator[int]:
    """A hash of each seven words in a row."""
    return map(hash, zip(*(hashes[at:] for at in range(_PHRASE)), strict=False))


class _Name(NamedTuple):
    """The words of a name, hashed; none where it says nothing."""

    words: tuple[int, ...]
    length: int  # in letters


def _may_point(text: str) -> bool:
    """Whether a text is long enough to point to anybody: one word or a short number does not, nor
    does a pseudonym of ours."""
    return (
        len(text) > 4
        and not text.isalpha()
        and (len(text) > 8 or not text.isalnum())
        and not (text[:5] == "Text " and _masked(text))
    )


@final
class Distinctive:
    """Learns originals, then is frozen and finds them in any text."""

    __slots__ = (
        "_clients", "_givens", "_hasher", "_heads", "_held", "_identifiers", "_names",
        "_pairs", "_parts", "_phrases", "_row", "_staff", "_texts", "_words",
    )  # fmt: skip

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._words = Vocabulary(hasher)
        self._identifiers: set[int] = set()
        self._held = Held()
        # Names as the hashes of their words: of clients, and of those who use the software.
        self._clients: set[tuple[int, ...]] = set()
        self._staff: set[tuple[int, ...]] = set()
        self._givens: set[int] = set()
        self._parts: dict[str, _Name] = {}
        self._phrases = Phrases()
        self._row = 0
        # What is asked once learning has ended.
        self._pairs: set[tuple[int, ...]] = set()
        self._heads: set[tuple[int, ...]] = set()
        self._names: set[tuple[int, ...]] = set()
        self._texts: frozenset[int] = frozenset()

    def owner(self) -> int:
        """A number for a person or case that no other has."""
        self._row += 1
        return self._row

    def owner_of(self, text: str) -> int:
        """The number of the person or case that `text` identifies; 0 for ""."""
        return self._hasher.value("owner", text) & _OWNERS if text.strip("\x1f") else 0

    def _hash(self, kind: str, canonical: str) -> int:
        return self._hasher.value(kind, canonical)

    def learn(self, text: str) -> None:
        """Identifiers and long text of one personal value."""
        self.learn_cells((text,), (self.owner(),))

    def learn_cells(
        self, cells: Sequence[str], owners: Sequence[int],
        families: Sequence[str] | None = None, *, original: bool = True,
    ) -> None:  # fmt: skip
        """Identifiers and long text of many values: `owners` are numbers of the people or cases
        that each is about, `families` the family names in the same rows. Not `original`: copies of
        others, as a view has them, which say nothing of how often something is used."""
        # One word or a short number points to nobody.
        kept = [
            at
            for at, one in enumerate(cells)
            if len(one) > 5 and not one.isalpha() and (len(one) > 8 or not one.isalnum())
        ]
        if not kept:
            return
        block = CELL.join([cells[at] for at in kept])
        starts: list[int] = []
        for start, _, kind, canonical in identifier_spans(block):
            hashed = self._hash(kind, canonical)
            self._identifiers.add(hashed)
            if not original or kind == "ahv":
                continue
            if not starts:
                starts = list(accumulate((len(cells[at]) + 1 for at in kept), initial=0))
            at = kept[bisect_right(starts, start) - 1]
            if len(cells[at]) <= len(canonical) + 8:
                family = families[at] if families is not None else ""
                self._held.cell(hashed, self._hash("family", family.casefold()) if family else None)
            else:
                self._held.mention(hashed, owners[at])
        long = [at for at in kept if len(cells[at]) >= 2 * _LONG and " " in cells[at]]
        if long:
            self._learn_phrases([cells[at] for at in long], [owners[at] for at in long], original)

    def _learn_phrases(self, cells: Sequence[str], owners: Sequence[int], original: bool) -> None:
        block = CELL.join(cells) + CELL
        if "<" in block:
            block = _TAG.sub(" ", block)
        hashes = self._words.of(block)
        grams = list(_grams(hashes))
        phrases: list[int] = []
        whose: list[int] = []
        end, cell = -1, self._words.cell
        for owner in owners:
            start = end + 1
            end = hashes.index(cell, start)
            if end - start >= _LONG:
                step = 1 if end - start <= _DENSE else 8
                found = grams[start : end - _PHRASE + 1 : step]
                phrases += found
                whose += [owner] * len(found)
        if original:
            self._phrases.add(phrases, whose)
        else:
            self._phrases.add_copies(phrases)

    def _name_words(self, text: str) -> _Name:
        known = self._parts.get(text)
        if known is None:
            found = words(fold(text))
            joined = "".join(found)
            if not found or nothing_personal(joined) or max(map(len, found)) < 2:
                known = _Name((), 0)
            else:
                known = _Name(tuple(self._words.of(" ".join(found))), len(joined))
            if len(self._parts) < _REMEMBERED:
                self._parts[text] = known
        return known

    def learn_name(self, given: str, family: str, *, staff: bool = False) -> None:
        """The full name of one row, either way round; with several given names also the first.
        `staff`: of somebody who uses the software."""
        firsts, lasts = self._name_words(given), self._name_words(family)
        if not firsts.words or not lasts.words or firsts.length + lasts.length < _LETTERS:
            return
        into = self._staff if staff else self._clients
        self._givens.add(firsts.words[0])
        for first in {firsts.words, firsts.words[:1]}:
            if len(first) + len(lasts.words) <= _NAME:
                into.add(first + lasts.words)
                into.add(lasts.words + first)

    def learn_full_name(self, name: str, *, staff: bool = False) -> None:
        """A full name that stands in one column."""
        found = self._name_words(name)
        if 2 <= len(found.words) <= _NAME and found.length >= _LETTERS:
            into = self._staff if staff else self._clients
            into.add(found.words)
            if len(found.words) == 2:
                into.add(found.words[::-1])

    def knows_given(self, name: str) -> bool:
        """Whether a word of `name` is a given name of somebody learnt so far."""
        return not self._givens.isdisjoint(self._name_words(name).words)

    def freeze(self, settings: Iterable[str] = (), own: Iterable[str] = ()) -> None:
        """Ends learning, once. What is the house's and not a client's is taken out; `settings`:
        the texts of settings, look-up tables and templates of the source; `own`: addresses and
        numbers that the site calls the house's, whoever else holds them; an AHV number is not."""
        seen = Settings()
        for text in settings:
            self._see(text, seen)
        self._identifiers -= self._held.house(seen)
        self._identifiers -= {
            self._hash(kind, canonical)
            for text in own
            for kind, canonical in identifiers(text)
            if kind != "ahv"
        }
        self._held = Held()
        staff = self._staff - self._clients
        names = self._clients | {name for name in staff if hash(name) not in seen.names}
        self._pairs = {name for name in names if len(name) == 2}
        self._names = {name for name in names if len(name) > 2}
        self._heads = {name[:2] for name in self._names}
        self._clients, self._staff = set(), set()
        filler = set(_grams(self._words.of(FILLER * 2)))
        self._texts = frozenset(self._phrases.of_few(seen.phrases) - filler)
        self._phrases = Phrases()

    def _see(self, text: str, seen: Settings) -> None:
        for kind, canonical in identifiers(text):
            hashed = self._hash(kind, canonical)
            if hashed in self._identifiers:
                seen.contacts.add(hashed)
            if kind == "mail":
                seen.see_mail(hashed, canonical)
        hashes = self._words.of(_TAG.sub(" ", text) if "<" in text else text)
        for size in range(2, _NAME + 1):
            seen.names |= {
                hash(name)
                for name in zip(*(hashes[at:] for at in range(size)), strict=False)
                if name in self._staff
            }
        seen.phrases |= self._phrases.within(_grams(hashes))

    def find(self, text: str) -> frozenset[str]:
        """The kinds of originals within `text`: `mail`, `phone`, `ahv`, `iban`, `name`, `text`."""
        return self.find_cells((text,))

    def find_cells(self, cells: Iterable[str]) -> frozenset[str]:
        """The kinds of originals within any of many texts."""
        kept = [one for one in dict.fromkeys(cells) if _may_point(one)]
        if not kept:
            return frozenset()
        block = CELL.join(kept)
        known = self._identifiers
        kinds = {kind for kind, text in identifiers(block) if self._hash(kind, text) in known}
        hashes = self._words.of(_TAG.sub(" ", block) if "<" in block else block)
        if not self._pairs.isdisjoint(pairwise(hashes)) or (
            not self._heads.isdisjoint(pairwise(hashes))
            and next(self._long_names(hashes), None) is not None
        ):
            kinds.add("name")
        if self._texts and not self._texts.isdisjoint(_grams(hashes)):
            kinds.add("text")
        return frozenset(kinds)

    def holding(self, cells: Sequence[str]) -> set[int]:
        """Which of many texts, by their number, hold an original."""
        left = [(0, len(cells))]
        found: set[int] = set()
        while left:
            start, end = left.pop()
            if self.find_cells(cells[start:end]):
                if end - start == 1:
                    found.add(start)
                else:
                    half = (start + end) // 2
                    left += [(start, half), (half, end)]
        return found

    def _long_names(self, hashes: Sequence[int]) -> Iterator[tuple[int, int]]:
        """From and to which word a name of more than two words stands."""
        for at in range(len(hashes) - 2):
            if (hashes[at], hashes[at + 1]) in self._heads:
                # A slice that runs past the end would be a shorter name, found twice.
                for size in range(3, min(_NAME, len(hashes) - at) + 1):
                    if tuple(hashes[at : at + size]) in self._names:
                        yield at, at + size

    def find_spans(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, kind) of each original within `text`, in order; those of one kind that
        overlap are one."""
        known = self._identifiers
        found = [
            (start, end, kind)
            for start, end, kind, canonical in identifier_spans(text)
            if self._hash(kind, canonical) in known
        ]
        places, hashes = [], []
        bare = _TAG.sub(lambda tag: " " * len(tag.group()), text) if "<" in text else text
        for match in _TOKEN.finditer(bare):
            for hashed in self._words.of(match.group()):
                places.append(match.span())
                hashes.append(hashed)
        runs = [
            (at, at + 2, "name") for at, two in enumerate(pairwise(hashes)) if two in self._pairs
        ]
        runs += [(start, end, "name") for start, end in self._long_names(hashes)]
        runs += [(at, at + _PHRASE, "text") for at, one in enumerate(_grams(hashes))
                 if one in self._texts]  # fmt: skip
        found += [(places[start][0], places[end - 1][1], kind) for start, end, kind in runs]
        merged: list[tuple[int, int, str]] = []
        for start, end, kind in sorted(found, key=lambda one: (one[2], one[0])):
            if merged and merged[-1][2] == kind and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]), kind)
            else:
                merged.append((start, end, kind))
        return sorted(merged)

    def __len__(self) -> int:
        return len(self._identifiers) + len(self._pairs) + len(self._names) + len(self._texts)

    def __repr__(self) -> str:
        return f"Distinctive({len(self)} hashes)"
