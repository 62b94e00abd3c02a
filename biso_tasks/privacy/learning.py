"""Learns the originals of a source, table by table: each value bound to its row, and who holds
what, so that the house's own can be told from a client's."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.bound import Cells
from biso_tasks.privacy.cells import (
    MUTE,
    Values,
    expression,
    key_columns,
    readable,
    stored,
    whole_columns,
)
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.detect import words
from biso_tasks.privacy.reading import batches, key_expression, large, objects
from biso_tasks.privacy.sqltext import query
from biso_tasks.privacy.words import GIVEN_NAMES

if TYPE_CHECKING:
    import psycopg

    from biso_tasks.privacy.originals import Originals

__all__ = ["learn_objects", "learn_table", "settings_texts"]

_GIVEN: Final = re.compile(r"vorname|rufname|(first|given|fore)_?name|fname", re.IGNORECASE)
_FAMILY: Final = re.compile(
    r"(nach|familien|sur|last_?|family_?|geburts|ledig)?name|maiden|lname", re.IGNORECASE
)
_PASSWORD: Final = re.compile(r"passw|kennwort|pass_?hash|pwd", re.IGNORECASE)


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


def _staff(group: Sequence[Classified]) -> bool:
    """Whether the people of a table are those who use the software, and not clients, who may have
    a password as well."""
    return any(_PASSWORD.search(one.column.name) for one in group) and not any(
        one.kind in ("birth", "identifier") for one in group
    )


def _owner(group: Sequence[Classified]) -> Column | None:
    """The column that says whom or which case a row is about, where there is one."""
    for one in group:
        if one.column.foreign and not one.column.primary:
            return one.column
    for one in group:
        name = one.column.name.casefold()
        if (
            one.column.type.family in ("number", "uuid")
            and not one.column.primary
            and name[-2:] == "id"
        ):
            return one.column
    contacts = (o.column for o in group if o.personal and o.kind in ("mail", "phone"))
    return next((c for c in contacts if c.type.family == "text"), None)


def _full_name(text: str) -> bool:
    found = words(text.casefold())
    return 2 <= len(found) <= 4 and any(word in GIVEN_NAMES for word in found)


class _Table:
    """What of one table is read, and where in a batch it comes."""

    def __init__(self, originals: Originals, group: Sequence[Classified]) -> None:
        self.originals = originals
        self.table = group[0].column
        self.personal = [o for o in group if o.personal and o.column.type.family != "bytea"]
        self.cells = [originals.expect(o.column) for o in self.personal]
        by_name = {one.column.name: one.column for one in group}
        names, self.keyed = originals.keys(self.table.relation) or ((), False)
        self.keyed = bool(names)
        self.keys = [by_name[name] for name in names]
        self.columns = [one.column for one in self.personal]
        places = {column.name: at for at, column in enumerate(self.columns)}
        self.pairs = [
            (places[g], places[f])
            for g, f in _name_pairs(self.personal)
            if g in places and f in places
        ]
        self.family = self.pairs[0][1] if self.pairs else None
        self.owner: int | None = None
        self.extra: list[Column] = []
        owner = None if self.pairs else _owner(group)
        if owner is not None:
            if owner.name not in places:
                self.extra = [owner]
            self.owner = places.get(owner.name, len(self.columns))
        # Where nothing is sure to tell rows apart, all that is left as it is may do.
        self.whole: list[Column] = []
        self.whole_cells: list[Cells] = []
        named = originals.whole(self.table.relation)
        if named:
            self.whole = [by_name[name] for name in named]
            self.whole_cells = [originals.expect_whole(o.column) for o in self.personal]
        self.staff = _staff(group)
        self.original = self.table.kind == "table"

    def owners(self, columns: Sequence[Sequence[str]], rows: int) -> list[int]:
        distinctive = self.originals.distinctive
        if self.pairs:
            given, family = self.pairs[0]
            told = [f"{g}\x1f{f}" for g, f in zip(columns[given], columns[family], strict=True)]
        elif self.owner is not None:
            told = list(columns[self.owner])
        else:
            return [distinctive.owner() for _ in range(rows)]
        named = {one: distinctive.owner_of(one) for one in set(told)}
        return [named[one] or distinctive.owner() for one in told]

    def learn(self, keys: list[str], columns: list[list[str]]) -> None:
        originals = self.originals
        distinctive = originals.distinctive
        owners = self.owners(columns, len(keys))
        families = columns[self.family] if self.family is not None else None
        values = [Values(o.column, v) for o, v in zip(self.personal, columns, strict=False)]
        for one, cells, told in zip(self.personal, self.cells, values, strict=True):
            originals.values += cells.learn_all(keys, told, keyed=self.keyed)
            if one.column.type.family in MUTE:
                continue
            texts = told.learnt()
            distinctive.learn_cells(texts, owners, families, original=self.original)
            if one.kind == "family":
                for text in set(texts):
                    originals.learn_surname(text)
            if one.kind == "name":
                for text in set(texts):
                    if (
                        len(text) <= 80
                        and 0 < text.count(" ") < 6
                        and (_full_name(text) or distinctive.knows_given(text))
                    ):
                        distinctive.learn_full_name(text, staff=self.staff)
        if self.whole:
            for cells, told in zip(self.whole_cells, values, strict=True):
                cells.learn_all(columns[-1], told)
        for given, family in self.pairs:
            for first, last in set(zip(columns[given], columns[family], strict=True)):
                if first and last:
                    distinctive.learn_name(first, last, staff=self.staff)


def _unique(conn: psycopg.Connection[Any], columns: Sequence[Column]) -> bool:
    """Whether no two rows of the source have the same in all of `columns`."""
    table = columns[0]
    only = "ONLY " if table.kind == "table" else ""
    names = ", ".join(str(at + 1) for at in range(len(columns)))
    shown = ", ".join(expression(column, "t") for column in columns)
    twice = f"SELECT {shown} FROM {only}{table.sql_table} AS t GROUP BY {names} HAVING count(*) > 1"
    return not query(conn, f"SELECT EXISTS ({twice})")[0][0]


def learn_table(
    conn: psycopg.Connection[Any], originals: Originals, group: Sequence[Classified], share: float
) -> None:
    """Takes `share` of the rows of a table."""
    table = group[0].column
    keys = key_columns(group)
    originals.learn_table(table.relation, keys, share)
    if not keys[1] and (whole := whole_columns(group)) and _unique(conn, whole):
        originals.learn_whole(table.relation, tuple(column.name for column in whole))
    told = _Table(originals, group)
    values = [expression(column, "t") for column in (*told.columns, *told.extra)]
    if told.columns:
        if told.whole:
            values.append(key_expression(told.whole))
        for rows, columns in batches(conn, told.keys, values, table):
            if share < 1:
                kept = [random.random() < share for _ in rows]
                rows = list(compress(rows, kept))
                columns = [list(compress(column, kept)) for column in columns]
            if rows:
                told.learn(rows, columns)
    for one in group:
        if one.personal and one.column.type.family == "bytea":
            _learn_bytes(conn, originals, one.column, told, share)


def _learn_bytes(
    conn: psycopg.Connection[Any], originals: Originals, column: Column, told: _Table, share: float
) -> None:
    cells = originals.expect(column)
    for key, digest, content in large(conn, told.keys, column):
        if share < 1 and random.random() >= share:
            continue
        if content.digest():
            originals.values += cells.learn(key, stored(digest), keyed=told.keyed)
        for window in content.windows():
            _learn_text(originals, window)


def _learn_text(originals: Originals, data: bytes) -> None:
    # Of a document its own bytes are known; its text stands in no column.
    with suppress(UnicodeDecodeError):
        originals.distinctive.learn(data.decode())


def learn_objects(conn: psycopg.Connection[Any], originals: Originals) -> None:
    """Takes every large object."""
    for _, content in objects(conn):
        originals.learn_object(content.digest())
        for window in content.windows():
            _learn_text(originals, window)


def settings_texts(
    conn: psycopg.Connection[Any], groups: Sequence[Sequence[Classified]]
) -> Iterator[str]:
    """The texts of settings and look-up tables."""
    for group in groups:
        columns = [
            one.column
            for one in group
            if one.common and readable(one.column) and one.column.type.family != "bytea"
        ]
        if columns:
            values = [expression(column, "t") for column in columns]
            for _, found in batches(conn, (), values, columns[0]):
                for column, texts in zip(columns, found, strict=True):
                    yield from filter(None, set(Values(column, texts).searched()))
