"""Looks for originals: in columns, many rows at a time, in contents of any length, in files. Finds
places and kinds, never values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from biso_tasks.privacy.bound import Cells
from biso_tasks.privacy.cells import (
    FEW,
    MUTE,
    Values,
    expression,
    numbers,
    readable,
    stored,
)
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.documents import Unreadable, packed, spelled_names, texts
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.reading import Content, batches, key_expression, large, objects

if TYPE_CHECKING:
    import psycopg

__all__ = ["Leak", "Scan"]


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A survivor: `table.column` or a path, and what kind: `unchanged`, `mail`, `phone`, `ahv`,
    `iban`, `name`, `text`; `unreadable` for a file that cannot be searched; `canary` where the
    scanner did not see what was planted for it."""

    place: str
    kind: str


@dataclass(slots=True)
class _Asked:
    """A column on its way: what is compared, and how often it was found. `loose`: rows are not told
    apart for certain, so that one which is the same may be so by chance."""

    column: Column
    cells: Cells | None
    loose: bool
    hits: int = 0
    weighed: int = 0
    sure: int = 0  # in rows that all of what was left tells apart
    names: Counter[str] = field(default_factory=Counter)


@final
class Scan:
    """Counts what it looked at and collects the places of survivors."""

    def __init__(self, originals: Originals) -> None:
        self.originals = originals
        self.leaks: set[Leak] = set()
        self.columns = self.values = self.files = 0

    def text(self, place: str, text: str) -> None:
        """One text."""
        self.cells(place, (text,))

    def cells(self, place: str, texts: Iterable[str]) -> None:
        """Many texts of one place."""
        for kind in self.originals.distinctive.find_cells(texts):
            self.leaks.add(Leak(place, kind))

    def content(self, place: str, name: str, data: bytes, *, members: bool = False) -> None:
        """The text in the content of a file. With `members`, findings name those of archives."""
        places = {"": place}
        try:
            for member, text in texts(name, data):
                if members and member not in places:
                    places[member] = f"{place}!{self.shown(member)}"
                self.text(places.get(member, place), text)
        except Unreadable:
            self.leaks.add(Leak(place, "unreadable"))

    def shown(self, path: str) -> str:
        """`path` with each part that holds an original taken out: findings never name the value."""
        find = self.originals.distinctive.find_cells
        if not find(spelled_names(path)):
            return path
        parts = ["‹name›" if find(spelled_names(part)) else part for part in path.split("/")]
        return "/".join(parts) if "‹name›" in parts else "‹name›"

    def table(
        self, conn: psycopg.Connection[Any], group: Sequence[Classified], *, but: str = ""
    ) -> None:
        """Every value of one relation, without the rows that fulfil the SQL condition `but`."""
        originals = self.originals
        table = group[0].column
        present = {one.column.name: one.column for one in group}
        known = originals.keys(table.relation)
        if known is not None and not all(name in present for name in known[0]):
            known = None  # the mask rewrote every row of it, see `mask`
        keys = [present[name] for name in known[0]] if known else []
        todo = [one for one in group if one.personal or readable(one.column)]
        also = [o.column for o in group if o not in todo and numbers(o.column, "t")]
        self.columns += len(todo) + len(also)
        # Where rows are not told apart for certain, or a value is made of others, one that is the
        # same may be so by chance: there it takes half of them.
        certain = known is not None and known[1] and table.kind == "table"
        asked = [
            _Asked(
                one.column,
                originals.of(one.column) if known is not None and one.personal else None,
                loose=not certain or one.column.generated,
            )
            for one in todo
        ]
        told = [one for one in asked if one.column.type.family != "bytea"]
        told += [_Asked(column, None, loose=True) for column in also]
        shown = [
            (numbers(one.column, "t") if one.column in also else None)
            or expression(one.column, "t")
            for one in told
        ]
        whole = originals.whole(table.relation)
        sure = bool(whole) and all(name in present for name in whole)
        if sure and told:
            shown.append(key_expression([present[name] for name in whole]))
        for names, columns in batches(conn, keys, shown, table, but=but) if told else ():
            for one, found in zip(told, columns, strict=False):
                values = Values(one.column, found)
                self.batch(one, names, values, keyed=bool(keys))
                if sure and one.cells is not None and not one.column.generated:
                    apart = originals.expect_whole(one.column)
                    one.sure += apart.survivors(columns[-1], values)[0]
        for one in asked:
            if one.column.type.family == "bytea":
                self.stored(conn, one, keys, but)
        share = originals.share(table.relation)
        for one in asked:
            self.rare(one)
            enough = not one.loose or one.hits * 2 >= one.weighed * share
            if one.sure or (one.hits and enough):
                self.leaks.add(Leak(one.column.label, "unchanged"))

    def batch(self, one: _Asked, keys: list[str], told: Values, *, keyed: bool) -> None:
        """Some rows of one column."""
        self.values += len(told.raw) - told.raw.count("")
        if one.cells is not None:
            hits, weighed = one.cells.survivors(keys, told, keyed=keyed)
            one.hits += hits
            one.weighed += weighed
        family = one.column.type.family
        if family not in MUTE:
            self.cells(one.column.label, told.searched())
        if family in ("json", "jsonb", "hstore"):
            one.names.update(told.members())

    def rare(self, one: _Asked) -> None:
        """Names of members of JSON documents that are data: a family name that few have."""
        for name, count in one.names.items():
            if count < FEW and name[:1].isupper() and self.originals.holds_surname(name):
                self.leaks.add(Leak(one.column.label, "name"))

    def stored(
        self, conn: psycopg.Connection[Any], one: _Asked, keys: Sequence[Column], but: str
    ) -> None:
        """A bytea column."""
        for key, digest, content in large(conn, keys, one.column, but=but):
            self.values += 1
            if one.cells is not None and content.digest():
                hits, weighed = one.cells.survivors(
                    (key,), Values(one.column, (stored(digest),)), keyed=bool(keys)
                )
                one.hits += hits
                one.weighed += weighed
            self.windows(one.column.label, content)

    def windows(self, place: str, content: Content) -> None:
        """A content of any length. One that is too long to be opened as a document is searched as
        the text that it may be, and said to be unreadable where it is none."""
        for at, window in enumerate(content.windows()):
            if not content.long:
                self.content(place, "", window)
                continue
            if at == 0 and packed(window):
                self.leaks.add(Leak(place, "unreadable"))
            self.text(place, window.decode("utf-8", "replace"))

    def objects(self, conn: psycopg.Connection[Any], place: str) -> None:
        """Every large object."""
        self.columns += 1
        for _, content in objects(conn):
            self.values += 1
            if self.originals.known_object(content.digest()):
                self.leaks.add(Leak(place, "unchanged"))
            self.windows(place, content)

    def file(self, path: str, data: bytes) -> None:
        """One copied file: its path and its content."""
        self.files += 1
        place = self.shown(path)
        self.cells(place, spelled_names(path))
        self.content(place, path.rsplit("/", 1)[-1], data, members=True)
