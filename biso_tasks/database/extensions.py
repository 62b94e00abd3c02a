"""Extensions that only an administrator may create: made beforehand, with what a dump does with
them granted to the application's role; and their comments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from biso_tasks.database.admin import Admin, admin
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import compose, name, query

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["comment_extensions", "comment_lost", "grant_extension", "make_extensions"]


def make_extensions(
    target: Server,
    dbname: str,
    extensions: Sequence[tuple[str, str]],
    untrusted: Sequence[str],
) -> list[str]:
    """Those of `extensions` (name, schema) that are `untrusted`: made by the admin before the load,
    so that CREATE EXTENSION IF NOT EXISTS finds them there. Gives their names. Raises
    DatabaseFailed."""
    wanted = [(e, schema) for e, schema in extensions if e in untrusted]
    if not wanted:
        return []
    with admin(target, dbname) as superuser:
        for extension, schema in wanted:
            superuser.execute(
                compose(
                    "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}",
                    name(schema),
                    name(target.dsn.user),
                ),
                compose("CREATE EXTENSION {} SCHEMA {}", name(extension), name(schema)),
            )
            superuser.execute(*grant_extension(superuser, extension, target.dsn.user))
    return [extension for extension, _ in wanted]


def grant_extension(superuser: Admin, extension: str, user: str) -> list[str]:
    """Statements that give `user` what a dump does with an extension that is somebody else's."""
    # rows of its configuration tables are in the dump (PostGIS: spatial_ref_sys)
    configured = superuser.rows(
        """SELECT n.nspname, c.relname
             FROM pg_extension e, unnest(e.extconfig) AS o(oid)
             JOIN pg_class c ON c.oid = o.oid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE e.extname = {}""",
        extension,
    )
    # foreign servers are in the dump, and belong to the application's role there
    wrappers = superuser.rows(
        """SELECT w.fdwname::text AS wrapper FROM pg_foreign_data_wrapper w
             JOIN pg_depend d ON d.classid = 'pg_foreign_data_wrapper'::regclass
              AND d.objid = w.oid AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = {}""",
        extension,
    )
    return [
        *(compose("GRANT ALL ON {} TO {}", name(*row), name(user)) for row in configured),
        *(
            compose("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}", name(wrapper), name(user))
            for (wrapper,) in wrappers
        ),
    ]


def comment_extensions(
    connection: Connection, comments: Sequence[tuple[str, str]], there: Sequence[str]
) -> list[str]:
    """Gives each extension its comment of the source (name, comment), unless it is `there` anyway
    or belongs to somebody else; notes on those that have another one now."""
    notes = []
    for extension, wanted in comments:
        row = connection.execute(
            """SELECT coalesce(obj_description(oid, 'pg_extension'), ''),
                      pg_has_role(extowner, 'USAGE') FROM pg_extension WHERE extname = %s""",
            (extension,),
        ).fetchone()
        if row is None or row[0] == wanted:
            continue
        if row[1] and extension not in there:
            text = compose("COMMENT ON EXTENSION {} IS {}", name(extension), wanted)
            connection.execute(query(text))
        else:
            notes.append(comment_lost(extension))
    return notes


def comment_lost(extension: str) -> str:
    """The note on a comment that the source has and the copy has not: only the owner of an
    extension may change it."""
    return (
        f"left behind: the comment of the extension {extension!r}, which somebody had changed; its "
        "owner can set it (COMMENT ON EXTENSION)"
    )
