"""Waiting for writers that were let in before maintenance came on: once they are done, rows and
files are of one moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.database.connect import connect
from biso_tasks.database.server import APPLICATION, Server
from biso_tasks.database.snapshot import quiet as no_timeouts
from biso_tasks.database.sqltext import compose, query
from biso_tasks.errors import Interrupted

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Watch", "drain", "watch"]

_PAUSE: Final = 0.025  # seconds between two looks

# What a session of another role does is hidden (its state is null), its locks are not: a writer
# holds the one on its transaction id. Autovacuum has no role; a walsender is not always to be told
# apart, but writes nothing.
_SESSIONS: Final = """
SELECT a.pid, coalesce(a.usename::text, '?'), coalesce(a.application_name, ''),
       coalesce(a.state, CASE WHEN w.pid IS NULL THEN 'hidden' ELSE 'writing' END),
       a.backend_start, a.state_change,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change))::float8
  FROM pg_stat_activity a
  LEFT JOIN (SELECT DISTINCT pid FROM pg_locks
              WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted) w USING (pid)
 WHERE a.datname = current_database() AND a.usesysid IS NOT NULL
   AND a.pid <> pg_backend_pid() AND coalesce(a.application_name, '') <> {}
   AND coalesce(a.backend_type, 'client backend') = 'client backend'
 ORDER BY a.pid"""
# Rows written by sessions that came and went between two looks: they are counted when one ends.
_WRITTEN: Final = """
SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database
 WHERE datname = current_database()"""


@dataclass(frozen=True, slots=True)
class _Look:
    """`writers`: sessions that are in a transaction, as lines; `traces`: what changes whenever
    anybody does anything."""

    writers: tuple[str, ...]
    traces: tuple[Any, ...]


class Watch:
    """Connections that are open already, so that none of maintenance is spent on making them: by
    the names of their databases."""

    __slots__ = ("_connections",)

    def __init__(self, connections: Sequence[tuple[str, Connection]]) -> None:
        self._connections = connections

    def drain(
        self,
        *,
        cancel: threading.Event,
        longest: float = 10.0,
        quiet: float = 0.15,
        also: Callable[[], bool] | None = None,
    ) -> tuple[str, ...]:
        """Wait, `longest` seconds at the most, until no session of any of the databases is in a
        transaction and for `quiet` seconds none has come, gone or done anything; `also` says
        whether something else is still busy. () then, else notes that name what was still open.

        Sessions of other roles are hidden from the application's: they are waited for where their
        locks show that they write. Raises Interrupted, DatabaseFailed."""
        end = time.monotonic() + longest
        known, since = self._look(), time.monotonic()
        outside = False
        while True:
            if cancel.wait(_PAUSE):
                raise Interrupted("interrupted while waiting for writers in the database")
            asked = time.monotonic()
            look = self._look()
            if look.writers or look.traces != known.traces:
                known, since, outside = look, time.monotonic(), False
            elif asked - since >= quiet:
                # Who held a file a moment ago may write its row now: `also` first, then one look.
                outside = also is not None and also()
                if not outside and (also is None or self._look() == known):
                    return ()
                since = time.monotonic()
            if time.monotonic() >= end:
                return _notes(look, longest, outside)

    def _look(self) -> _Look:
        looks = [_look(dbname, connection) for dbname, connection in self._connections]
        return _Look(
            tuple(writer for look in looks for writer in look.writers),
            tuple(look.traces for look in looks),
        )


def _look(dbname: str, connection: Connection) -> _Look:
    rows = connection.execute(query(compose(_SESSIONS, APPLICATION))).fetchall()
    written = connection.execute(query(_WRITTEN)).fetchone()
    writers = tuple(
        f"pid {pid} of {user}{f' ({application})' if application else ''} in {dbname}: {state}"
        + (f", {age:.1f} s" if age is not None else "")
        for pid, user, application, state, _, _, age in rows
        if state not in {"idle", "hidden", "disabled"}
    )
    traces = tuple((row[0], row[3], row[4], row[5]) for row in rows)
    return _Look(writers, (traces, written))


@contextmanager
def watch(*servers: Server) -> Iterator[Watch]:
    """Connect to each as the application's role; to none, where only something else can be busy.
    Raises NotConnected."""
    with ExitStack() as stack:
        connections = []
        for server in servers:
            connection = stack.enter_context(connect(server, autocommit=True))
            no_timeouts(connection)
            connections.append((server.dsn.dbname, connection))
        yield Watch(connections)


def drain(
    server: Server,
    *,
    cancel: threading.Event,
    longest: float = 10.0,
    quiet: float = 0.15,
    also: Callable[[], bool] | None = None,
) -> tuple[str, ...]:
    """`Watch.drain` on a connection of its own."""
    with watch(server) as watching:
        return watching.drain(cancel=cancel, longest=longest, quiet=quiet, also=also)


def _notes(look: _Look, longest: float, outside: bool) -> tuple[str, ...]:
    waited = f"after {longest:g} s"
    if look.writers:
        return tuple(f"{waited} still in a transaction: {writer}" for writer in look.writers)
    if outside:
        return (f"{waited} files of the data dir were still open for writing",)
    return (f"{waited} sessions still came and went",)
