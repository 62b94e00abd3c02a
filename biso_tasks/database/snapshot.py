"""A database as it was at one moment: exported, so that dump and counts see the very same rows.

The exporting transaction must live until every importer has imported it: a server's
`idle_in_transaction_session_timeout` would end it, and a silent network would lose it. It holds
ACCESS SHARE locks on every table, as pg_dump does, so that no migration comes between two dumps of
one snapshot. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from biso_tasks.database.connect import DatabaseFailed, connect, told
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import Name, compose, name, query

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Counts", "Snapshot", "count", "differences", "export", "tables"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What can be compared in a moment. Keys are `schema.name`, quoted where they need to be.
    `tables` holds rows by table, partitions each on its own; `sequences` (last value, is called);
    `matviews` rows, or None where it is not populated: they are computed again by a load."""

    tables: Mapping[str, int]
    sequences: Mapping[str, tuple[int, bool]]
    matviews: Mapping[str, int | None]
    large_objects: int

    @property
    def rows(self) -> int:
        return sum(self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """As JSON and TOML hold it: -1 for a view that is not populated, since TOML has no null."""
        return {
            "tables": dict(self.tables),
            "sequences": {key: list(value) for key, value in self.sequences.items()},
            "matviews": {key: -1 if n is None else n for key, n in self.matviews.items()},
            "large_objects": self.large_objects,
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Counts:
        """What `as_dict` gave. Raises KeyError, TypeError or ValueError for anything else."""
        views = dict(document["matviews"])
        return Counts(
            {str(key): int(rows) for key, rows in dict(document["tables"]).items()},
            {
                str(key): (int(last), bool(called))
                for key, (last, called) in dict(document["sequences"]).items()
            },
            # None: how an intent was written before there were sets
            {str(k): None if n is None or int(n) < 0 else int(n) for k, n in views.items()},
            int(document["large_objects"]),
        )


class Snapshot:
    """An exported snapshot; `id` goes to `pg_dump --snapshot`. Valid inside `export`'s block."""

    __slots__ = ("connection", "id", "server")

    def __init__(self, connection: Connection, id: str, server: str) -> None:
        self.connection = connection
        self.id = id
        self.server = server

    def counts(self) -> Counts:
        """The counts of the very snapshot. Reads every table once. Raises DatabaseFailed."""
        with told(self.server):
            return count(self.connection)

    def bytes(self) -> int:
        """The database's size on its server's disk. Raises DatabaseFailed."""
        text = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"
        with told(self.server):
            found = self.connection.execute(text.encode()).fetchone()
        return int(found[0]) if found else 0


@contextmanager
def export(server: Server, *, lock_timeout: float = 60.0) -> Iterator[Snapshot]:
    """Export a snapshot of `server`'s database for as long as the block runs. Raises NotConnected,
    and DatabaseFailed where a table stays locked by somebody for `lock_timeout` seconds."""
    import psycopg

    with connect(server, autocommit=True) as connection:
        quiet(connection)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL row_security = off")  # an error, not fewer rows
        # the id first: it is the snapshot that the locks then protect
        found = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert found is not None
        connection.execute(query(compose("SET LOCAL lock_timeout = {}", int(lock_timeout * 1000))))
        held = [*tables(connection), *tables(connection, "p")]
        try:
            if held:
                listed = ", ".join(compose("ONLY {}", table) for table in held)
                connection.execute(query(f"LOCK TABLE {listed} IN ACCESS SHARE MODE"))
        except psycopg.errors.LockNotAvailable as error:
            raise DatabaseFailed(
                f"{server}: a table is locked by another session",
                hint="is a migration running there? Try again when it has ended",
            ) from error
        connection.execute("SET LOCAL lock_timeout = 0")
        try:
            yield Snapshot(connection, str(found[0]), str(server))
        finally:
            # A server that is gone has let go of it as well: nothing is left to be undone.
            with suppress(psycopg.OperationalError):
                connection.execute("ROLLBACK")


def quiet(connection: Connection) -> None:
    """Switch off every timeout a role or database may have set: they end long work half-way."""
    for setting in (
        "statement_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
    ):
        # not every version has all of them
        connection.execute(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = %s", (setting,)
        )


# relations of the site's own: no system schemas, nothing that an extension brought
_OWN = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind = {} AND c.relpersistence <> 't'
             AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
             AND NOT EXISTS (SELECT FROM pg_depend d
                              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                AND d.deptype = 'e')
           ORDER BY 1, 2"""


def tables(connection: Connection, kind: str = "r") -> list[Name]:
    """The site's own relations of one `relkind`: r table, p partitioned, S sequence, m matview."""
    found = connection.execute(query(compose(_OWN, kind))).fetchall()
    return [name(*row) for row in found]


def count(connection: Connection) -> Counts:
    """The counts of what the connection sees now. Raises psycopg's errors as they are."""
    connection.execute("SELECT set_config('row_security', 'off', false)")
    plain = {
        label(table): _one(connection, compose("SELECT count(*) FROM ONLY {}", table))
        for table in tables(connection)
    }
    sequences = {}
    for sequence in tables(connection, "S"):
        row = connection.execute(
            query(compose("SELECT last_value, is_called FROM {}", sequence))
        ).fetchone()
        assert row is not None
        sequences[label(sequence)] = (int(row[0]), bool(row[1]))
    matviews: dict[str, int | None] = {}
    for view in tables(connection, "m"):
        populated = _one(
            connection,
            compose(
                "SELECT relispopulated::int FROM pg_class WHERE oid = {}::regclass",
                label(view),
            ),
        )
        matviews[label(view)] = (
            _one(connection, compose("SELECT count(*) FROM {}", view)) if populated else None
        )
    objects = _one(connection, "SELECT count(*) FROM pg_largeobject_metadata")
    return Counts(plain, sequences, matviews, objects)


def differences(
    source: Counts, target: Counts, *, without: frozenset[str] = frozenset()
) -> list[str]:
    """What differs, one line each; `without` names tables whose rows were left behind on purpose.
    Materialised views are compared by being there and populated."""
    found = []
    for kind, before, after in (
        ("table", source.tables, target.tables),
        ("sequence", source.sequences, target.sequences),
    ):
        for key in sorted({*before, *after}):
            if key in without:
                continue
            if key not in after:
                found.append(f"{kind} {key} is missing")
            elif key not in before:
                found.append(f"{kind} {key} should not be there")
            elif before[key] != after[key]:
                found.append(f"{kind} {key} has {after[key]}, expected {before[key]}")
    for key in sorted({*source.matviews, *target.matviews}):
        one, two = source.matviews.get(key, -1), target.matviews.get(key, -1)
        if (one == -1) != (two == -1) or (one is None) != (two is None):
            found.append(f"materialised view {key} differs")
    if source.large_objects != target.large_objects:
        found.append(f"{target.large_objects} large objects, expected {source.large_objects}")
    return found


def label(table: Name) -> str:
    """A table's qualified, quoted name: what messages show and `::regclass` takes."""
    return compose("{}", table)


def _one(connection: Connection, text: str) -> int:
    row = connection.execute(query(text)).fetchone()
    assert row is not None
    return int(row[0])
