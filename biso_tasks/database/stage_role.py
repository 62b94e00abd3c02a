"""A role that owns a stage and nothing else, so that nobody reads it before it is proven: the
application's role, whose password developers have, is no member of it and may not connect. The
other way round it is one: what the application may do, migrations in the stage may do.

It goes with the stage. Before the swap everything that it owns is given to the application's role.

Traps, and what answers them

- `REASSIGN OWNED` takes the databases of the old owner along, whichever it is run in: it is only
  ever run *by* a stage role, which owns one.
- It holds a lock on every table, index and sequence until its end, which the server has no room for
  where there are many: so tables go first, one by one.
- It leaves default privileges and what was granted to the old owner: those are given anew, and
  DROP OWNED takes the rest away.
- A role's own settings are not inherited: the application may find its tables by its search_path,
  and `"$user"` in it is another name now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from biso_tasks.database import grants
from biso_tasks.database.admin import Admin, admin
from biso_tasks.database.connect import DatabaseFailed, connect
from biso_tasks.database.extensions import grant_extension
from biso_tasks.database.names import stage_name
from biso_tasks.database.passwords import generate, verifier
from biso_tasks.database.server import Server
from biso_tasks.database.settings import assignment, elements
from biso_tasks.database.sqltext import Raw, compose, name
from biso_tasks.errors import Refused
from biso_tasks.values import Secret

__all__ = [
    "StageRole",
    "drop_role",
    "extend_role",
    "give_over",
    "left_role",
    "make_role",
    "stage_role",
    "why_none",
]

_OURS: Final = "biso-tasks: owns the stage of "
# From this version on, who may make roles may change only those that are given to it.
_BOUNDED: Final = 160000


@dataclass(frozen=True, slots=True)
class StageRole:
    """Its name and its password, which is in memory and in the stage's config.php only."""

    name: str
    password: Secret


def stage_role(server: Server) -> StageRole:
    """A role for the stage of `server`'s live database, with a new password; it is not made yet."""
    return StageRole(stage_name(server.dsn.dbname), generate())


def why_none(server: Server) -> str:
    """Why no role of its own can own the stage of `server`'s live database, "" where one can.
    Nothing is changed. Raises NotConnected."""
    if server.admin_user is None:
        return "no `admin` is set, who could make a role for it"
    if not server.dsn.password:
        return (
            f"the role {server.dsn.user!r} has no password (peer, trust, a certificate), and "
            "another role could not log in like that"
        )
    with admin(server) as role:
        (found,) = role.rows(
            """SELECT me.rolsuper::int AS super, current_setting('server_version_num')::int AS v,
                      (SELECT string_agg(quote_ident(r.rolname), ', ') FROM pg_roles r, pg_roles app
                        WHERE app.rolname = {} AND pg_has_role(app.oid, r.oid, 'MEMBER')
                          AND (r.rolsuper OR r.rolcreaterole
                               AND current_setting('server_version_num')::int < {})) AS might
                 FROM pg_roles me WHERE me.rolname = current_user""",
            server.dsn.user,
            _BOUNDED,
        )
        who = role.user
        inside = _lets_in(role)
    if not found[0]:
        return f"{who!r} is no superuser, and cannot give a stage from one role to another"
    if found[2] is not None:
        return (
            f"the role {server.dsn.user!r} is a superuser, or one who may change any role, or a "
            f"member of one ({found[2]})"
        )
    if not inside:
        return "no line of pg_hba.conf lets any role into any database by its password"
    return ""


def _lets_in(superuser: Admin) -> bool:
    """Whether pg_hba.conf has a line for any role and database with a password: which of its lines
    is for the way that we take is the server's to say, so this is what can be known beforehand."""
    try:
        rules = superuser.rows(
            """SELECT count(*)::int AS n FROM pg_hba_file_rules
                WHERE error IS NULL AND 'all' = ANY (user_name) AND 'all' = ANY (database)
                  AND auth_method IN ('scram-sha-256', 'md5', 'password', 'trust')"""
        )
    except DatabaseFailed:
        return True
    return bool(rules[0][0])


def make_role(admin: Admin, server: Server, role: StageRole, *, seconds: float) -> None:
    """Make it: it may log in for `seconds`, and finds tables as the application's role does. Raises
    Refused where somebody else's has its name, and DatabaseFailed."""
    there = admin.rows("SELECT 1 AS one FROM pg_roles WHERE rolname = {}", role.name)
    if there and not drop_role(admin, server):
        raise Refused(
            f"there is a role {role.name!r} on the server of {server.host.name} that is not of "
            "this tool",
            hint=f"drop or rename it: the stage of {server.dsn.dbname!r} would belong to it",
        )
    who = name(role.name)
    stored = verifier(role.name, role.password)
    admin.execute(
        compose(
            "CREATE ROLE {} LOGIN PASSWORD {} VALID UNTIL {}", who, stored, _until(admin, seconds)
        ),
        compose("COMMENT ON ROLE {} IS {}", who, _OURS + server.dsn.dbname),
        # Migrations may use what the application's role was granted.
        compose("GRANT {} TO {}", name(server.dsn.user), who),
        *(
            compose("ALTER ROLE {} {}", who, Raw(assignment(setting, value)))
            for setting, value in _settings(admin, server.dsn.user)
        ),
        atomic=True,
    )


def extend_role(admin: Admin, role: StageRole, *, seconds: float) -> None:
    """It may log in for `seconds` from now on, if it is there."""
    if admin.rows("SELECT 1 AS one FROM pg_roles WHERE rolname = {}", role.name):
        until = _until(admin, seconds)
        admin.execute(compose("ALTER ROLE {} VALID UNTIL {}", name(role.name), until))


def left_role(admin: Admin, server: Server) -> str:
    """The stage role that is there, "" where there is none of ours, or nobody who could drop it.
    Nothing is changed."""
    if server.admin_user is None:
        return ""
    found = admin.rows(
        """SELECT rolname::text AS r FROM pg_roles
            WHERE rolname = {} AND shobj_description(oid, 'pg_authid') = {}""",
        stage_name(server.dsn.dbname),
        _OURS + server.dsn.dbname,
    )
    return str(found[0][0]) if found else ""


def drop_role(admin: Admin, server: Server) -> str:
    """Drop the stage role of `server`'s live database, once its database is gone or given over: its
    name, "" where there is none of ours, or nobody who could. Raises DatabaseFailed while it owns
    something."""
    left = left_role(admin, server)
    if left:
        admin.execute(compose("DROP ROLE {}", name(left)))
    return left


def give_over(server: Server, dbname: str, role: StageRole, extensions: Sequence[str] = ()) -> None:
    """Give the database `dbname` and everything in it from `role` to the application's role, and
    drop `role`. `server` names the live database, `extensions` those that the admin made there.
    Raises DatabaseFailed: then `dbname` is unusable and the caller drops it."""
    own = replace(server, dsn=replace(server.dsn, user=role.name, password=role.password))
    with connect(own, dbname) as connection:
        later = [one for one in grants.read(connection) if one.target.startswith("DEFAULT ")]
    old, new = name(role.name), name(server.dsn.user)
    with admin(server, dbname) as superuser:
        given = [
            statement
            for extension in extensions
            for statement in grant_extension(superuser, extension, server.dsn.user)
        ]
        tables = superuser.rows(_RELATIONS, role.name)
        superuser.execute(
            *(compose("ALTER TABLE {} OWNER TO {}", name(*map(str, one)), new) for one in tables)
        )
        superuser.execute(
            compose("REASSIGN OWNED BY {} TO {}", old, new),
            compose("DROP OWNED BY {}", old),
            *given,
            atomic=True,
        )
        drop_role(superuser, server)
    if later:
        grants.apply(server, dbname, later, source_role=role.name)


# Indexes, TOAST and the sequences of columns go with their tables.
_RELATIONS: Final = """
SELECT n.nspname::text AS schema, c.relname::text AS relation
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relowner = (SELECT oid FROM pg_roles WHERE rolname = {})
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                      AND c.relkind = 'S')"""


def _until(admin: Admin, seconds: float) -> str:
    """By the server's clock, which is the one that counts."""
    ((until,),) = admin.rows(
        "SELECT (now() + {} * interval '1 second')::text AS until", int(seconds)
    )
    return str(until)


def _settings(admin: Admin, user: str) -> list[tuple[str, str]]:
    """What the application's role has set for itself, wherever it is connected."""
    rows = admin.rows(
        """SELECT split_part(c.setting, '=', 1) AS setting,
                  substr(c.setting, strpos(c.setting, '=') + 1) AS value
             FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole,
                  unnest(s.setconfig) AS c(setting)
            WHERE s.setdatabase = 0 AND r.rolname = {} ORDER BY 1""",
        user,
    )
    found = {str(setting): str(value) for setting, value in rows}
    # That is a role which the stage's is no member of.
    found.pop("role", None)
    if "search_path" not in found:
        ((found["search_path"],),) = admin.rows(
            "SELECT reset_val AS v FROM pg_settings WHERE name = 'search_path'"
        )
    schemas = [user if one == "$user" else one for one in elements(found["search_path"])]
    quoted = (one.replace('"', '""') for one in schemas)
    found["search_path"] = ", ".join(f'"{one}"' for one in quoted)
    return sorted(found.items())
