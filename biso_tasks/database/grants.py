"""Who may do what with the objects inside a database.

`pg_dump --no-privileges` loses grants, and with privileges a dump fails on roles that the other
server does not have. So they are read from the catalogues, and given again to the roles that exist.
The owner of an object here is the application's role over there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import Name, Raw, compose, name, query

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Grant", "apply", "as_sql", "read"]


@dataclass(frozen=True, slots=True)
class Grant:
    """One privilege. `target` is SQL: `TABLE "public"."fall"`, `FUNCTION …`, or for what is created
    later `DEFAULT "schema" TABLES`. `grantee` "" is PUBLIC, None the object's owner; `privilege` ""
    says that the object has explicit privileges, and that they are just the others listed.
    `columns` is SQL, "" for the whole object."""

    target: str
    grantee: str | None
    privilege: str
    grantable: bool
    columns: str = ""


# One row a privilege; a NULL acl means the defaults, which a new object has anyway.
# What an extension brought has its own initial privileges.
_READ = """
WITH objects AS (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END
             || format('%I.%I', n.nspname, c.relname) AS target,
           c.relacl AS acl, c.relowner AS owner, '' AS columns,
           'pg_class'::regclass AS class, c.oid AS oid, n.nspname AS schema
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
    UNION ALL
    SELECT 'TABLE ' || format('%I.%I', n.nspname, c.relname), a.attacl, c.relowner,
           format('%I', a.attname), 'pg_class'::regclass, c.oid, n.nspname
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END
             || format('%I.%I(%s)', n.nspname, p.proname,
                       pg_get_function_identity_arguments(p.oid)),
           p.proacl, p.proowner, '', 'pg_proc'::regclass, p.oid, n.nspname
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    UNION ALL
    SELECT 'TYPE ' || format('%I.%I', n.nspname, t.typname), t.typacl, t.typowner, '',
           'pg_type'::regclass, t.oid, n.nspname
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    UNION ALL
    SELECT 'SCHEMA ' || format('%I', n.nspname), n.nspacl, n.nspowner, '',
           'pg_namespace'::regclass, n.oid, n.nspname
      FROM pg_namespace n
    UNION ALL
    SELECT 'LARGE OBJECT ' || m.oid, m.lomacl, m.lomowner, '',
           'pg_largeobject'::regclass, m.oid, ''
      FROM pg_largeobject_metadata m
    UNION ALL
    SELECT 'DEFAULT ' || coalesce(quote_ident(n.nspname), '') || ' '
             || CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                  WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END,
           d.defaclacl, d.defaclrole, '', 'pg_default_acl'::regclass, d.oid,
           coalesce(n.nspname, '')
      FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
     WHERE d.defaclobjtype IN ('r', 'S', 'f', 'T', 'n')
       AND d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
)
SELECT o.target, o.columns,
       CASE WHEN a.grantee IS NULL OR a.grantee = o.owner THEN NULL
            WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee) END,
       coalesce(a.privilege_type, ''), coalesce(a.is_grantable, false)
  FROM objects o LEFT JOIN LATERAL aclexplode(o.acl) a ON true
 WHERE o.acl IS NOT NULL AND o.schema <> 'information_schema' AND o.schema !~ '^pg_'
   AND NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = o.class AND e.objid = o.oid AND e.deptype = 'e')
 ORDER BY 1, 2, 3, 4
"""


# it belongs to pg_database_owner (from 15 on) or to the superuser, never to the application's role
_PUBLIC = "SCHEMA public"

_CURRENT = Raw("CURRENT_USER")


def read(connection: Connection) -> tuple[Grant, ...]:
    """Every explicit privilege inside the connection's database."""
    # names must come out qualified: format() and identity arguments obey the search_path
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('search_path', '', true)")
        rows = connection.execute(query(_READ)).fetchall()
    return tuple(
        Grant(target, grantee, privilege, grantable, columns)
        for target, columns, grantee, privilege, grantable in rows
    )


def apply(
    server: Server,
    dbname: str,
    grants: Sequence[Grant],
    *,
    source_role: str | None = None,
    add: bool = False,
) -> list[str]:
    """Give the privileges in `dbname`, in one transaction, as the application's role, and return
    notes for the report: roles that this server does not have. `source_role` is the application's
    role on the source, whose grants become this one's. With `add`, nothing is taken away and
    objects that are not there are passed over: the target's own grants, on top. Raises
    DatabaseFailed."""
    notes: list[str] = []
    with connect(server, dbname) as connection:
        roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
        reset: set[tuple[str, str]] = set()
        missing: dict[str, int] = {}
        for grant in grants:
            if grant.target == _PUBLIC and grant.grantee is None:
                continue
            statements = []
            if not add and (grant.target, grant.columns) not in reset:
                reset.add((grant.target, grant.columns))
                if not grant.columns:
                    statements += _reset(grant.target, name(server.dsn.user))
            who = server.dsn.user if grant.grantee in (None, source_role) else grant.grantee
            if who and who not in roles:
                missing[who] = missing.get(who, 0) + 1
            elif grant.privilege:
                statements.append(_give(grant, name(who) if who else None))
            for statement in statements:
                _execute(connection, statement, tolerant=add)
        for role, many in sorted(missing.items()):
            notes.append(
                f"{many} privileges of the role {role!r} were left behind: "
                f"{server.host.name} has no such role"
            )
    return notes


def as_sql(
    grants: Sequence[Grant], *, role: str
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The same as statements, for whoever owns the objects and runs them: those that take away what
    new objects carry and give what the owner and PUBLIC have, and by role what others have. `role`
    is the application's on the source, whose grants become the owner's."""
    first: list[str] = []
    others: dict[str, list[str]] = {}
    reset: set[str] = set()
    for grant in grants:
        if grant.target == _PUBLIC and grant.grantee is None:
            continue
        if not grant.columns and grant.target not in reset:
            reset.add(grant.target)
            first += _reset(grant.target, _CURRENT)
    for grant in grants:
        if not grant.privilege or (grant.target == _PUBLIC and grant.grantee is None):
            continue
        who = grant.grantee
        if who is None or who == role:
            first.append(_give(grant, _CURRENT))
        elif not who:
            first.append(_give(grant, None))
        else:
            others.setdefault(who, []).append(_give(grant, name(who)))
    return tuple(first), {who: tuple(statements) for who, statements in others.items()}


def _execute(connection: Connection, statement: str, *, tolerant: bool) -> None:
    import psycopg

    try:
        with connection.transaction():
            connection.execute(query(statement))
    except (
        psycopg.errors.UndefinedObject,
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.InvalidSchemaName,
    ):
        if not tolerant:
            raise


def _reset(target: str, owner: Name | Raw) -> list[str]:
    """New objects carry default privileges (PUBLIC may execute functions); take them away."""
    head, on = _on(target)
    losers = [Raw("PUBLIC")] if target == _PUBLIC else [Raw("PUBLIC"), owner]
    return [compose("{}REVOKE ALL ON {} FROM {}", Raw(head), Raw(on), who) for who in losers]


def _give(grant: Grant, who: Name | Raw | None) -> str:
    head, on = _on(grant.target)
    return compose(
        "{}GRANT {}{} ON {} TO {}{}",
        Raw(head),
        Raw(grant.privilege),  # aclexplode's own words: SELECT, USAGE, …
        Raw(f" ({grant.columns})" if grant.columns else ""),
        Raw(on),
        Raw("PUBLIC") if who is None else who,
        # the grant option cannot be given to PUBLIC
        Raw(" WITH GRANT OPTION" if grant.grantable and who is not None else ""),
    )


def _on(target: str) -> tuple[str, str]:
    if not target.startswith("DEFAULT "):
        return "", target
    schema, _, kind = target.removeprefix("DEFAULT ").rpartition(" ")
    inside = f" IN SCHEMA {schema}" if schema else ""
    return f"ALTER DEFAULT PRIVILEGES{inside} ", kind
