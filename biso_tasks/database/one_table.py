"""One table of a loaded dump, brought into a schema of its own in the live database.

What comes is rows and column types, as CREATE TABLE AS would give them: no keys, no defaults, no
triggers, so that nothing in the live database is touched by it or depends on it. All of it happens
in one transaction, which is committed only by what the source prints behind its last row: a stream
that is cut leaves nothing.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from biso_tasks.database.admin import admin, flush
from biso_tasks.database.client import APPEND, LOAD, client_command, password_line
from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import label
from biso_tasks.database.sqltext import Name, Raw, compose, name, query
from biso_tasks.database.transfer import Leg, transfer
from biso_tasks.errors import ProofFailed, Refused, UsageError

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["bring_table", "find_table", "require_free_place"]

_LABEL: Final = re.compile(r'"((?:[^"]|"")*)"\."((?:[^"]|"")*)"', re.DOTALL)
# As pg_dump sets them: what a role or a database has set must not change how a value is written.
_SESSION: Final = (
    "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; "
    "SET extra_float_digits = 3; SET client_min_messages = warning; SET row_security = off; "
    # a block: what a SELECT gives would be among the rows
    "DO $$ BEGIN PERFORM pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings "
    "WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', "
    "'idle_session_timeout', 'transaction_timeout'); END $$"
)
_COLUMNS: Final = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
  FROM pg_attribute a WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum"""


def find_table(labels: Iterable[str], wanted: str) -> Name:
    """The table that a person means by "table" or "schema.table", among `labels` (as
    `Counts.tables` has them). Names are as the server shows them, dots and quotes included; a table
    of the schema public needs no schema. Raises Refused where there is none, naming what is near,
    and UsageError where more than one can be meant."""
    known = [name(*(part.replace('""', '"') for part in found.groups()))
             for found in map(_LABEL.fullmatch, labels) if found]  # fmt: skip
    exact = [one for one in known if ".".join(one.parts) == wanted or label(one) == wanted]
    bare = [one for one in known if one.parts[1] == wanted]
    public = [one for one in bare if one.parts[0] == "public"]
    found = list(dict.fromkeys([*exact, *(public or bare)]))
    if not found:
        names = [".".join(one.parts) for one in known] + [one.parts[1] for one in known]
        near = difflib.get_close_matches(wanted, names, 3)
        raise Refused(
            f"the set has no table {wanted!r}",
            hint=f"did you mean {', '.join(near)}?"
            if near
            else "`biso show` lists its tables; of a partitioned table, each partition is one",
        )
    if len(found) > 1:
        raise UsageError(
            f"--table {wanted!r} can mean {' or '.join(map(label, found))}",
            hint="write one of them, quotes included",
        )
    return found[0]


def require_free_place(server: Server, place: Name) -> None:
    """Raises Refused where `server`'s live database has such a table already, or the application's
    role may not make a schema in it. Nothing is changed."""
    schema, table = place.parts
    with connect(server) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        row = connection.execute(
            """SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                               WHERE n.nspname = %s AND c.relname = %s),
                      EXISTS (SELECT FROM pg_namespace WHERE nspname = %s),
                      has_database_privilege(current_database(), 'CREATE')""",
            (schema, table, schema),
        ).fetchone()
    assert row is not None
    there, has_schema, may = row
    if there:
        raise Refused(
            f"{label(place)} is in {server} already: this table of this set was restored before",
            hint=f"drop it when it is not needed any more: DROP TABLE {label(place)}",
        )
    if not has_schema and not may:
        raise Refused(
            f"the role {server.dsn.user!r} may not make the schema {schema!r} in {server}",
            hint=f'GRANT CREATE ON DATABASE "{server.dsn.dbname}" TO "{server.dsn.user}"',
        )


def bring_table(
    server: Server,
    source: Server,
    table: Name,
    place: Name,
    rows: int,
    *,
    cancel: threading.Event,
    timeout: float | None = None,
) -> None:
    """Copy `table` of the database that `source` names to `place` in `server`'s live
    database; the schema is made where it is missing. Raises StepFailed where that fails (a column's
    type that the live database does not have), and ProofFailed where not exactly `rows` rows
    arrive: then nothing is left of it."""
    with connect(source) as connection:
        connection.execute("SELECT set_config('search_path', 'pg_catalog', false)")
        columns = connection.execute(query(compose(_COLUMNS, label(table)))).fetchall()
    made = ", ".join(compose("{} {}", name(column), Raw(type_)) for column, type_ in columns)
    picked = ", ".join(compose("{}", name(column)) for column, _ in columns)
    schema = place.parts[0]
    head = "; ".join(
        (
            _SESSION,
            "BEGIN",
            compose("CREATE SCHEMA IF NOT EXISTS {}", name(schema)),
            compose("CREATE TABLE {} ({})", place, Raw(made)),
        )
    )
    begin = compose("SELECT {}", compose("COPY {} FROM stdin;", place))
    give = compose("COPY (SELECT {} FROM ONLY {}) TO STDOUT", Raw(picked), table)
    words = source.client_words(
        "psql",
        *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"),
        *(f"--command={text}" for text in (_SESSION, begin, give)),
    )
    from_leg = Leg(
        server.host,
        client_command(source, APPEND, "\\.\nCOMMIT;\n", *words),
        password_line(source.dsn),
    )
    to_leg = Leg(
        server.host,
        client_command(server, LOAD, head, *server.client_words("psql")),
        password_line(server.dsn),
    )
    what = f"copying {label(table)} into {server}"
    with connect(server) as connection:
        had = _has_schema(connection, schema)
    transfer(from_leg, to_leg, what, route="local", cancel=cancel, timeout=timeout)
    with connect(server) as connection:
        row = connection.execute(query(compose("SELECT count(*) FROM {}", place))).fetchone()
        assert row is not None
        if row[0] != rows:
            connection.execute(query(compose("DROP TABLE {}", place)))
            if not had:
                connection.execute(query(compose("DROP SCHEMA {}", name(schema))))
            connection.commit()
            raise ProofFailed(
                f"{label(table)} came with {row[0]} rows, and the set recorded {rows}",
                hint="nothing of it was left; please report this with the run's journal",
            )
    with admin(server) as role:
        flush(role)  # whoever is told that it is there finds it after a crash as well


def _has_schema(connection: Connection, schema: str) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", (schema,)
    ).fetchone()
    return row == (True,)
