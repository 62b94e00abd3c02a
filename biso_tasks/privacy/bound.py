"""The originals of one column, each bound to its row: what stands unchanged in a row that had it
before. Many values are taken at a time; one by one gives the same."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from itertools import compress, repeat
from typing import Final, final

from biso_tasks.privacy.cells import TREES, Values
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.detect import SAYS_NOTHING, fold, nothing_personal
from biso_tasks.privacy.hashes import CELL, Hasher

__all__ = ["Cells", "fold_all"]

_DIGITS: Final = re.compile(r"[\d\s./:+-]+")
# What the mask leaves, since it is no date of anybody: infinity, an empty or unbounded range, and
# what applications write for "without end", 9999-12-31 and 0001-01-01.
_NO_DATE: Final = re.compile(r"\D*|(?:00\d\d|9\d{3}|\d{5,})-.*|.* BC")
_SHORT: Final = 80  # characters, folded
# As `fold` has them; the rest are rare, and looked at one by one.
_LETTERS: Final = (
    ("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("áàâ", "a"), ("éèêë", "e"), ("íîï", "i"),
    ("óòô", "o"), ("úùû", "u"), ("ç", "c"), ("ñ", "n"), ("\u00a0", " "),
)  # fmt: skip
_SPACES: Final = ("\t", "\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1f")


def fold_all(values: Sequence[str]) -> list[str]:
    """`detect.fold` of each, at the speed of one long text. Of values longer than a name or an
    address accents stay: nobody takes them off, and the search by words finds those as well."""
    block = CELL.join(values)
    plain = block.isascii()
    block = block.lower() if plain else block.casefold()
    if not plain:
        for letters, written in _LETTERS:
            for letter in letters:
                block = block.replace(letter, written)
    for space in _SPACES:
        block = block.replace(space, " ")
    while "  " in block:
        block = block.replace("  ", " ")
    folded = block.replace(f" {CELL}", CELL).replace(f"{CELL} ", CELL).strip(" ").split(CELL)
    if len(folded) != len(values):  # the mark stands in a value
        return [one for value in values for one in fold_all([value.replace(CELL, " ")])]
    if plain:
        return folded
    known = {one: fold(one) for one in set(folded) if not one.isascii() and len(one) <= _SHORT}
    return [known.get(one, one) for one in folded] if known else folded


def _says(folded: str) -> bool:
    # `nothing_personal`, but for nearly all values without the call.
    return len(folded) > 1 and (
        folded not in SAYS_NOTHING if folded[0] != folded[1] else not nothing_personal(folded)
    )


@final
class Cells:
    """Learns the values of one column, then is asked. Hashes only."""

    __slots__ = ("_asked", "_dated", "_hashes", "_plain", "_salt", "_timed", "column")

    def __init__(self, column: Column, hasher: Hasher) -> None:
        self.column = column
        self._plain = column.type.family not in TREES and column.type.family != "bytea"
        self._dated = column.type.family in ("date", "timestamp")
        self._timed = (column.type.element or column.type).family in ("date", "timestamp", "range")
        self._salt = hasher.value("cells", column.label)
        self._hashes = array("q")
        self._asked: frozenset[int] | None = None

    def _pieces(self, values: Values, keyed: bool) -> tuple[Sequence[int], list[str]]:
        """The folded pieces that weigh, and the row of each. Two of us may ask for the same."""
        if keyed not in values.weighed:
            values.weighed[keyed] = self._weigh(values, keyed)
        return values.weighed[keyed]

    def _weigh(self, values: Values, keyed: bool) -> tuple[Sequence[int], list[str]]:
        rows: Sequence[int]
        if not self._plain:
            told = [(row, one) for row, found in enumerate(values.compared()) for one in found]
            rows, pieces = [row for row, _ in told], [one for _, one in told]
        elif "" in values.raw:
            rows = list(compress(range(len(values.raw)), values.raw))
            pieces = list(filter(None, values.raw))
        else:
            rows, pieces = range(len(values.raw)), list(values.raw)
        if not pieces:
            return [], []
        folded = fold_all(pieces)
        good = list(map(_says, folded))
        if any(len(one) == 2 for one in folded):
            # One letter that folds to two says no more than any other: the mask leaves it.
            good = [
                one and (len(text) != 2 or len(piece.strip()) > 1)
                for one, text, piece in zip(good, folded, pieces, strict=True)
            ]
        if self._timed:
            good = [
                one and not _NO_DATE.fullmatch(piece)
                for one, piece in zip(good, pieces, strict=True)
            ]
        # Without anything that tells rows apart, a date or a postal code is in every table.
        if not keyed:
            good = [
                one and not self._dated and not _DIGITS.fullmatch(piece)
                for one, piece in zip(good, folded, strict=True)
            ]
        if all(good):
            return rows, folded
        return list(compress(rows, good)), list(compress(folded, good))

    def _made(
        self, keys: Sequence[str], values: Values, keyed: bool
    ) -> tuple[Sequence[int], Iterable[int]]:
        rows, folded = self._pieces(values, keyed)
        told = keys if len(rows) == len(keys) and self._plain else map(keys.__getitem__, rows)
        return rows, map(hash, zip(repeat(self._salt), told, folded, strict=False))

    def learn_all(self, keys: Sequence[str], values: Values, *, keyed: bool = True) -> int:
        """Takes the values of many rows, which `keys` tell from others; without anything that does,
        not `keyed`. Gives the number of pieces taken."""
        before = len(self._hashes)
        self._hashes.extend(self._made(keys, values, keyed)[1])
        self._asked = None
        return len(self._hashes) - before

    def learn(self, key: str, raw: str, *, keyed: bool = True) -> int:
        """Takes the value of one row."""
        return self.learn_all((key,), Values(self.column, (raw,)), keyed=keyed)

    def survivors(
        self, keys: Sequence[str], values: Values, *, keyed: bool = True
    ) -> tuple[int, int]:
        """How many pieces stood in the same row before, and of how many that weigh at all."""
        known = self._known()
        made = list(self._made(keys, values, keyed)[1])
        if known.isdisjoint(made):
            return 0, len(made)
        return sum(map(known.__contains__, made)), len(made)

    def rows(self, keys: Sequence[str], values: Values, *, keyed: bool = True) -> set[int]:
        """Which of the values, by their number, have a piece that stood in the same row before."""
        known = self._known()
        rows, made = self._made(keys, values, keyed)
        made = list(made)
        if known.isdisjoint(made):
            return set()
        return set(compress(rows, map(known.__contains__, made)))

    def _known(self) -> frozenset[int]:
        if self._asked is None:
            self._asked = frozenset(self._hashes)
        return self._asked

    def rest(self) -> None:
        """Gives back what asking takes: ten times the memory of the hashes themselves."""
        self._asked = None

    def freeze(self) -> None:
        """Ends learning."""
        self._asked = None

    def __repr__(self) -> str:
        return f"Cells({len(self._hashes)} hashes)"
