"""A server that lacks the application's database, or its role: what is there, making what is
missing, and taking that away again while nothing is in it.

A role's password never travels: what the server is given is what it stores, made here by libpq. So
it is in no argv, and in no server's log whatever that logs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from biso_tasks.database.admin import Admin, admin
from biso_tasks.database.connect import DatabaseFailed, NotConnected, connect
from biso_tasks.database.create import drop_busy, exists, locale_words
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.passwords import verifier
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import label
from biso_tasks.database.sqltext import Raw, compose, name
from biso_tasks.errors import Refused, StepFailed

__all__ = ["Ground", "Made", "lacks", "look", "make", "make_roles", "unmake"]

# Whatever a person or a program may have put there; what came with an extension is not counted.
_CONTENT = """
SELECT what FROM (
    SELECT n.nspname || '.' || c.relname AS what FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'the function ' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                          AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'the schema ' || nspname FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    UNION ALL
    SELECT 'the large object ' || oid FROM pg_largeobject_metadata) AS found
 ORDER BY 1 LIMIT 1"""


_TABLES = """
SELECT n.nspname::text AS schema, c.relname::text AS relation FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is there of one database: `role` whether the application's role is, `version` is
    server_version_num, `method` how the server keeps passwords. One that is "held" is an instance's
    own, with what is in it."""

    role: bool
    database: Literal["missing", "empty", "held"]
    version: int
    method: str


@dataclass(slots=True)
class Made:
    """What was made on servers: `databases` by their server, `roles` with one that may drop them.
    Filled while it is made, so that half of it can be taken away as well."""

    databases: list[Server] = field(default_factory=list)
    roles: list[tuple[Server, str]] = field(default_factory=list)


def lacks(server: Server) -> bool:
    """Whether the server has not the database, or not its role; False where nobody can tell."""
    try:
        with connect(server):
            return False
    except NotConnected as error:
        # A role that is not there has a wrong password, as far as a client is told.
        if error.reason not in ("database", "role", "password"):
            return False
    try:
        with admin(server) as role:
            ground = _read(role, server)
    except NotConnected:
        return False
    return not ground.role or ground.database == "missing"


def look(server: Server, environment: str, *, own: bool, known: Collection[str] = ()) -> Ground:
    """What is there of `server`'s database and role. Nothing is changed. `own`: the environment's
    own config.php leads there, so that whatever is in it is its own. Else one that holds something
    has to hold one of the tables `known` (by their labels).

    Raises Refused where a database holds something else or, empty, belongs to somebody else, where
    the role has another password, and where nobody may make what is missing."""
    dsn = server.dsn
    try:
        with admin(server) as role:
            ground = _read(role, server)
            able = role.user
            (rights,) = role.rows(
                """SELECT rolsuper::int AS super, rolcreaterole::int AS roles,
                          rolcreatedb::int AS databases
                     FROM pg_roles WHERE rolname = current_user"""
            )
            owners = role.rows(
                "SELECT pg_get_userbyid(datdba)::text AS r FROM pg_database WHERE datname = {}",
                dsn.dbname,
            )
    except NotConnected as error:
        if server.admin_user is not None:
            raise
        raise Refused(
            f"{error.message}; and there is nobody who could make the role {dsn.user!r}",
            hint=_remedy(environment),
        ) from error
    may_role, may_database = bool(rights[0] or rights[1]), bool(rights[0] or rights[2])
    if (not ground.role and not may_role) or (ground.database == "missing" and not may_database):
        what = "database" if ground.role else "role"
        raise Refused(
            f"{environment}: there is no {what} {dsn.dbname if ground.role else dsn.user!r} on the "
            f"server at {dsn.host or 'its socket'}:{dsn.port}, and {able!r} may not make one",
            hint=_remedy(environment),
        )
    if owners:
        held = own or _holds(server, environment, known)
        if not held:
            _require_owner(server, environment, str(owners[0][0]))
        ground = replace(ground, database="held" if held else "empty")
    if ground.role:
        _require_password(server, owners != [], environment, own=own)
    return ground


def make_roles(server: Server, ground: Ground, text: str, made: Made) -> list[str]:
    """Make the roles of `text` (a set's globals.sql) that are missing, and the application's role
    with the password of `server`'s dsn, where `ground` says that there is none. Gives notes."""
    notes = []
    with admin(server) as role:
        before = _roles(role)
        if text and server.admin_user is not None:
            try:
                role.execute(text, atomic=True)
            except DatabaseFailed as error:
                notes.append(f"the roles of db/globals.sql were not made: {error.message}")
        new = _roles(role) - before
        made.roles += [(server, one) for one in sorted(new)]
        user = server.dsn.user
        if ground.role:
            return notes
        if user not in new:
            role.execute(compose("CREATE ROLE {} LOGIN", name(user)))
            made.roles.append((server, user))
        method: Literal["md5", "scram-sha-256"] = (
            "md5" if ground.method == "md5" else "scram-sha-256"
        )
        stored = verifier(user, server.dsn.password, method)
        if stored:
            role.execute(compose("ALTER ROLE {} LOGIN PASSWORD {}", name(user), stored))
    return notes


def make(
    server: Server, ground: Ground, source: ServerFacts, made: Made, *, locale: str | None = None
) -> bool:
    """Make `server`'s database, empty, like `source` and owned by its role; whether there was none.
    Raises DatabaseFailed."""
    if ground.database != "missing":
        return False
    words = [
        compose("TEMPLATE template0 OWNER {} ENCODING {}", name(server.dsn.user), source.encoding),
        *locale_words(source, locale, ground.version),
    ]
    with admin(server) as role:
        statement = compose("CREATE DATABASE {} {}", name(server.dsn.dbname), Raw(" ".join(words)))
        role.execute(statement)
        made.databases.append(server)
        role.execute(compose("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(server.dsn.dbname)))
    return True


def unmake(made: Made) -> None:
    """Drop what was made, the last first. Raises StepFailed for a database in which something is
    by now, and DatabaseFailed: a role that owns something stays."""
    while made.databases:
        server = made.databases[-1]
        dbname = server.dsn.dbname
        with admin(server) as role:
            there = exists(role, dbname)
        if there:
            with admin(server, dbname) as inside:
                found = inside.rows(_CONTENT)
            if found:
                raise StepFailed(
                    f"{server} was made by this run and is not empty any more: it holds "
                    f"{found[0][0]}",
                    hint="somebody works in it; drop it by hand if it is not needed",
                )
            with admin(server) as role:
                drop_busy(role, dbname)
        made.databases.pop()
    while made.roles:
        server, user = made.roles[-1]
        with admin(server) as role:
            role.execute(compose("DROP ROLE IF EXISTS {}", name(user)))
        made.roles.pop()


def _read(role: Admin, server: Server) -> Ground:
    (found,) = role.rows(
        """SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = {})::int AS role,
                  current_setting('server_version_num')::int AS version,
                  current_setting('password_encryption') AS method""",
        server.dsn.user,
    )
    there = exists(role, server.dsn.dbname)
    return Ground(bool(found[0]), "empty" if there else "missing", int(found[1]), str(found[2]))


def _holds(server: Server, environment: str, known: Collection[str]) -> bool:
    """Whether the database holds something. Raises Refused where that is nothing of `known`."""
    with admin(server, server.dsn.dbname) as inside:
        found = inside.rows(_CONTENT)
        tables = {label(name(*map(str, row))) for row in inside.rows(_TABLES)} if known else set()
    if found and not tables & set(known):
        raise Refused(
            f"{environment}: a database {server.dsn.dbname!r} is there already and holds "
            f"{found[0][0]}, but there is no config.php that leads to it",
            hint="nothing of anybody's is overwritten: put the instance's config.php back into its "
            "webroot (an interrupted swap: `biso recover`), or drop or rename that database",
        )
    return bool(found)


def _require_owner(server: Server, environment: str, owner: str) -> None:
    dsn = server.dsn
    if owner != dsn.user:
        raise Refused(
            f"{environment}: a database {dsn.dbname!r} is there already, empty, and belongs to "
            f"{owner!r}, not to {dsn.user!r}",
            hint="drop it, or change its owner",
        )


def _require_password(server: Server, there: bool, environment: str, *, own: bool) -> None:
    dsn = server.dsn
    try:
        with connect(server, dsn.dbname if there else "postgres"):
            return
    except NotConnected as error:
        # Any other reason (no right to connect to "postgres") says nothing of the password.
        if error.reason == "password":
            config = "config.php" if own else "the set's config.php"
            raise Refused(
                f"{environment}: the role {dsn.user!r} is there already, with another password "
                f"than {config} has",
                hint=f'give it that one (`ALTER ROLE "{dsn.user}" PASSWORD …`), or name another '
                f"role: user under [environments.{environment}.database]",
            ) from error


def _remedy(environment: str) -> str:
    return (
        f'set `admin = {{ user = "postgres", run_as = "postgres" }}` under '
        f"[environments.{environment}.database]: the role that makes roles and databases"
    )


def _roles(role: Admin) -> set[str]:
    return {str(row[0]) for row in role.rows("SELECT rolname::text AS r FROM pg_roles")}
