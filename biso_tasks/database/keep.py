"""Rows of the test instance that survive a refresh: `[refresh] keep_tables`.

The live database's rows replace the stage's in one transaction. TRUNCATE refuses a table that a
foreign key points at, DELETE would cascade into others, and switching foreign keys off needs a
superuser: so the keys that touch the tables are taken off and put on again at the end, which checks
every row. Where one does not hold, nothing of it happens, and the message names the key.
"""

from __future__ import annotations

import difflib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biso_tasks.database.client import APPEND, LOAD, client_command, password_line
from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import export, label
from biso_tasks.database.sqltext import Name, Raw, compose, name, query
from biso_tasks.database.transfer import Leg, transfer
from biso_tasks.errors import Refused, StepFailed

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = [
    "Kept",
    "around",
    "check_names",
    "check_tables",
    "find_tables",
    "keep_tables",
    "keys_and_triggers",
]


@dataclass(frozen=True, slots=True)
class Kept:
    """A table whose rows survive."""

    table: Name
    columns: frozenset[str]
    sequences: tuple[Name, ...]
    root: bool  # named by the site; the others are its partitions and heirs
    rows: bool  # False for a partitioned table, whose rows are all in its partitions


def check_names(live: Connection, wanted: Sequence[str], *, key: str = "keep_tables") -> list[str]:
    """Why `wanted` does not name tables whose rows can be kept; empty where it does. A name is
    `table` or `schema.table`, written as the server shows it, without quotes; `key` is where the
    site wrote it."""
    problems = []
    for word in wanted:
        roots = sorted(label(kept.table) for kept in find_tables(live, word) if kept.root)
        if not roots:
            problems.append(
                f"{key}: there is no table {word!r} in the test instance{_meant(live, word)}"
            )
        if len(roots) > 1:
            problems.append(f"{key}: {word!r} means more than one table: {', '.join(roots)}")
    return problems


def _meant(live: Connection, word: str) -> str:
    rows = live.execute(
        """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind IN ('r', 'p') AND nspname <> 'information_schema' AND nspname !~ '^pg_'"""
    ).fetchall()
    known = {text.casefold(): text for row in rows for text in (row[1], ".".join(row))}
    bare = word.replace('"', "").casefold()
    close = difflib.get_close_matches(bare, known, n=1)
    return f" (did you mean {known[close[0]]!r}?)" if close else ""


def check_tables(
    live: Connection, stage: Connection, wanted: Sequence[str], *, key: str = "keep_tables"
) -> list[str]:
    """Why the rows of `wanted` cannot be kept; empty where they can."""
    problems = check_names(live, wanted, key=key)
    for word in wanted:
        old, new = find_tables(live, word), find_tables(stage, word)
        there = {kept.table: kept.columns for kept in new}
        for kept in old:
            if kept.table not in there:
                problems.append(f"{key}: there is no table {label(kept.table)} in the stage")
                continue
            for sequence in sorted(label(s) for s in kept.sequences):
                found = stage.execute("SELECT to_regclass(%s) IS NOT NULL", (sequence,)).fetchone()
                if found != (True,):
                    problems.append(f"{key}: there is no sequence {sequence} in the stage")
            for column in sorted(kept.columns - there[kept.table]):
                problems.append(
                    f"{key}: {label(kept.table)} has a column {column!r} in the test "
                    "instance that the stage does not have"
                )
    return problems


def keep_tables(
    server: Server,
    at_stage: Server,
    wanted: Sequence[str],
    *,
    cancel: threading.Event,
    timeout: float | None = None,
) -> dict[str, int]:
    """Replace the rows of `wanted` in the database that `at_stage` names by those of `server`'s
    live database, with their sequences; the rows by table. Raises Refused where a table or column
    is missing (nothing was changed), StepFailed where a foreign key does not hold (nothing was
    changed) or the rows are not all there."""
    if not wanted:
        return {}
    nonce = f"biso-tasks {secrets.token_hex(16)}"
    with export(server) as snapshot, connect(at_stage, autocommit=True) as connection:
        problems = check_tables(snapshot.connection, connection, wanted)
        if problems:
            raise Refused("; ".join(problems), hint="correct keep_tables in [refresh]")
        connection.execute("SELECT set_config('search_path', '', false)")  # qualified definitions
        kept = [table for word in wanted for table in find_tables(snapshot.connection, word)]
        head, tail = around(connection, kept)
        comment = connection.execute(
            """SELECT shobj_description(oid, 'pg_database') FROM pg_database
                WHERE datname = current_database()"""
        ).fetchone()
        stage = name(at_stage.dsn.dbname)
        mark = compose("COMMENT ON DATABASE {} IS {}", stage, nonce)
        from_leg = Leg(
            server.host,
            client_command(
                server,
                APPEND,
                f"{tail}{mark};\nCOMMIT;\n",
                *server.client_words(
                    "pg_dump",
                    f"--snapshot={snapshot.id}",
                    "--data-only",
                    "--no-owner",
                    "--no-privileges",
                    "--lock-wait-timeout=60s",
                    *(f"--table={label(table.table)}" for table in kept),
                    # setval() is not undone when the transaction fails: that comes afterwards
                    *(
                        f"--exclude-table-data={label(s)}"
                        for table in kept
                        for s in table.sequences
                    ),
                ),
            ),
            password_line(server.dsn),
        )
        to_leg = Leg(
            server.host,
            client_command(at_stage, LOAD, head, *at_stage.client_words("psql")),
            password_line(at_stage.dsn),
        )
        transfer(from_leg, to_leg, "keeping rows", route="local", cancel=cancel, timeout=timeout)
        found = connection.execute(
            """SELECT shobj_description(oid, 'pg_database') FROM pg_database
                WHERE datname = current_database()"""
        ).fetchone()
        if found is None or found[0] != nonce:
            raise StepFailed("the kept rows did not all arrive in the stage; nothing was changed")
        connection.execute(
            query(compose("COMMENT ON DATABASE {} IS {}", stage, comment[0] if comment else None))
        )
        result = {}
        for sequence in (s for table in kept for s in table.sequences):
            row = snapshot.connection.execute(
                query(compose("SELECT last_value, is_called FROM {}", sequence))
            ).fetchone()
            assert row is not None
            connection.execute("SELECT setval(%s::regclass, %s, %s)", (label(sequence), *row))
        for table in kept:
            text = query(compose("SELECT count(*) FROM ONLY {}", table.table))
            before = snapshot.connection.execute(text).fetchone()
            after = connection.execute(text).fetchone()
            assert before is not None
            assert after is not None
            if before != after:
                raise StepFailed(
                    f"{label(table.table)} has {after[0]} rows in the stage, expected {before[0]}"
                )
            result[label(table.table)] = int(before[0])
    return result


def find_tables(connection: Connection, word: str) -> list[Kept]:
    """The table, or all tables of that name, each with its partitions and heirs: `pg_dump --table`
    of a partitioned table brings no rows."""
    rows = connection.execute(
        """WITH RECURSIVE family AS (
               SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
                  AND (c.relname = %(word)s OR n.nspname || '.' || c.relname = %(word)s)
               UNION SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid)
           SELECT n.nspname, c.relname,
                  c.relname = %(word)s OR n.nspname || '.' || c.relname = %(word)s,
                  c.relkind = 'r',
                  ARRAY(SELECT attname::text FROM pg_attribute a
                         WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                           AND attgenerated = ''),
                  ARRAY(SELECT ARRAY[sn.nspname::text, s.relname::text]
                          FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                          JOIN pg_namespace sn ON sn.oid = s.relnamespace
                         WHERE d.refobjid = c.oid AND d.deptype IN ('a', 'i')
                           AND d.classid = 'pg_class'::regclass
                           AND d.refclassid = 'pg_class'::regclass)
             FROM family JOIN pg_class c ON c.oid = family.oid
             JOIN pg_namespace n ON n.oid = c.relnamespace
            ORDER BY c.relkind DESC, 1, 2""",
        {"word": word},
    ).fetchall()
    return [
        Kept(
            name(schema, table),
            frozenset(columns),
            tuple(name(*s) for s in sequences or ()),
            root,
            filled,
        )
        for schema, table, root, filled, columns, sequences in rows
    ]


def around(connection: Connection, kept: Sequence[Kept]) -> tuple[str, str]:
    """SQL before and after the rows: foreign keys and triggers off and on, BEGIN, old rows out."""
    before = ["SET client_encoding = 'UTF8'", "SET client_min_messages = warning", "BEGIN"]
    off, on = keys_and_triggers(connection, [label(table.table) for table in kept])
    before += off
    filled = [label(table.table) for table in kept if table.rows]
    if filled:
        before.append(compose("TRUNCATE ONLY {}", Raw(", ONLY ".join(filled))))
    after = ["SET client_encoding = 'UTF8'", *on]
    return "".join(f"{s};\n" for s in before), "".join(f"{s};\n" for s in after)


def keys_and_triggers(connection: Connection, tables: Sequence[str]) -> tuple[list[str], list[str]]:
    """Statements that take the foreign keys from and to `tables` (quoted) and their triggers off,
    and put them on again. Names in them are complete only while nothing is on the search_path."""
    keys = connection.execute(
        """SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid),
                  obj_description(k.oid, 'pg_constraint')
             FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE k.contype = 'f' AND k.conparentid = 0
              AND (k.conrelid = ANY(%(tables)s::regclass[])
                   OR k.confrelid = ANY(%(tables)s::regclass[])
                   OR EXISTS (SELECT FROM pg_constraint part
                               WHERE part.conparentid = k.oid
                                 AND (part.conrelid = ANY(%(tables)s::regclass[])
                                      OR part.confrelid = ANY(%(tables)s::regclass[]))))
            ORDER BY 1, 2, 3""",
        {"tables": list(tables)},
    ).fetchall()
    triggers = connection.execute(
        """SELECT t.tgrelid::regclass::text, t.tgname, t.tgenabled::text FROM pg_trigger t
            WHERE t.tgrelid = ANY(%s::regclass[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D'""",
        (list(tables),),
    ).fetchall()
    before, after = [], []
    states = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    for schema, table, key, definition, comment in keys:
        on = name(schema, table)
        before.append(compose("ALTER TABLE {} DROP CONSTRAINT {}", on, name(key)))
        after.append(compose("ALTER TABLE {} ADD CONSTRAINT {} {}", on, name(key), Raw(definition)))
        if comment is not None:
            after.append(compose("COMMENT ON CONSTRAINT {} ON {} IS {}", name(key), on, comment))
    for table, trigger, state in triggers:
        before.append(compose("ALTER TABLE {} DISABLE TRIGGER {}", Raw(table), name(trigger)))
        after.append(
            compose("ALTER TABLE {} {} TRIGGER {}", Raw(table), Raw(states[state]), name(trigger))
        )
    return before, after
