"""The roles that one database uses, as SQL that makes them on a server that lacks them: a set's
db/globals.sql.

`pg_dumpall --globals-only` needs a superuser and gives every role of the cluster. Here it is the
owners and grantees inside the database, whoever has settings in it, the groups they are in, and the
members of those that are groups themselves: people log in as them. Only pg_authid has the
passwords' hashes, and only a superuser (or an admin) reads that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from biso_tasks.database.admin import Admin
from biso_tasks.database.settings import assignment
from biso_tasks.database.sqltext import Raw, compose, name, query

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["block", "globals_sql"]


def globals_sql(connection: Connection, admin: Admin | None = None) -> tuple[str, tuple[str, ...]]:
    """SQL that makes the roles which `connection`'s database uses, and what is missing in it, one
    line each. It may run again, with psql or any client, as a superuser: a role that exists is left
    as it is, memberships are given. Passwords come from `admin`, where it may read them, or from
    `connection`. Raises DatabaseFailed."""
    rows = connection.execute(query(_ROLES)).fetchall()
    hashes = _hashes(connection, admin, [row[0] for row in rows])
    settings = connection.execute(query(_SETTINGS)).fetchall()
    parts = [_HEADER]
    for role in rows:
        own = [(setting, value) for owner, setting, value in settings if owner == role[0]]
        parts.append(_create(role, None if hashes is None else hashes.get(role[0]), own))
    newer = connection.info.server_version >= 160000
    given = connection.execute(query(_MEMBERS_16 if newer else _MEMBERS)).fetchall()
    parts += [_membership(row) for row in given]
    bare = [row[0] for row in rows if row[5]] if hashes is None else []
    missing = (
        [
            f"passwords of the roles {', '.join(map(repr, bare))}: only a superuser may read them "
            "(set `admin`)"
        ]
        if bare
        else []
    )
    return "\n".join(parts), tuple(missing)


def block(*statements: str) -> str:
    """A DO block with these statements, whatever they hold."""
    body = "\n".join(["BEGIN", *(f"  {one};" for one in statements), "END"])
    tag = "$biso$"
    while tag in body:
        tag = f"{tag[:-1]}_$"
    return f"DO {tag}\n{body}\n{tag};\n"


_HEADER = """-- The roles that the database uses. Run it as a superuser, before the database is
-- loaded: psql -X -v ON_ERROR_STOP=1 -d postgres -f globals.sql
-- A role that exists is left as it is.

SET client_encoding = 'UTF8';
"""

# Used: what pg_shdepend says of this database (owners, privileges, policies, user mappings) and of
# the database itself, and whoever has settings in it. The bootstrap superuser (oid 10) is recorded
# nowhere, exists everywhere and is left alone.
_CLOSURE = """
WITH RECURSIVE db AS (SELECT oid, datdba FROM pg_database WHERE datname = current_database()),
used AS (
    SELECT refobjid AS oid FROM pg_shdepend s, db
     WHERE s.refclassid = 'pg_authid'::regclass
       AND (s.dbid = db.oid OR (s.dbid = 0 AND s.classid = 'pg_database'::regclass
                                AND s.objid = db.oid))
    UNION SELECT datdba FROM db
    UNION SELECT setrole FROM pg_db_role_setting s, db WHERE s.setdatabase = db.oid AND setrole <> 0
    UNION SELECT oid FROM pg_roles WHERE rolname = current_user),
above AS (
    SELECT oid FROM used
    UNION SELECT m.roleid FROM pg_auth_members m JOIN above ON m.member = above.oid),
below AS (
    SELECT oid FROM used
    UNION SELECT m.member FROM pg_auth_members m JOIN below ON m.roleid = below.oid),
wanted AS (
    SELECT r.oid, r.rolname FROM pg_roles r
     WHERE r.oid IN (SELECT oid FROM above UNION SELECT oid FROM below)
       AND r.oid <> 10 AND r.rolname <> 'postgres' AND r.rolname !~ '^pg_')
"""

_ROLES = (
    _CLOSURE
    + """
SELECT r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
       r.rolreplication, r.rolbypassrls, r.rolconnlimit,
       CASE WHEN r.rolvaliduntil IS NULL THEN NULL
            WHEN isfinite(r.rolvaliduntil)
            THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"')
            ELSE r.rolvaliduntil::text END
  FROM pg_roles r JOIN wanted USING (oid) ORDER BY 1
"""
)

_SETTINGS = (
    _CLOSURE
    + """
SELECT w.rolname::text, split_part(c.setting, '=', 1),
       substr(c.setting, strpos(c.setting, '=') + 1)
  FROM pg_db_role_setting s JOIN wanted w ON w.oid = s.setrole, unnest(s.setconfig) AS c(setting)
 WHERE s.setdatabase = 0 ORDER BY 1, 2
"""
)

_MEMBERS = (
    _CLOSURE
    + """
SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option), NULL, NULL
  FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN wanted m ON m.oid = a.member
 WHERE g.rolname ~ '^pg_' OR g.oid IN (SELECT oid FROM wanted)
 GROUP BY 1, 2 ORDER BY 1, 2
"""
)
_MEMBERS_16 = _MEMBERS.replace("NULL, NULL", "bool_or(a.inherit_option), bool_or(a.set_option)")

_HASHES = """SELECT rolname::text AS role, rolpassword::text AS hash FROM pg_authid
              WHERE rolpassword IS NOT NULL AND rolname::text = ANY ({}::text[])"""


def _hashes(
    connection: Connection, admin: Admin | None, roles: Sequence[str]
) -> dict[str, str] | None:
    """By role; None where nobody here may read them."""
    asked = "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may"
    if connection.execute(query(asked)).fetchone() == (True,):
        found = connection.execute(query(compose(_HASHES, list(roles)))).fetchall()
    elif admin is not None and admin.rows(
        "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may"
    ) == [(True,)]:
        found = admin.rows(_HASHES, list(roles))
    else:
        return None
    return {str(role): str(hash) for role, hash in found}


def _create(row: tuple[Any, ...], hash: str | None, settings: Sequence[tuple[str, str]]) -> str:
    role, limit, until = row[0], row[8], row[9]
    words = [
        word if has else f"NO{word}"
        for word, has in zip(_RIGHTS, row[1:8], strict=True)
        # these need a superuser to be said at all, even to say no
        if has or word not in ("SUPERUSER", "REPLICATION", "BYPASSRLS")
    ]
    if limit != -1:
        words.append(f"CONNECTION LIMIT {limit}")
    if until is not None:
        words.append(compose("VALID UNTIL {}", until))
    if hash is not None:
        words.append(compose("PASSWORD {}", hash))
    who = compose("ROLE {}", name(role))
    alter = [compose("ALTER {} {}", Raw(who), Raw(assignment(*one))) for one in settings]
    return block(
        compose("IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN RETURN", role),
        "END IF",
        f"CREATE {who} {' '.join(words)}",
        *alter,
    )


_RIGHTS = (
    "SUPERUSER",
    "INHERIT",
    "CREATEROLE",
    "CREATEDB",
    "LOGIN",
    "REPLICATION",
    "BYPASSRLS",
)


def _membership(row: tuple[Any, ...]) -> str:
    group, member, admin, inherit, set_ = row
    options = []
    if admin:
        options.append("ADMIN OPTION" if inherit is None else "ADMIN TRUE")
    if inherit is not None:
        options += [f"INHERIT {str(bool(inherit)).upper()}", f"SET {str(bool(set_)).upper()}"]
    given = f" WITH {', '.join(options)}" if options else ""
    return compose("GRANT {} TO {}{};\n", name(group), name(member), Raw(given))
