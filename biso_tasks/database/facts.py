"""What a server, a database and the client programs beside it are: read, never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.host.answer import answered
from biso_tasks.host.command import Command

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Client", "Extension", "ServerFacts", "probe"]


@dataclass(frozen=True, slots=True)
class Client:
    """Client programs in one directory ("" is the PATH); versions are (major, minor), None where
    the program is missing."""

    bindir: str
    pg_dump: tuple[int, int] | None
    psql: tuple[int, int] | None
    pg_restore: bool


@dataclass(frozen=True, slots=True)
class Extension:
    """`commented`: somebody has changed the comment that it came with."""

    name: str
    version: str
    schema: str
    trusted: bool
    commented: bool = False


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`version` is server_version_num (150018); `provider` is "c", "i" or "b" (libc, ICU, builtin);
    `available` are the extensions a database here can have, with whether they are trusted;
    `locales` the libc collations and `icu` whether the server knows ICU; `clients` the usable
    client programs, those on the PATH first; `connections_left` for this role, `role_limited` where
    it is the role's own limit that counts; `hidden` the tables of which it may not see every
    row."""

    server: str
    version: int
    dbname: str
    encoding: str
    collate: str
    ctype: str
    provider: str
    icu_locale: str | None
    icu_rules: str | None
    bytes: int
    owner: str
    role: str
    superuser: bool
    createdb: bool
    has_admin: bool
    extensions: tuple[Extension, ...]
    available: tuple[tuple[str, bool], ...]
    locales: frozenset[str]
    icu: bool
    databases: frozenset[str]
    clients: tuple[Client, ...]
    connections_left: int
    large_objects: int
    event_triggers: tuple[str, ...]
    prepared: int
    hidden: tuple[str, ...] = ()
    role_limited: bool = False

    @property
    def major(self) -> int:
        return self.version // 10000

    def as_document(self) -> dict[str, Any]:
        """What a later load of this database's dump needs, as JSON and TOML hold it."""
        return {
            "server": self.server,
            "version": self.version,
            "dbname": self.dbname,
            "encoding": self.encoding,
            "collate": self.collate,
            "ctype": self.ctype,
            "provider": self.provider,
            **({} if self.icu_locale is None else {"icu_locale": self.icu_locale}),
            **({} if self.icu_rules is None else {"icu_rules": self.icu_rules}),
            "bytes": self.bytes,
            "owner": self.owner,
            "role": self.role,
            "extensions": [
                {
                    "name": e.name,
                    "version": e.version,
                    "schema": e.schema,
                    "trusted": e.trusted,
                    **({"commented": True} if e.commented else {}),
                }
                for e in self.extensions
            ],
            "event_triggers": list(self.event_triggers),
            "large_objects": self.large_objects,
        }

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> ServerFacts:
        """What `as_document` gave; of the rest nothing is known, so it comes back empty. Raises
        KeyError, TypeError or ValueError for anything else."""
        locale, rules = document.get("icu_locale"), document.get("icu_rules")
        return ServerFacts(
            server=str(document["server"]),
            version=int(document["version"]),
            dbname=str(document["dbname"]),
            encoding=str(document["encoding"]),
            collate=str(document["collate"]),
            ctype=str(document["ctype"]),
            provider=str(document["provider"]),
            icu_locale=None if locale is None else str(locale),
            icu_rules=None if rules is None else str(rules),
            bytes=int(document["bytes"]),
            owner=str(document["owner"]),
            role=str(document["role"]),
            extensions=tuple(
                Extension(
                    str(e["name"]),
                    str(e["version"]),
                    str(e["schema"]),
                    bool(e["trusted"]),
                    bool(e.get("commented", False)),
                )
                for e in document["extensions"]
            ),
            event_triggers=tuple(str(one) for one in document["event_triggers"]),
            large_objects=int(document["large_objects"]),
            superuser=False,
            createdb=False,
            has_admin=False,
            available=(),
            locales=frozenset(),
            icu=False,
            databases=frozenset(),
            clients=(),
            connections_left=0,
            prepared=0,
        )


def probe(server: Server, *, bindirs: Sequence[str] = ()) -> ServerFacts:
    """The facts of `server`'s live database, of its server, and of the client programs beside it
    (on the PATH, in Debian's /usr/lib/postgresql/*/bin, and in `bindirs`). Raises NotConnected."""
    with connect(server) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        return _read(server, connection, _clients(server, bindirs), _host_locales(server))


def _read(
    server: Server, connection: Connection, clients: tuple[Client, ...], locales: frozenset[str]
) -> ServerFacts:
    version = connection.info.server_version
    # the columns moved: daticulocale is 15 and 16, datlocale 17 and later, datlocprovider from 15
    provider = "datlocprovider::text" if version >= 150000 else "'c'"
    locale = "datlocale" if version >= 170000 else "daticulocale" if version >= 150000 else "NULL"
    rules = "daticurules" if version >= 160000 else "NULL"
    database = connection.execute(
        f"""SELECT datname, pg_encoding_to_char(encoding), datcollate, datctype, {provider},
                   {locale}, {rules}, pg_database_size(oid), pg_get_userbyid(datdba)
              FROM pg_database WHERE datname = current_database()""".encode()
    ).fetchone()
    assert database is not None
    role = connection.execute(
        """SELECT rolname, rolsuper, rolcreatedb OR rolsuper FROM pg_roles
            WHERE rolname = current_user"""
    ).fetchone()
    assert role is not None
    extensions = connection.execute(
        """SELECT e.extname, e.extversion, n.nspname, coalesce(bool_or(v.trusted), false),
                  coalesce(bool_or(v.name IS NOT NULL AND v.comment
                                   IS DISTINCT FROM obj_description(e.oid, 'pg_extension')), false)
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
             LEFT JOIN pg_available_extension_versions v
               ON v.name = e.extname AND v.version = e.extversion
            WHERE e.extname <> 'plpgsql' GROUP BY 1, 2, 3 ORDER BY 1"""
    ).fetchall()
    available = connection.execute(
        """SELECT a.name, bool_or(v.trusted OR NOT v.superuser)
             FROM pg_available_extensions a JOIN pg_available_extension_versions v
               ON v.name = a.name AND v.version = a.default_version GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    collations = connection.execute(
        "SELECT collcollate, collprovider::text FROM pg_collation WHERE collprovider IN ('c', 'i')"
    ).fetchall()
    databases = connection.execute("SELECT datname FROM pg_database").fetchall()
    numbers = connection.execute(
        """SELECT current_setting('max_connections')::int
                  - current_setting('superuser_reserved_connections')::int
                  - (SELECT count(*) FROM pg_stat_activity
                      WHERE backend_type = 'client backend' OR backend_type IS NULL)::int,
                  (SELECT count(*) FROM pg_largeobject_metadata)::int,
                  (SELECT count(*) FROM pg_prepared_xacts
                    WHERE database = current_database())::int,
                  (SELECT rolconnlimit - (SELECT count(*) FROM pg_stat_activity
                                           WHERE usename = rolname)::int
                     FROM pg_roles WHERE rolname = current_user AND NOT rolsuper
                      AND rolconnlimit >= 0)"""
    ).fetchone()
    assert numbers is not None
    free, of_role = numbers[0], numbers[3]
    hidden = connection.execute(
        """SELECT oid::regclass::text FROM pg_class
            WHERE relrowsecurity AND row_security_active(oid) ORDER BY 1"""
    ).fetchall()
    triggers = connection.execute("SELECT evtname FROM pg_event_trigger ORDER BY 1").fetchall()
    return ServerFacts(
        server=server.host.name,
        version=version,
        dbname=database[0],
        encoding=database[1],
        collate=database[2],
        ctype=database[3],
        provider=database[4],
        icu_locale=database[5],
        icu_rules=database[6],
        bytes=database[7],
        owner=database[8],
        role=role[0],
        superuser=role[1],
        createdb=role[2],
        has_admin=server.admin_user is not None,
        extensions=tuple(Extension(*row) for row in extensions),
        available=tuple((row[0], row[1]) for row in available),
        # from 17 on, a builtin or ICU collation has no collcollate
        locales=locales | {row[0] for row in collations if row[1] == "c" and row[0]},
        icu=any(row[1] == "i" for row in collations),
        databases=frozenset(row[0] for row in databases),
        clients=clients,
        connections_left=free if of_role is None else min(free, of_role),
        role_limited=of_role is not None and of_role < free,
        large_objects=numbers[1],
        prepared=numbers[2],
        event_triggers=tuple(row[0] for row in triggers),
        hidden=tuple(row[0] for row in hidden),
    )


# One line a directory: name|pg_dump's version line|psql's|pg_restore's. Where it runs there may be
# no bash.
_LIST = r"""
for d in "$@" "" /usr/lib/postgresql/*/bin; do
    p=${d:+$d/}
    command -v "${p}psql" >/dev/null 2>&1 || command -v "${p}pg_dump" >/dev/null 2>&1 || continue
    printf '%s|%s|%s|%s\n' "$d" "$("${p}pg_dump" --version 2>/dev/null)" \
        "$("${p}psql" --version 2>/dev/null)" "$("${p}pg_restore" --version 2>/dev/null)"
done
exit 0
"""


def _clients(server: Server, bindirs: Sequence[str]) -> tuple[Client, ...]:
    given = [*([server.bindir] if server.bindir else []), *bindirs]
    result = server.host.run(Command((*server.prefix, "sh", "-c", _LIST, "biso", *given)))
    found: dict[str, Client] = {}
    for line in result.text.splitlines():
        with answered(server.host.name, "its PostgreSQL programs"):
            directory, dump, psql, restore = line.rsplit("|", 3)
        found.setdefault(
            directory,
            Client(directory, _version(dump), _version(psql), _version(restore) is not None),
        )
    return tuple(found.values())


def _host_locales(server: Server) -> frozenset[str]:
    """What `locale -a` knows where the server runs: pg_collation has what was there at initdb."""
    here = ("", "localhost", "::1")
    if (
        not server.prefix
        and server.dsn.host not in here
        and not server.dsn.host.startswith(("/", "127."))
    ):
        return frozenset()
    result = server.host.run(Command((*server.prefix, "locale", "-a")), ok=None)
    return frozenset(result.text.splitlines()) if result.code == 0 else frozenset()


def _version(line: str) -> tuple[int, int] | None:
    match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", line)
    return (int(match[1]), int(match[2] or 0)) if match else None
