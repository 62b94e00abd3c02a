"""A database kept as the template of another: a copy of it costs no load. Nobody can connect to it.

Its comment says that it is ours, and of which set it is a copy, once it is filled. A database of
that name without such a comment is somebody else's, and neither copied nor dropped.
"""

from __future__ import annotations

from biso_tasks.database.admin import Admin
from biso_tasks.database.create import HALF_DROPPED, beside, create, drop, exists
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.names import baseline_name
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import Raw, compose, name
from biso_tasks.errors import StepFailed

__all__ = [
    "begin_template",
    "copy_template",
    "drop_template",
    "finish_template",
    "unfinished_template",
]

_OURS = "biso-tasks baseline "
_UNFINISHED = "(not filled yet)"


def begin_template(admin: Admin, server: Server, source: ServerFacts) -> str:
    """Make the baseline database of `server`'s live one, empty, in the place of an older one of
    ours: its name. Raises StepFailed where somebody else's has that name, DatabaseFailed."""
    dbname = baseline_name(server.dsn.dbname)
    drop_template(admin, server)
    if exists(admin, dbname):
        raise StepFailed(
            f"there is a database {dbname!r} that is not of this tool",
            hint="drop or rename it, if a reset shall be quick",
        )
    create(admin, server, dbname, source, version=source.version)
    _say(admin, dbname, _UNFINISHED)
    return dbname


def finish_template(admin: Admin, server: Server, id: str) -> None:
    """Close the filled baseline database, and say that it is the set `id`."""
    dbname = baseline_name(server.dsn.dbname)
    admin.execute(compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(dbname)))
    _say(admin, dbname, id)


def copy_template(admin: Admin, server: Server, dbname: str, id: str, *, version: int) -> bool:
    """Make `dbname` a copy of the baseline database, owned by the application's role and closed to
    all others; False where there is none of the set `id`. `version` is server_version_num. Raises
    DatabaseFailed."""
    beside(server, dbname)
    baseline = baseline_name(server.dsn.dbname)
    if _said(admin, baseline) != id:
        return False
    # Through the WAL a large database takes several times as long; before 15 files were copied.
    strategy = "STRATEGY file_copy" if version >= 150000 else ""
    admin.execute(
        compose(
            "CREATE DATABASE {} TEMPLATE {} OWNER {} ALLOW_CONNECTIONS false {}",
            name(dbname),
            name(baseline),
            name(server.dsn.user),
            Raw(strategy),
        ),
        compose("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(dbname)),
        compose("ALTER DATABASE {} ALLOW_CONNECTIONS true", name(dbname)),
    )
    return True


def drop_template(admin: Admin, server: Server, *, unfinished: bool = False) -> str:
    """Drop the baseline database if it is ours, with `unfinished` only where a killed run left it
    half filled: its name, "" where there was nothing to drop. The caller holds the environment."""
    baseline = baseline_name(server.dsn.dbname)
    said = _said(admin, baseline)
    if said is None or (unfinished and said != _UNFINISHED):
        return ""
    drop(admin, server, baseline)
    return baseline


def unfinished_template(admin: Admin, server: Server) -> str:
    """The baseline database that a killed run left half filled, or "". Nothing is changed."""
    baseline = baseline_name(server.dsn.dbname)
    return baseline if _said(admin, baseline) == _UNFINISHED else ""


def _say(admin: Admin, dbname: str, what: str) -> None:
    admin.execute(compose("COMMENT ON DATABASE {} IS {}", name(dbname), _OURS + what))


def _said(admin: Admin, dbname: str) -> str | None:
    """What our comment says; None for a database that is not ours, or not there. One of ours whose
    dropping was cut off is as one that was never finished."""
    found = admin.rows(
        """SELECT shobj_description(oid, 'pg_database') AS said, datconnlimit = {} AS half
             FROM pg_database WHERE datname = {}""",
        HALF_DROPPED,
        dbname,
    )
    text, half = found[0] if found else (None, False)
    if text is None or not text.startswith(_OURS):
        return None
    return _UNFINISHED if half else str(text).removeprefix(_OURS)
