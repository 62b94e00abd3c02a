"""A database kept as the template of another: a copy of it costs no load. Nobody can connect to it,
and its comment says what it is a copy of; one without that comment was never finished.
"""

from __future__ import annotations

from biso_tasks.database.admin import Admin
from biso_tasks.database.create import beside, drop
from biso_tasks.database.names import baseline_name
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import Raw, compose, name

__all__ = ["copy_template", "drop_unfinished", "finish_template"]

_MARK = "biso-tasks baseline "


def finish_template(admin: Admin, server: Server, id: str) -> None:
    """Close the filled baseline database of `server`'s live one and say that it is the set `id`."""
    dbname = baseline_name(server.dsn.dbname)
    admin.execute(
        compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(dbname)),
        compose("COMMENT ON DATABASE {} IS {}", name(dbname), _MARK + id),
    )


def copy_template(admin: Admin, server: Server, dbname: str, id: str, *, version: int) -> bool:
    """Make `dbname` a copy of the baseline database, owned by the application's role and closed to
    all others; False where there is none of the set `id`. `version` is server_version_num. Raises
    DatabaseFailed."""
    beside(server, dbname)
    baseline = baseline_name(server.dsn.dbname)
    if _comment(admin, baseline) != _MARK + id:
        return False
    # Through the WAL a large database takes several times as long; before 15 files were copied.
    strategy = "STRATEGY file_copy" if version >= 150000 else ""
    admin.execute(
        compose(
            "CREATE DATABASE {} TEMPLATE {} OWNER {} {}",
            name(dbname),
            name(baseline),
            name(server.dsn.user),
            Raw(strategy),
        ),
        compose("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(dbname)),
    )
    return True


def drop_unfinished(admin: Admin, server: Server) -> str:
    """Drop a baseline database that a killed run left half filled: its name, "" where there is
    none. The caller holds the environment."""
    baseline = baseline_name(server.dsn.dbname)
    if (_comment(admin, baseline) or "").startswith(_MARK):
        return ""
    return baseline if drop(admin, server, baseline) else ""


def _comment(admin: Admin, dbname: str) -> str | None:
    found = admin.rows(
        "SELECT shobj_description(oid, 'pg_database') AS said FROM pg_database WHERE datname = {}",
        dbname,
    )
    return None if not found or found[0][0] is None else str(found[0][0])
