"""Ending the sessions of a database: one by one, those that may not be ended found beforehand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from biso_tasks.database.admin import Admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.database.sqltext import Raw, compose
from biso_tasks.errors import BisoError, StepFailed

__all__ = ["count_sessions", "end_sessions", "refuse_unmovable"]


def refuse_unmovable(admin: Admin, present: Mapping[str, int]) -> None:
    """What would keep a database busy, found before anybody is shut out: sessions that this role
    may not end, prepared transactions. `present` is names with oids. Raises StepFailed."""
    oids = list(present.values())
    until = time.monotonic() + 1.0  # a superuser's session may just be ending
    while foreign := _foreign(admin, oids):
        if time.monotonic() > until:
            shown = ", ".join(f"{user} in {db} (pid {pid})" for pid, db, user in foreign)
            raise StepFailed(
                f"{admin.user!r} may not end these sessions, which hold the databases: {shown}",
                hint='end them, or set `admin = { user = "postgres", run_as = "postgres" }`',
            )
        time.sleep(0.05)
    prepared = admin.rows(
        "SELECT gid, database::text AS db FROM pg_prepared_xacts WHERE database = ANY({})",
        list(present),
    )
    if prepared:
        shown = ", ".join(f"{gid!r} in {db}" for gid, db in prepared)
        raise StepFailed(
            f"prepared transactions hold the databases: {shown}",
            hint="COMMIT PREPARED or ROLLBACK PREPARED them",
        )


def _foreign(admin: Admin, oids: list[int]) -> list[tuple[Any, ...]]:
    """Sessions that this role may not end."""
    return admin.rows(
        """SELECT a.pid, a.datname::text AS datname, a.usename::text AS usename
             FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid, pg_roles me
            WHERE me.rolname = current_user AND a.datid::bigint = ANY({}::bigint[])
              AND NOT me.rolsuper AND a.pid <> pg_backend_pid()
              AND (r.rolsuper OR NOT (pg_has_role(a.usesysid, 'USAGE')
                                      OR pg_has_role('pg_signal_backend', 'USAGE')))""",
        oids,
    )


# pg_stat_clear_snapshot: inside one transaction pg_stat_activity is read once and kept.
# usesysid: autovacuum workers have none, only a superuser may end them, and RENAME sees to them.
_END = """DO $end$
DECLARE
    until timestamptz := clock_timestamp() + {} * interval '1 second';
    who record;
    many int;
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        many := 0;
        FOR who IN SELECT pid FROM pg_stat_activity
                    WHERE datid::bigint = ANY({}::bigint[]) AND usesysid IS NOT NULL
                      AND pid <> pg_backend_pid()
        LOOP
            many := many + 1;
            BEGIN
                PERFORM pg_terminate_backend(who.pid);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END LOOP;
        EXIT WHEN many = 0;
        IF clock_timestamp() > until THEN
            RAISE EXCEPTION '% sessions could not be ended', many;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END $end$"""


def count_sessions(admin: Admin, present: Mapping[str, int]) -> int:
    """How many sessions these databases (names with oids) have."""
    count = admin.rows(
        """SELECT count(*)::int AS n FROM pg_stat_activity
            WHERE datid::bigint = ANY({}::bigint[]) AND usesysid IS NOT NULL
              AND pid <> pg_backend_pid()""",
        list(present.values()),
    )
    return int(count[0][0])


def end_sessions(
    admin: Admin, present: Mapping[str, int], grace: float, *, first: Sequence[str] = ()
) -> None:
    """End every session in these databases (names with oids) and wait until they are gone; `first`
    is executed before, in the same round trip. Raises DatabaseFailed naming those left after
    `grace` seconds."""
    oids = list(present.values())
    try:
        admin.execute(*first, compose(_END, Raw(repr(float(grace))), oids))
    except DatabaseFailed as error:
        try:
            left = admin.rows(
                """SELECT pid, coalesce(usename::text, '?') AS usename,
                          coalesce(application_name, '') AS application
                     FROM pg_stat_activity WHERE datid::bigint = ANY({}::bigint[])""",
                oids,
            )
        except BisoError:
            raise error from None  # the connection went with it; it says why
        shown = ", ".join(f"pid {pid} of {user} {app}".strip() for pid, user, app in left)
        raise DatabaseFailed(
            f"{error.message}: {shown}", hint="end them by hand and try again"
        ) from error
