"""Emptying a live database in place, for a role that may not create another one.

Traps, and what answers them

- DROP OWNED BY would be one statement and one transaction: it runs out of lock memory, and takes
  the role's default privileges along. So object by object, large objects in batches, and what was
  dropped is gone at once: a site without room for a second copy has no room for two contents.
- The schema public is emptied, never dropped: it belongs to others, and DROP SCHEMA … CASCADE takes
  extensions along that only a superuser can create again. Those stay, with what they brought.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import quiet
from biso_tasks.database.sqltext import Raw, compose, name, query
from biso_tasks.errors import StepFailed

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Staying", "empty", "obstacles", "staying"]

_BATCH = 500  # large objects a transaction


@dataclass(frozen=True, slots=True)
class Staying:
    """An extension that stays when its database is emptied; `tables` are its configuration tables,
    whose rows stay as well (qualified and quoted)."""

    name: str
    schema: str
    schema_oid: int
    tables: tuple[str, ...]


# What a dump brings back: everything in a schema of the site's own, those schemas, large objects,
# foreign servers. Nothing that an extension brought.
_OBJECTS = """
WITH held AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_namespace n
        ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
     WHERE d.deptype = 'n' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND d.classid <> 'pg_extension'::regclass
    UNION SELECT 'pg_namespace'::regclass, oid FROM pg_namespace
           WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    UNION SELECT 'pg_largeobject'::regclass, oid FROM pg_largeobject_metadata
    UNION SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server)
SELECT what.type, what.identity, held.classid::regclass::text
  FROM held, LATERAL pg_identify_object(held.classid, held.objid, 0) AS what
 WHERE NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = held.classid AND e.objid = held.objid AND e.deptype = 'e')
"""

# What belongs to something else (an identity column's sequence, a range's constructors) goes with
# it. A partitioned table belongs to its own key's columns, which is no reason to leave it.
_ITS_OWN = """
   AND NOT EXISTS (SELECT FROM pg_depend i
                    WHERE i.classid = held.classid AND i.objid = held.objid AND i.deptype = 'i'
                      AND (i.refclassid, i.refobjid) <> (i.classid, i.objid))
"""

# An owner that is the bootstrap superuser is recorded nowhere: what is not found is not ours.
_NOT_OURS = f"""{_ITS_OWN}
   AND NOT EXISTS (SELECT FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
                    WHERE d.datname = current_database() AND s.classid = held.classid
                      AND s.objid = held.objid AND s.objsubid = 0 AND s.deptype = 'o'
                      AND pg_has_role(s.refobjid, 'USAGE'))
 ORDER BY 3, 2 LIMIT 20
"""

# Tables come first, since most of the rest hangs on them; a schema last, when it is empty.
_TO_DROP = f"""{_ITS_OWN}
   AND held.classid NOT IN ('pg_namespace'::regclass, 'pg_largeobject'::regclass)
 ORDER BY what.type NOT IN ('table', 'foreign table'), 3, 2
"""

_KINDS = {"composite type": "TYPE", "statistics object": "STATISTICS", "server": "SERVER"}


def obstacles(connection: Connection) -> list[str]:
    """Why the connection's role could not empty its database and fill it again; empty where it
    can."""
    if _one(connection, "SELECT rolsuper::int FROM pg_roles WHERE rolname = current_user"):
        found = []
    else:
        found = connection.execute(query(_OBJECTS + _NOT_OURS)).fetchall()
    problems = [f"{kind} {identity} belongs to another role" for kind, identity, _ in found]
    names = connection.execute("SELECT pubname FROM pg_publication ORDER BY 1").fetchall()
    problems += [f"publication {row[0]!r} would lose its tables" for row in names]
    return problems


def staying(connection: Connection) -> tuple[Staying, ...]:
    """The extensions that this role may not drop, or could not create again."""
    rows = connection.execute(
        """SELECT e.extname, n.nspname, n.oid::bigint,
                  ARRAY(SELECT format('%I.%I', cn.nspname, c.relname)
                          FROM unnest(e.extconfig) AS o(oid) JOIN pg_class c ON c.oid = o.oid
                          JOIN pg_namespace cn ON cn.oid = c.relnamespace)
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace, pg_roles me
            WHERE e.extname <> 'plpgsql' AND me.rolname = current_user AND NOT me.rolsuper
              AND (NOT pg_has_role(e.extowner, 'USAGE')
                   OR NOT EXISTS (SELECT FROM pg_available_extension_versions v
                                   WHERE v.name = e.extname AND v.version = e.extversion
                                     AND (v.trusted OR NOT v.superuser)))
            ORDER BY 1"""
    ).fetchall()
    return tuple(Staying(row[0], row[1], row[2], tuple(row[3])) for row in rows)


def empty(server: Server) -> int:
    """Drop everything of the site's own in `server`'s live database; gives how many statements that
    took. Can be called again after an interruption. Extensions of `staying` stay; so do the
    schema public, default privileges and event triggers. Raises StepFailed where something is
    left, DatabaseFailed."""
    with connect(server, autocommit=True) as connection:
        quiet(connection)
        connection.execute("SET client_min_messages = warning")
        connection.execute("SET lock_timeout = '60s'")
        connection.execute("SELECT set_config('search_path', '', false)")  # qualified identities
        kept = staying(connection)
        names = [one.name for one in kept]
        statements = [
            compose("DROP EXTENSION IF EXISTS {} CASCADE", name(row[0]))
            for row in connection.execute(
                """SELECT extname FROM pg_extension
                    WHERE extname <> 'plpgsql' AND extname <> ALL(%s) ORDER BY oid DESC""",
                (names,),
            ).fetchall()
        ]
        _execute(connection, statements)
        # read again: what an extension brought went with it
        contents = connection.execute(query(_OBJECTS + _TO_DROP)).fetchall()
        dropping = [_drop(kind, identity) for kind, identity, _ in contents]
        _execute(connection, dropping)
        while _one(connection, _UNLINK):
            dropping.append("")
        schemas = [
            compose("DROP SCHEMA IF EXISTS {} CASCADE", name(row[0]))
            for row in connection.execute(
                """SELECT n.nspname FROM pg_namespace n
                    WHERE n.nspname !~ '^pg_'
                      AND n.nspname NOT IN ('information_schema', 'public')
                      AND n.nspname <> ALL(%s)
                      AND NOT EXISTS (SELECT FROM pg_depend e
                                       WHERE e.classid = 'pg_namespace'::regclass
                                         AND e.objid = n.oid AND e.deptype = 'e')""",
                ([one.schema for one in kept],),
            ).fetchall()
        ]
        _execute(connection, schemas)
        taken = {compose("{}", name(one.schema)) for one in kept}
        left = [
            f"{kind} {identity}"
            for kind, identity, _ in connection.execute(query(_OBJECTS)).fetchall()
            if not (kind == "schema" and compose("{}", Raw(identity)) in taken | _bare(taken))
        ]
        if left:
            raise StepFailed(
                f"{server} could not be emptied: {', '.join(left[:5])} is still there",
                hint="somebody works in it meanwhile, or its owner is another role",
            )
        return len(statements) + len(dropping) + len(schemas)


_UNLINK = f"""SELECT count(lo_unlink(oid)) FROM (
    SELECT oid FROM pg_largeobject_metadata LIMIT {_BATCH}) AS batch"""


def _bare(labels: set[str]) -> set[str]:
    """`pg_identify_object` quotes a name only where it must be quoted."""
    return {label.strip('"').replace('""', '"') for label in labels}


def _drop(kind: str, identity: str) -> str:
    return f"DROP {_KINDS.get(kind, kind.upper())} IF EXISTS {identity} CASCADE"


def _execute(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        connection.execute(query(statement))


def _one(connection: Connection, text: str) -> int:
    row = connection.execute(query(text)).fetchone()
    assert row is not None
    return int(row[0])
