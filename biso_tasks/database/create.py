"""Make and drop the databases that stand beside a live one, and no others."""

from __future__ import annotations

from typing import Final

from biso_tasks.database.admin import Admin
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.names import baseline_name, previous_name, stage_name
from biso_tasks.database.server import Server
from biso_tasks.database.sessions import end_sessions
from biso_tasks.database.sqltext import Raw, compose, name
from biso_tasks.errors import Refused

__all__ = [
    "HALF_DROPPED",
    "beside",
    "create",
    "drop",
    "drop_busy",
    "exists",
    "locale_words",
    "oid",
]

HALF_DROPPED: Final = -2
"""pg_database.datconnlimit of a database whose DROP was cut off, by a crash of the server: nobody
can connect to it, and whoever alters it loses the connection. Source: DATCONNLIMIT_INVALID_DB."""
_GRACE: Final = 10.0  # seconds


def beside(server: Server, dbname: str) -> None:
    """Raises Refused unless `dbname` is the stage, previous or baseline of the live database."""
    live = server.dsn.dbname
    if dbname not in (stage_name(live), previous_name(live), baseline_name(live)):
        raise Refused(
            f"{dbname!r} is neither the stage nor the previous nor the baseline of {live!r} and is "
            "left alone",
            hint="only those are ever made or dropped",
        )


def create(
    admin: Admin,
    server: Server,
    dbname: str,
    source: ServerFacts,
    *,
    owner: str = "",
    locale: str | None = None,
    version: int = 0,
) -> None:
    """Create `dbname`, empty, with `source`'s encoding and locale (or `locale`), owned by `owner`,
    by default the application's role, closed to all others until the swap. `server` names the live
    database; `version` is the target's server_version_num (0: as the source's). Raises Refused,
    DatabaseFailed.

    template0, because template1 may hold objects and refuses another encoding.
    """
    beside(server, dbname)
    owner = owner or server.dsn.user
    parts = [
        compose("TEMPLATE template0 OWNER {} ENCODING {}", name(owner), source.encoding),
        *locale_words(source, locale, version or source.version),
        # Whoever came in while it is everybody's would stay in.
        "ALLOW_CONNECTIONS false",
    ]
    admin.execute(
        compose("CREATE DATABASE {} {}", name(dbname), Raw(" ".join(parts))),
        compose("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(dbname)),
        compose("ALTER DATABASE {} ALLOW_CONNECTIONS true", name(dbname)),
    )


def drop(admin: Admin, server: Server, dbname: str) -> bool:
    """Drop the stage, previous or baseline of `server`'s live database, ending its sessions;
    whether it was there. Raises Refused for any other name."""
    beside(server, dbname)
    return drop_busy(admin, dbname)


def drop_busy(admin: Admin, dbname: str) -> bool:
    """Drop a database that this tool has made, ending its sessions; whether it was there. Raises
    DatabaseFailed, naming the sessions that this role may not end.

    Not WITH (FORCE): that refuses, to whoever is no superuser, while autovacuum works there, and
    without it the server ends autovacuum by itself."""
    found = admin.rows(
        "SELECT oid::bigint AS oid, datconnlimit = {} AS half FROM pg_database WHERE datname = {}",
        HALF_DROPPED,
        dbname,
    )
    if not found:
        return False
    number, half = found[0]
    # Of one whose dropping was cut off nothing is left to connect to, and to alter it is fatal.
    if not half:
        block = compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(dbname))
        end_sessions(admin, {dbname: int(number)}, _GRACE, first=[block])
    admin.execute(compose("DROP DATABASE {}", name(dbname)))
    return True


def exists(admin: Admin, dbname: str) -> bool:
    return oid(admin, dbname) is not None


def oid(admin: Admin, dbname: str) -> int | None:
    """The database's oid, which a rename does not change; None where there is none."""
    found = admin.rows("SELECT oid::bigint AS oid FROM pg_database WHERE datname = {}", dbname)
    return int(found[0][0]) if found else None


def locale_words(source: ServerFacts, locale: str | None, version: int) -> list[str]:
    """What CREATE DATABASE on a server of `version` is given for `source`'s locale, or `locale`."""
    if locale is not None:
        provider = ["LOCALE_PROVIDER libc"] if version >= 150000 else []
        return [*provider, compose("LC_COLLATE {} LC_CTYPE {}", locale, locale)]
    words = [compose("LC_COLLATE {} LC_CTYPE {}", source.collate, source.ctype)]
    if version < 150000:
        return words
    if source.provider == "i":
        words.append(compose("LOCALE_PROVIDER icu ICU_LOCALE {}", source.icu_locale))
        if source.icu_rules is not None:
            words.append(compose("ICU_RULES {}", source.icu_rules))
    elif source.provider == "b":
        words.append(compose("LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", source.icu_locale))
    else:
        words.append("LOCALE_PROVIDER libc")
    return words
