"""What the real values were: keyed hashes of every personal value of the source's snapshot, held in
memory for the length of one run, so that survivors can be recognised without being kept."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from biso_tasks.privacy.canaries import TABLE, draw
from biso_tasks.privacy.cells import (
    MUTE,
    TREES,
    compared,
    key_columns,
    readable,
    searched,
    select,
    tables,
)
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column, Type
from biso_tasks.privacy.detect import fold, nothing_personal, words
from biso_tasks.privacy.distinctive import Distinctive
from biso_tasks.privacy.hashes import Hasher, HashSet
from biso_tasks.privacy.sqltext import query, quiet, settle, stream
from biso_tasks.privacy.words import GIVEN_NAMES

if TYPE_CHECKING:
    import psycopg

__all__ = ["Cells", "Originals", "collect", "large_objects"]

_BOUND: Final = 10_000_000  # values: eighty megabytes of hashes
_WHOLE: Final = 10_000  # rows up to which a table is never sampled
_SURNAME: Final = 4  # letters from which a family name is looked for in the names of files
_PIECE: Final = 16_777_216  # bytes of one large object that are searched

_DIGITS: Final = re.compile(r"[\d\s./:+-]+")
# What the mask leaves, since it is no date of anybody: infinity, an empty or unbounded range, and
# what applications write for "without end", 9999-12-31 and 0001-01-01.
_NO_DATE: Final = re.compile(r"\D*|(?:00\d\d|9\d{3}|\d{5,})-.*|.* BC")


@final
class Cells:
    """The originals of one column, each bound to its row."""

    __slots__ = ("_column", "_dated", "_hash", "_known", "_plain", "_timed")

    def __init__(self, column: Column, hasher: Hasher) -> None:
        self._column = column
        self._plain = compared(column, "x") == ["x"] and column.type.family not in TREES
        self._dated = column.type.family in ("date", "timestamp")
        self._timed = (column.type.element or column.type).family in ("date", "timestamp", "range")
        self._hash = hasher.of(column.label)
        self._known = HashSet()

    def _hashes(self, key: str, raw: str, keyed: bool) -> list[int]:
        found = []
        for piece in (raw,) if self._plain else compared(self._column, raw):
            folded = fold(piece)
            if nothing_personal(folded) or (self._timed and _NO_DATE.fullmatch(piece)):
                continue
            # Without anything that tells rows apart, a date or a postal code is in every table.
            if not keyed and (self._dated or _DIGITS.fullmatch(folded)):
                continue
            found.append(self._hash(f"{key}\x1f{folded}"))
        return found

    def learn(self, key: str, raw: str, *, keyed: bool = True) -> int:
        """Takes the value of one row, which `key` tells from others; without anything that does,
        not `keyed`. Gives the number of pieces taken."""
        hashes = self._hashes(key, raw, keyed)
        for hashed in hashes:
            self._known.add(hashed)
        return len(hashes)

    def unchanged(self, key: str, raw: str, *, keyed: bool = True) -> bool:
        """Whether a piece of the value stood in this row before."""
        known = self._known
        return any(map(known.__contains__, self._hashes(key, raw, keyed)))

    def weighs(self, key: str, raw: str, *, keyed: bool = True) -> bool:
        """Whether the value is one that can be compared at all."""
        return bool(self._hashes(key, raw, keyed))

    def freeze(self) -> None:
        """Ends learning."""
        self._known.freeze()

    def __repr__(self) -> str:
        return f"Cells({len(self._known)} hashes)"


@final
class Originals:
    """Asked by the mask and the proof. Shows numbers only, never a value; cannot be pickled."""

    __slots__ = (
        "_cells",
        "_hasher",
        "_keys",
        "_objects",
        "_share",
        "_surnames",
        "canaries",
        "canary_key",
        "distinctive",
        "renamed",
        "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self._hasher = Hasher()
        self._cells: dict[str, Cells] = {}
        self._keys: dict[str, tuple[tuple[str, ...], bool]] = {}
        self._share: dict[str, float] = {}
        self._objects = HashSet()
        self._surnames = HashSet()
        self.distinctive = Distinctive(self._hasher)
        self.renamed: set[str] = set()  # columns in which names of files are no originals any more
        self.values = 0
        self.canaries = draw()
        self.canary_key = Column(
            "pg_temp", TABLE, "id", Type("int4", "pg_catalog", "integer", "number"), primary=True
        )
        self._learn_canaries()

    def _learn_canaries(self) -> None:
        self.learn_table(self.canary_key.relation, (("id",), True), 1.0)
        for cell in self.canaries.cells():
            self.expect(cell.column).learn("1", cell.raw)
        for value in self.canaries.kinds().values():
            self.distinctive.learn(value)
        self.distinctive.learn_name(self.canaries.given, self.canaries.family)
        self.values = 0

    @property
    def sampled(self) -> bool:
        """Whether there were more values than the bound, so that a sample stands for all."""
        return any(share < 1 for share in self._share.values())

    def share(self, relation: str) -> float:
        """The part of a table's rows that was taken, 0 to 1."""
        return self._share.get(relation, 1.0)

    def keys(self, relation: str) -> tuple[tuple[str, ...], bool] | None:
        """The columns that identify a row and whether for certain; None: not in the source."""
        return self._keys.get(relation)

    def of(self, column: Column) -> Cells | None:
        """What this column held; None: the source does not have it, or it was not personal."""
        return self._cells.get(column.label)

    def expect(self, column: Column) -> Cells:
        """Where this column's values are learnt; from now on it is known, even without rows."""
        cells = self._cells.get(column.label)
        if cells is None:
            cells = self._cells[column.label] = Cells(column, self._hasher)
        return cells

    def learn_table(self, relation: str, keys: tuple[tuple[str, ...], bool], share: float) -> None:
        """Says how the rows of a table are told apart and what part of them is taken."""
        self._keys[relation] = keys
        self._share[relation] = share

    def learn_object(self, data: bytes) -> None:
        """Takes the content of one large object."""
        self._objects.add(self._hasher.value("large object", data.hex()))
        self.values += 1

    def known_object(self, data: bytes) -> bool:
        """Whether a large object of the source had this very content."""
        if not data.strip(b"\0"):
            return False  # a placeholder
        return self._hasher.value("large object", data.hex()) in self._objects

    def learn_surname(self, text: str) -> None:
        """Takes the words of a family name, which by themselves point to nobody in a text, but do
        in the name of a file."""
        for word in words(text.casefold()):
            if len(word) >= _SURNAME:
                self._surnames.add(self._hasher.value("surname", word))

    def holds_surname(self, text: str) -> bool:
        """Whether a word of `text` is somebody's family name."""
        return any(
            self._hasher.value("surname", word) in self._surnames
            for word in words(text.casefold())
            if len(word) >= _SURNAME
        )

    def freeze(self) -> None:
        """Ends learning."""
        self._surnames.freeze()
        for cells in self._cells.values():
            cells.freeze()
        self._objects.freeze()
        self.distinctive.freeze()

    def __repr__(self) -> str:
        return f"Originals({self.values} values)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Originals cannot be pickled: they stay in this process")


def large_objects(conn: psycopg.Connection[Any]) -> Iterator[tuple[int, bytes]]:
    """Each large object's number and content, up to 16 MiB of it. Inside a transaction."""
    for (oid,) in query(conn, "SELECT oid::int8 FROM pg_catalog.pg_largeobject_metadata"):
        rows = query(conn, "SELECT lo_get(%s::oid, 0, %s)", (oid, _PIECE))
        yield oid, bytes(rows[0][0])


_GIVEN: Final = re.compile(r"vorname|rufname|(first|given|fore)_?name|fname", re.IGNORECASE)
_FAMILY: Final = re.compile(
    r"(nach|familien|sur|last_?|family_?|geburts|ledig)?name|maiden|lname", re.IGNORECASE
)


def _name_pairs(group: Sequence[Classified]) -> list[tuple[str, str]]:
    """Columns of given and family name that belong together: `partner_vorname`, `partner_name`."""
    givens = {o.column.name: _GIVEN.sub("", o.column.name) for o in group if o.kind == "given"}
    families = {
        o.column.name: _FAMILY.sub("", o.column.name)
        for o in group
        if o.kind == "family" or (o.kind == "name" and _FAMILY.search(o.column.name))
    }
    pairs = [(g, f) for g, left in givens.items() for f, right in families.items() if left == right]
    if not pairs and len(givens) == 1:
        pairs = [(g, f) for g in givens for f in families]
    return pairs


def _full_name(text: str) -> bool:
    found = words(text.casefold())
    return 2 <= len(found) <= 4 and any(word in GIVEN_NAMES for word in found)


def _learn_table(
    conn: psycopg.Connection[Any], originals: Originals, group: Sequence[Classified], share: float
) -> None:
    personal = [one for one in group if one.personal]
    table = group[0].column
    keys, certain = key_columns(group)
    originals.learn_table(table.relation, (keys, certain), share)
    by_name = {one.column.name: one.column for one in group}
    read = [by_name[name] for name in keys] + [one.column for one in personal]
    places = {column.name: at for at, column in enumerate(read)}
    pairs = [(places[g], places[f]) for g, f in _name_pairs(personal)]
    width = len(keys)
    keyed = bool(keys)
    distinctive = originals.distinctive
    todo = [
        (at + width, one.column, one.kind, originals.expect(one.column))
        for at, one in enumerate(personal)
    ]
    for row in stream(conn, select(read, table)):
        if share < 1 and random.random() >= share:
            continue
        key = "\x1f".join(value or "" for value in row[:width])
        for at, column, kind, cells in todo:
            raw = row[at]
            if not raw:
                continue
            originals.values += cells.learn(key, raw, keyed=keyed)
            if column.type.family in MUTE:
                continue
            text = searched(column, raw)
            distinctive.learn(text)
            if kind == "family":
                originals.learn_surname(text)
            if kind == "name" and len(text) <= 80 and _full_name(text):
                distinctive.learn_full_name(text)
        for given, surname in pairs:
            first, last = row[given], row[surname]
            if first and last:
                distinctive.learn_name(first, last)


def _learn_objects(source: psycopg.Connection[Any], originals: Originals) -> None:
    for _, data in large_objects(source):
        originals.learn_object(data)
        try:
            originals.distinctive.learn(data.decode())
        except UnicodeDecodeError:
            continue  # a document: its own bytes are known, its text stands in no column


def _common_texts(
    conn: psycopg.Connection[Any], groups: Sequence[Sequence[Classified]]
) -> Iterator[str]:
    for group in groups:
        columns = [one.column for one in group if one.common and readable(one.column)]
        if columns:
            for row in stream(conn, select(columns, columns[0])):
                for column, raw in zip(columns, row, strict=True):
                    if raw:
                        yield searched(column, raw)


def collect(
    source: psycopg.Connection[Any],
    inventory: Sequence[Classified],
    *,
    bound: int = _BOUND,
    keep: Collection[str] = (),
) -> Originals:
    """Hashes every personal value of `source` under a key that is drawn now and held nowhere else.
    Above `bound` values (by estimate: personal columns times rows) the larger tables are sampled,
    and `sampled` says so. `keep`: tables whose rows stay the test instance's own. Raises StepFailed
    where rows cannot be read."""
    originals = Originals()
    groups = [g for g in tables(inventory) if g[0].column.relation not in keep]
    doing = "reading the originals"
    with source.transaction():
        quiet(doing, settle, source)
        sizes: dict[str, int] = {}
        for group in groups:
            personal = sum(one.personal for one in group)
            if personal:
                table = group[0].column
                only = "ONLY " if table.kind == "table" else ""
                count = f"SELECT count(*) FROM {only}{table.sql_table}"
                rows = quiet(doing, query, source, count)
                sizes[table.relation] = rows[0][0] * personal
        total = sum(sizes.values())
        for group in groups:
            table = group[0].column
            size = sizes.get(table.relation)
            if size is None:
                continue
            small = size <= _WHOLE * sum(one.personal for one in group)
            share = 1.0 if total <= bound or small else bound / total
            where = f"{doing}: table {table.relation}"
            quiet(where, _learn_table, source, originals, group, share)
        if any(one.personal and one.column.kind == "large objects" for one in inventory):
            quiet(f"{doing}: large objects", _learn_objects, source, originals)
        originals.freeze()
        quiet(doing, originals.distinctive.exempt, _common_texts(source, groups))
    return originals
