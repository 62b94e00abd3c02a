"""Whether two connections lead to one cluster, and to one database, by what they are.

A test machine cloned from production shares system_identifier, machine-id and host keys; an alias
or a tunnel leads anywhere. An advisory lock does not lie: taken on one connection under a random
key, it is in the other's `pg_locks` only if both talk to the same running server. Any role sees it,
from any database.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["database_identity", "same_cluster", "same_database"]


def database_identity(connection: Connection) -> str | None:
    """What a database can be known by later, without its server: cluster and oid. A copy of the
    server's files has the same. None where this role may not know."""
    may = connection.execute(
        "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
    ).fetchone()
    if may != (True,):
        return None
    found = connection.execute(
        """SELECT system_identifier::text || '/' || oid::text
             FROM pg_control_system(), pg_database WHERE datname = current_database()"""
    ).fetchone()
    return None if found is None else str(found[0])


def same_cluster(a: Connection, b: Connection) -> bool:
    """Whether `a` and `b` talk to one running server. Takes and releases a session lock on `a`."""
    return _lock_seen(a, b) is not None


def same_database(a: Connection, b: Connection) -> bool:
    """Whether `a` and `b` talk to one database of one running server."""
    seen = _lock_seen(a, b)
    if seen is None:
        return False
    own = b.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    return own is not None and seen == own[0]


def _lock_seen(a: Connection, b: Connection) -> int | None:
    """The oid of the database in which `b` sees the lock that `a` holds."""
    # two 31-bit halves: pg_locks shows them as oids, and the pair form marks itself by objsubid 2
    high, low = secrets.randbits(31), secrets.randbits(31)
    taken = a.execute("SELECT pg_try_advisory_lock(%s::int, %s::int)", (high, low)).fetchone()
    assert taken == (True,)
    try:
        found = b.execute(
            """SELECT database FROM pg_locks WHERE locktype = 'advisory' AND granted
                  AND classid = %s::bigint::oid AND objid = %s::bigint::oid AND objsubid = 2""",
            (high, low),
        ).fetchone()
    finally:
        a.execute("SELECT pg_advisory_unlock(%s::int, %s::int)", (high, low))
    return None if found is None else int(found[0])
