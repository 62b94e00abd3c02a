"""Rows follow the files that they refer to: set-based updates in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.errors import StepFailed
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.filenames import Names, Tree
from biso_tasks.privacy.filerefs import (
    LONGEST,
    References,
    all_leaves,
    distinct,
    leaves,
    shape,
    source,
    tables,
)
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.sqltext import column_name, execute, ident, quiet, settle, stream
from biso_tasks.privacy.writing import all_rows, without_keys, writable

if TYPE_CHECKING:
    import psycopg

__all__ = ["rename_rows"]

_TABLES: Final = (
    'CREATE TEMP TABLE biso_names (old text COLLATE "C" PRIMARY KEY) ON COMMIT DROP',
    'CREATE TEMP TABLE biso_values (old text COLLATE "C" PRIMARY KEY, new text) ON COMMIT DROP',
    "SET LOCAL check_function_bodies = off",
    """CREATE OR REPLACE FUNCTION pg_temp.biso_renamed(j jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN CASE jsonb_typeof(j)
     WHEN 'string' THEN COALESCE((SELECT to_jsonb(v.new) FROM pg_temp.biso_values v
       WHERE v.old = j #>> '{}'), j)
     WHEN 'array' THEN COALESCE((SELECT jsonb_agg(pg_temp.biso_renamed(e.v) ORDER BY e.o)
       FROM jsonb_array_elements(j) WITH ORDINALITY e(v, o)), j)
     WHEN 'object' THEN COALESCE((SELECT jsonb_object_agg(e.key, pg_temp.biso_renamed(e.value))
       FROM jsonb_each(j) e), j)
     ELSE j END; END $$""",
)

_Changes = dict[Column, dict[str, str]]


def rename_rows(
    stage: psycopg.Connection[Any],
    inventory: Sequence[Classified],
    references: References,
    tree: Tree,
    names: Names,
    originals: Originals,
) -> int:
    """Rows of `stage` say the new names of the files that they refer to, in one transaction where
    the connection is in autocommit; returns the number of cells rewritten. A value counts that is
    a path of `tree`, or the name of a file, or ends in one after a slash; in the columns of
    `references`, any. Raises StepFailed naming table or column, never a value."""
    if not names.mapping and not references.strict:
        return 0
    return quiet("renaming files in rows", _rename_rows, stage, inventory, references, tree, names,
                 originals)  # fmt: skip


def _rename_rows(
    stage: psycopg.Connection[Any], inventory: Sequence[Classified], references: References,
    tree: Tree, names: Names, originals: Originals,
) -> int:  # fmt: skip
    with stage.transaction():
        settle(stage)
        for statement in _TABLES:
            execute(stage, statement)
        old = {form for name in names.mapping for form in tree.spellings(name)}
        _fill(stage, "biso_names (old)", [(name,) for name in sorted(old)])
        execute(stage, "ANALYZE pg_temp.biso_names")
        changes: _Changes = {}
        for group in tables(inventory):
            columns = [one.column for one in group if _updatable(one.column)]
            if columns:
                changes |= _look(stage, columns, references, tree, names)
        keys = [column for column in changes if column.foreign]
        rows = 0
        with ExitStack() as stack:
            stack.enter_context(without_keys(stage, keys))
            for column, values in changes.items():
                rows += _update(stage, column, values)
            execute(stage, "SET CONSTRAINTS ALL IMMEDIATE")
    for column in changes:
        originals.renamed.add(column.label)
        keyed = originals.keys(column.relation)
        if keyed is not None and column.name in keyed[0]:
            # Its rows have other keys now, so none of them can be compared with what it was. No
            # column has an empty name: as after a migration that took the key, the mask rewrites
            # every row of such a table.
            originals.learn_table(column.relation, (("",), False), originals.share(column.relation))
    return rows


def _updatable(column: Column) -> bool:
    return column.kind == "table" and not (column.generated or column.partition)


def _fill(stage: psycopg.Connection[Any], into: str, rows: Sequence[Sequence[str]]) -> None:
    with stage.cursor() as cursor, cursor.copy(f"COPY pg_temp.{into} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _look(
    stage: psycopg.Connection[Any], columns: Sequence[Column], references: References,
    tree: Tree, names: Names,
) -> _Changes:  # fmt: skip
    """What has to change in one table: for each column old texts and new ones."""
    table = columns[0]
    referring = set(references.columns)
    changes: _Changes = {}
    with all_rows(stage, table):
        # One pass over the table, whatever the number of its columns and of the names.
        matched = (
            f"SELECT DISTINCT s.n, s.v FROM {source(table)} {all_leaves(columns)} CROSS JOIN "
            "LATERAL unnest(string_to_array(s.v, '/')) AS p(part) JOIN pg_temp.biso_names AS b "
            f"""ON b.old = p.part COLLATE "C" WHERE octet_length(s.v) <= {LONGEST}"""
        )
        for number, value in stream(stage, matched):
            if number is not None and value is not None:
                column = columns[int(number)]
                if column in referring or column.foreign or tree.leads_to(value):
                    _change(changes, column, value, _renamed(value, tree, names, strict=False))
        for column in columns:
            if column in references.strict:
                for value in distinct(stage, column):
                    strict = not tree.leads_to(value, loosely=True)
                    _change(changes, column, value, _renamed(value, tree, names, strict=strict))
    return changes


def _renamed(value: str, tree: Tree, names: Names, *, strict: bool) -> str:
    parts = tree.spelled(value)
    if not strict:
        known = names.mapping
        old = value.split("/")
        return "/".join(known.get(part, old[at]) for at, part in enumerate(parts))
    return "/".join(
        part if part in ("", ".", "..") or (tree.knows(part) and part not in names.mapping)
        else names.replace(part)
        for part in parts
    )  # fmt: skip


def _change(changes: _Changes, column: Column, old: str, new: str) -> None:
    if old == new:
        return
    length = column.type.length if column.type.element is None else column.type.element.length
    if length is not None and len(new) > length:
        raise StepFailed(
            f"{column.label} holds {length} characters; the new name of a file needs {len(new)}",
            hint="leave these files out ([refresh.files]: skip), or widen the column",
        )
    changes.setdefault(column, {})[old] = new


def _update(stage: psycopg.Connection[Any], column: Column, values: dict[str, str]) -> int:
    _fill(stage, "biso_values (old, new)", list(values.items()))
    execute(stage, "ANALYZE pg_temp.biso_values")
    name, cell, kind = ident(column.name), column_name("t", column.name), column.type.sql
    inner = f"({leaves(column)}) AS l(v)"
    matched = f"EXISTS (SELECT FROM {inner} JOIN pg_temp.biso_values b ON b.old = l.v)"
    form = shape(column)
    if form == "json":
        rest = f"{name} = pg_temp.biso_renamed({cell}::jsonb)::{kind} WHERE {matched}"
    elif form == "array":
        made = (
            f"SELECT array_agg(COALESCE(b.new, e.v::text) ORDER BY e.o) FROM unnest({cell}) WITH "
            "ORDINALITY AS e(v, o) LEFT JOIN pg_temp.biso_values b "
            """ON b.old = e.v::text COLLATE "C\""""
        )
        # A matrix of file names would come out as a list.
        rest = f"{name} = ({made})::{kind} WHERE array_ndims({cell}) = 1 AND {matched}"
    else:
        rest = (
            f"{name} = b.new::{kind} FROM pg_temp.biso_values AS b "
            f"""WHERE b.old = {cell}::text COLLATE "C\""""
        )
    with writable(stage, column), stage.cursor() as cursor:
        cursor.execute(f"UPDATE ONLY {column.sql_table} AS t SET {rest}".encode())
        count = cursor.rowcount
        execute(stage, "TRUNCATE pg_temp.biso_values")
    return max(count, 0)
