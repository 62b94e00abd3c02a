"""What a database holds, as numbers and hashes that two servers can compare; fresh statistics."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import count, label, quiet, tables
from biso_tasks.database.sqltext import compose, query

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["analyze", "fingerprint"]

_LARGE: Final = 268_435_456  # bytes of a database from which more sessions are worth their start
_SESSIONS: Final = 4
_BY_SIZE: Final = """SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND c.relpersistence <> 't' ORDER BY pg_catalog.pg_table_size(c.oid) DESC"""


def fingerprint(connection: Connection) -> dict[str, Any]:
    """`tables`: rows and a hash of their content that does not depend on their order, a table;
    `sequences`; `large_objects`: a hash each. Equal for equal contents on any version from 13.
    Reads everything. Call it in a REPEATABLE READ transaction where others write."""
    # a row's text depends on these; the time zone of a session must not make a difference
    for setting, value in (
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
    ):
        connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
    counts = count(connection)
    hashes: dict[str, tuple[int, str]] = {}
    for table in tables(connection):
        row = connection.execute(
            query(
                compose(
                    # a sum, not an xor: equal rows must not cancel out. COLLATE "C": bytes count
                    """SELECT count(*), coalesce(sum(hashtextextended(
                              t::text COLLATE "C", 0)::numeric), 0)::text FROM ONLY {} AS t""",
                    table,
                )
            )
        ).fetchone()
        assert row is not None
        hashes[label(table)] = (int(row[0]), str(row[1]))
    objects = {
        int(row[0]): str(row[1])
        for row in connection.execute(
            "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata"
        ).fetchall()
    }
    return {"tables": hashes, "sequences": dict(counts.sequences), "large_objects": objects}


def analyze(server: Server, dbname: str) -> None:
    """Give the planner statistics of `dbname`: a loaded database has none, and after masking
    `pg_statistic` still holds the most common values of before. The tables of a large one side by
    side. Raises DatabaseFailed."""
    with _analyzing(server, dbname) as connection:
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        if size is None or size[0] < _LARGE:
            connection.execute("ANALYZE")
            return
        # The largest first, or one of them would be left over for the end.
        left = queue.SimpleQueue[str]()
        for (table,) in connection.execute(_BY_SIZE.encode()).fetchall():
            left.put(table)

    def work() -> None:
        with suppress(queue.Empty), _analyzing(server, dbname) as session:
            while True:
                session.execute(query(f"ANALYZE {left.get_nowait()}"))

    with ThreadPoolExecutor(_SESSIONS) as pool:
        for done in [pool.submit(work) for _ in range(_SESSIONS)]:
            done.result()
    # Of a partitioned table the whole, from a sample of its partitions.
    with _analyzing(server, dbname) as connection:
        for table in tables(connection, "p"):
            connection.execute(query(compose("ANALYZE {}", table)))


@contextmanager
def _analyzing(server: Server, dbname: str) -> Iterator[Connection]:
    with connect(server, dbname, autocommit=True) as connection:
        quiet(connection)
        connection.execute("SET client_min_messages = error")  # catalogues are the superuser's
        yield connection
