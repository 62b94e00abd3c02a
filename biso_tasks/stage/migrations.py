"""Migrations that production has and test's code does not know: the copy would run under code that
is older than its schema.

Test's code knows what its own database has applied, and what `migration list` says is pending. What
production has applied beyond both is unknown to it. The table that remembers them is found by its
name, since BISO's contract does not give one.
"""

from __future__ import annotations

import re

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import compose, name, query
from biso_tasks.instance.app import App

__all__ = ["unknown_migrations"]

_TABLES = """
SELECT n.nspname, c.relname, a.attname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN LATERAL (
        SELECT a.attname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           AND (t.typcategory = 'S' OR t.typname IN ('int4', 'int8', 'numeric'))
         ORDER BY (a.attname ~* '(name|version|migration|file|datei)') DESC,
                  t.typcategory = 'S' DESC, a.attnum
         LIMIT 1) a ON true
 WHERE c.relkind = 'r' AND c.relname ~* '(^|_)migrations?($|_)'
   AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2"""


def unknown_migrations(source: Server, target: Server, target_app: App) -> tuple[str, ...]:
    """Names of migrations applied on the source that the target's code does not know; empty where
    no table of either database remembers migrations."""
    applied = _applied(source)
    if not applied:
        return ()
    unknown = applied - _applied(target)
    if not unknown:
        return ()
    pending = target_app.pending_migrations()
    return tuple(sorted(one for one in unknown if not any(_same(one, line) for line in pending)))


def _same(applied: str, line: str) -> bool:
    """Whether a line of `migration list` speaks of this one: "0004_mail" of "0004_mail.sql", or
    "Version20240101" of "20240101"."""
    if applied in line or line in applied:
        return True
    numbers = [re.sub(r"\D", "", text).lstrip("0") for text in (applied, line)]
    return numbers[0] != "" and numbers[0] == numbers[1]


def _applied(server: Server) -> set[str]:
    with connect(server) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        found: set[str] = set()
        for schema, table, column in connection.execute(_TABLES.encode()).fetchall():
            rows = connection.execute(
                query(compose("SELECT {}::text FROM {}", name(column), name(schema, table)))
            )
            found |= {row[0] for row in rows if row[0]}
        return found
