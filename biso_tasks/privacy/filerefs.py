"""Columns whose values name files of the data dir: found by looking at the values. A mask would
make them name nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.filenames import Tree
from biso_tasks.privacy.sqltext import column_name, query, quiet, settle, stream
from biso_tasks.privacy.writing import all_rows

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "LONGEST", "REASON", "References", "all_leaves", "distinct", "find_references", "leaves",
    "read_references", "shape", "source", "tables",
]  # fmt: skip

REASON: Final = "names a file of the data dir; names are handled with the files"

_PAGES: Final = 60  # of one table, looked at
_SAMPLE: Final = 1000  # rows
LONGEST: Final = 4096  # bytes of a path; longer texts are none


@dataclass(frozen=True, slots=True)
class References:
    """Columns whose values name files. `strict` are those that were personal: what names no file
    in them must not stay, since nobody masks them any more."""

    columns: tuple[Column, ...] = ()
    strict: frozenset[Column] = frozenset()


def shape(column: Column) -> str:
    """How texts stand in a column: "text", "json", "array"; "" where none do that could be a
    path."""
    kind = column.type
    if kind.family == "array":
        return "array" if kind.element is not None and kind.element.family == "text" else ""
    return {"text": "text", "json": "json", "jsonb": "json"}.get(kind.family, "")


def leaves(column: Column) -> str:
    """A SELECT, LATERAL to the alias `t`, of the texts in one cell. Compared by their bytes: a
    collation could take "A" for "a"."""
    name = column_name("t", column.name)
    form = shape(column)
    if form == "json":
        path = """'strict $.** ? (@.type() == "string")'"""
        cell = f"pg_catalog.jsonb_path_query({name}::jsonb, {path}) j"
        return f"""SELECT (j #>> '{{}}') COLLATE "C" FROM {cell}"""
    if form == "array":
        return f'SELECT e::text COLLATE "C" FROM unnest({name}) e'
    return f'SELECT {name}::text COLLATE "C"'


def all_leaves(columns: Sequence[Column]) -> str:
    """Joined to the alias `t`: a row `s(n, v)` for each text in each of `columns`, `n` being the
    column's place."""
    parts = [
        f"SELECT {at}, l.v FROM ({leaves(column)}) AS l(v)" for at, column in enumerate(columns)
    ]
    return f"CROSS JOIN LATERAL ({' UNION ALL '.join(parts)}) AS s(n, v)"


def source(table: Column) -> str:
    """The relation as FROM has it, under the alias `t`, without what inherits from it."""
    only = "ONLY " if table.kind == "table" else ""
    return f"{only}{table.sql_table} AS t"


def tables(inventory: Sequence[Classified]) -> Iterator[list[Classified]]:
    """The columns that may hold paths, those of one relation together."""
    able = [one for one in inventory if shape(one.column)]
    for _, group in groupby(able, key=lambda one: (one.column.schema, one.column.table)):
        yield list(group)


def find_references(
    stage: psycopg.Connection[Any], inventory: Sequence[Classified], tree: Tree
) -> tuple[tuple[Classified, ...], References]:
    """The inventory with the columns marked harmless most of whose values (of a sample) name files
    of `tree`, and these columns: a mask would make them name nothing. Lists and JSON documents are
    not among them. Call it before anything is renamed or anonymised. Raises StepFailed where rows
    cannot be read."""
    found: list[Column] = []
    strict: set[Column] = set()
    for group in tables(inventory):
        # Two paths in one cell read like a sentence: the proof would take it for a survivor.
        plain = [one for one in group if shape(one.column) == "text"]
        if not plain:
            continue
        where = f"looking for names of files in table {plain[0].column.relation}"
        for one in quiet(where, _referring, stage, plain, tree):
            found.append(one.column)
            # What a key holds is kept together by the key: both sides stay alike.
            if one.personal and not one.column.foreign:
                strict.add(one.column)
    labels = {column.label for column in found}
    marked = tuple(
        replace(one, personal=False, reason=REASON) if one.column.label in labels else one
        for one in inventory
    )
    return marked, References(tuple(found), frozenset(strict))


def _referring(
    stage: psycopg.Connection[Any], group: Sequence[Classified], tree: Tree
) -> list[Classified]:
    columns = [one.column for one in group]
    table = columns[0]
    with stage.transaction(force_rollback=True):
        settle(stage)
        with all_rows(stage, table):
            size = "SELECT pg_catalog.pg_relation_size(%s::regclass) / 8192"
            pages = query(stage, size, (table.sql_table,))[0][0]
            part = min(100.0, 100.0 * _PAGES / max(pages, 1))
            # The planner's figures are not there yet: pages are counted, not rows.
            rows = (
                f"(SELECT * FROM {source(table)} TABLESAMPLE SYSTEM ({part:.4f}) REPEATABLE (1) "
                f"LIMIT {_SAMPLE}) AS t"
            )
            seen = [0] * len(columns)
            hits = [0] * len(columns)
            loosely = [one.kind == "file" for one in group]
            select = f"SELECT s.n, left(s.v, {LONGEST}) FROM {rows} {all_leaves(columns)}"
            for number, value in stream(stage, select):
                if number is None or value is None or not value.strip():
                    continue
                at = int(number)
                seen[at] += 1
                hits[at] += tree.leads_to(value, loosely=loosely[at])
    return [one for one, hit, all_ in zip(group, hits, seen, strict=True) if hit * 2 > all_]


def read_references(
    stage: psycopg.Connection[Any], references: References, take: Callable[[str], None]
) -> None:
    """Gives `take` each value of the referring columns once: files that did not travel have names
    as well."""
    for column in references.columns:
        quiet(f"reading names of files in {column.label}", _read, stage, column, take)


def _read(stage: psycopg.Connection[Any], column: Column, take: Callable[[str], None]) -> None:
    with stage.transaction(force_rollback=True):
        settle(stage)
        with all_rows(stage, column):
            for value in distinct(stage, column):
                take(value)


def distinct(stage: psycopg.Connection[Any], column: Column) -> Iterator[str]:
    """Each text of the column once. Inside a transaction."""
    select = f"SELECT DISTINCT l.v FROM {source(column)} CROSS JOIN LATERAL ({leaves(column)})"
    for (value,) in stream(stage, f"{select} AS l(v)"):
        if value is not None and value.strip():
            yield value
