"""Tables of the stage made writable for set-based updates: triggers would write the originals
elsewhere, forced row security would hide rows, foreign keys would refuse one half of a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.sqltext import execute, ident, query

if TYPE_CHECKING:
    import psycopg

__all__ = ["all_rows", "without_keys", "writable"]

_ENABLE: Final = {
    "O": "ENABLE TRIGGER",
    "R": "ENABLE REPLICA TRIGGER",
    "A": "ENABLE ALWAYS TRIGGER",
}

# Of a partition's constraint only the one at the top can be dropped and made.
_KEYS: Final = """
WITH RECURSIVE hit AS (
    SELECT k.oid, k.conparentid FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_attribute a ON a.attname = %s AND a.attrelid = %s::regclass
    WHERE k.contype = 'f' AND (k.conrelid = a.attrelid AND a.attnum = ANY (k.conkey)
        OR k.confrelid = a.attrelid AND a.attnum = ANY (k.confkey))
    UNION SELECT p.oid, p.conparentid FROM hit
        JOIN pg_catalog.pg_constraint p ON p.oid = hit.conparentid
)
SELECT DISTINCT n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid),
    pg_catalog.quote_literal(pg_catalog.obj_description(k.oid, 'pg_constraint'))
FROM hit JOIN pg_catalog.pg_constraint k USING (oid)
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.conparentid = 0
"""


@contextmanager
def all_rows(conn: psycopg.Connection[Any], table: Column) -> Iterator[None]:
    """FORCE ROW LEVEL SECURITY taken off for the block. Inside a transaction."""
    forced = query(
        conn,
        "SELECT relforcerowsecurity FROM pg_catalog.pg_class WHERE oid = %s::regclass",
        (table.sql_table,),
    )[0][0]
    if forced:
        execute(conn, f"ALTER TABLE {table.sql_table} NO FORCE ROW LEVEL SECURITY")
    yield
    if forced:
        execute(conn, f"ALTER TABLE {table.sql_table} FORCE ROW LEVEL SECURITY")


@contextmanager
def writable(conn: psycopg.Connection[Any], table: Column) -> Iterator[None]:
    """No trigger of people's fires within the block, and all rows are seen; afterwards all is as it
    was. Inside a transaction, which undoes it when the block raises."""
    triggers = query(
        conn,
        "SELECT tgname, tgenabled::text FROM pg_catalog.pg_trigger "
        "WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled <> 'D'",
        (table.sql_table,),
    )
    with all_rows(conn, table):
        # Only a superuser may set session_replication_role; the owner may do this.
        for name, _ in triggers:
            execute(conn, f"ALTER TABLE {table.sql_table} DISABLE TRIGGER {ident(name)}")
        yield
        # ALTER TABLE refuses while deferred checks are pending.
        execute(conn, "SET CONSTRAINTS ALL IMMEDIATE")
        for name, state in triggers:
            execute(conn, f"ALTER TABLE {table.sql_table} {_ENABLE[state]} {ident(name)}")


@contextmanager
def without_keys(conn: psycopg.Connection[Any], columns: Sequence[Column]) -> Iterator[None]:
    """The foreign keys of and to `columns` taken off for the block and checked when they are put
    back: both sides can change. Inside a transaction."""
    found: dict[tuple[str, str, str], tuple[str, str | None]] = {}
    for column in columns:
        for schema, table, name, text, comment in query(
            conn, _KEYS, (column.name, column.sql_table)
        ):
            found[schema, table, name] = (text, comment)
    for schema, table, name in found:
        execute(conn, f"ALTER TABLE {ident(schema, table)} DROP CONSTRAINT {ident(name)}")
    yield
    for (schema, table, name), (text, comment) in found.items():
        where = ident(schema, table)
        execute(conn, f"ALTER TABLE {where} ADD CONSTRAINT {ident(name)} {text}")
        if comment is not None:
            execute(conn, f"COMMENT ON CONSTRAINT {ident(name)} ON {where} IS {comment}")
