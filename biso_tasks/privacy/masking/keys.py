"""Personal values that hold rows together: primary, foreign and partition keys. All columns that a
foreign key ties together get the same pseudonyms in one transaction, so that they still meet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.filerefs import REASON
from biso_tasks.privacy.links import Node, components, node
from biso_tasks.privacy.masking.left import Left
from biso_tasks.privacy.masking.session import set_attempt, set_words
from biso_tasks.privacy.masking.table import TRIES, out_of_the_way
from biso_tasks.privacy.pseudonyms import pseudonym
from biso_tasks.privacy.sqltext import column_name, execute, ident, query, quiet, settle
from biso_tasks.privacy.writing import without_keys, writable

if TYPE_CHECKING:
    import psycopg

__all__ = ["is_key", "mask_keys"]


_ROOT: Final = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.pg_partition_root(%s::regclass)
"""

_BOUNDS: Final = (
    "a DEFAULT partition takes what fits no other, and partitions by HASH take anything; or let a "
    "plugin move these rows (biso_scrub)"
)


def is_key(column: Column) -> bool:
    """Whether other rows or the place of the row itself depend on the column."""
    return column.primary or column.foreign or column.partition


def mask_keys(
    stage: psycopg.Connection[Any], inventory: Sequence[Classified], keep: Collection[str],
    off: Collection[str],
) -> tuple[dict[str, int], tuple[Left, ...]]:  # fmt: skip
    """Rewrites every personal key of tables that are not in `keep`; gives the number of cells by
    `table.column`, and what had to stay. Call it last: without their keys, rows cannot be told
    apart any more. Raises StepFailed naming table and constraint, never a value."""
    tied = quiet("reading foreign keys", components, stage)
    groups: dict[Node, list[Classified]] = {}
    for one in inventory:
        column = one.column
        if column.kind == "table" and is_key(column) and not column.generated:
            groups.setdefault(tied.get(node(one), node(one)), []).append(one)
    counts: dict[str, int] = {}
    left: list[Left] = []
    for group in groups.values():
        personal = [one for one in group if one.personal]
        if not personal or any(one.kind in off for one in personal):
            continue
        if any(one.reason == REASON for one in group):
            continue  # names of files, renamed with them
        kept = [one.column for one in group if one.column.relation in keep]
        if kept:
            left += [
                Left(
                    one.column.label,
                    f"it is tied to {kept[0].label}, whose rows are the test instance's own",
                    "keep both tables, or neither ([refresh] keep_tables)",
                )
                for one in personal
                if one.column.relation not in keep
            ]
            continue
        done = _mask_group(stage, [one.column for one in group], personal[0].kind)
        if isinstance(done, Left):
            left.append(done)
        else:
            counts |= done
    return counts, tuple(left)


def _mask_group(
    stage: psycopg.Connection[Any], columns: Sequence[Column], kind: str
) -> dict[str, int] | Left:
    from psycopg.errors import CheckViolation, UniqueViolation

    label = min(column.label for column in columns)

    def once(attempt: int) -> dict[str, int] | Left | None:
        try:
            with stage.transaction():
                settle(stage)
                set_attempt(stage, attempt)
                set_words(stage, [])
                return _rewrite(stage, columns, kind, attempt)
        except UniqueViolation:
            if attempt + 1 == TRIES:
                raise
            return None
        except CheckViolation as error:
            if error.diag.constraint_name or not any(one.partition for one in columns):
                raise
            return Left(label, "no partition takes its pseudonym", _BOUNDS)

    for attempt in range(TRIES):
        done = quiet(f"masking the key {label}", once, attempt)
        if done is not None:
            return done
    return {}


def _rewrite(
    stage: psycopg.Connection[Any], columns: Sequence[Column], kind: str, attempt: int
) -> dict[str, int]:
    # Every column by the same rule and within the shortest, or two sides would differ.
    lengths = [one.type.length for one in columns if one.type.length is not None]
    shortest = min(lengths, default=None)
    counts: dict[str, int] = {}
    roots: dict[tuple[str, str], Column] = {}
    with ExitStack() as stack:
        targets: list[tuple[str, Column]] = []
        for column in columns:
            name = ident(column.name)
            rows = query(stage, f"SELECT count({name}) FROM ONLY {column.sql_table}")[0][0]
            if rows:
                counts[column.label] = rows
            if not column.partition:
                targets.append((f"ONLY {column.sql_table}", column))
                continue
            # A row that leaves its partition moves only where the whole table is written.
            schema, table = query(stage, _ROOT, (column.sql_table,))[0]
            if (schema, table) not in roots:
                root = replace(column, schema=schema, table=table)
                roots[schema, table] = root
                targets.append((root.sql_table, root))
        stack.enter_context(without_keys(stage, [*columns, *roots.values()]))
        for table in {one.sql_table: one for one in (*columns, *roots.values())}.values():
            stack.enter_context(writable(stage, table))
        for target, column in targets:
            cell = column_name("t", column.name)
            was = out_of_the_way(stage, target, replace(column, unique=True), attempt)
            made = pseudonym(replace(column.type, length=shortest), was, rule=kind, unique=True)
            execute(
                stage,
                f"UPDATE {target} AS t SET {ident(column.name)} = {made} "
                f"WHERE NOT ({cell} IS NULL)",
            )
    return counts
