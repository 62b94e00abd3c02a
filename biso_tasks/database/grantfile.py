"""A set's db/grants.sql: who may do what with the objects of the database, and what belongs to the
database as a whole, as text that psql runs behind the load, whatever the database is called there.

`pg_dump --no-privileges` leaves the first out, and without --create the second. What somebody
there may not set, or a role that is not there, is a warning: the rest is given all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from biso_tasks.database.grants import Grant, as_sql
from biso_tasks.database.roles import block
from biso_tasks.database.settings import Settings, assignment
from biso_tasks.database.sqltext import compose, name

__all__ = ["grants_sql", "parts"]


def grants_sql(
    grants: Sequence[Grant], settings: Settings, *, role: str, comment: str | None = None
) -> str:
    """The text. `role` is the application's role of the dumped database, whose part the one that
    runs it takes: it must be the owner of the new one. `comment` is the database's."""
    return "".join([_HEADER, *_inside(grants, role), _MARK, *_whole(settings, role, comment)])


def parts(text: str) -> tuple[str, str]:
    """A text of `grants_sql`: what is about the objects inside, and what is about the database
    itself. The second opens a database to those who may connect: not while it is a stage."""
    inside, mark, whole = text.rpartition(_MARK)
    return (inside, whole) if mark else (text, "")


_HEADER = """-- Privileges inside the database, for the roles that exist here. Run it as the owner
-- of the restored database, behind the dump: psql -X -v ON_ERROR_STOP=1 -d … -f grants.sql

SET client_encoding = 'UTF8';

"""

_MARK = "\n-- The database itself: who may connect, its settings, its comment.\n\n"


def _inside(grants: Sequence[Grant], role: str) -> list[str]:
    own, others = as_sql(grants, role=role)
    found = ["BEGIN;\n", *(f"{one};\n" for one in own)]
    found += [_for_role(who, statements) for who, statements in sorted(others.items())]
    return [*found, "COMMIT;\n"]


def _whole(settings: Settings, role: str, comment: str | None) -> list[str]:
    found = []
    for who, setting, value in settings.values:
        to = assignment(setting, value)
        if who in ("", role):
            start = "DATABASE" if not who else "ROLE CURRENT_USER IN DATABASE"
            found.append(_for_database(f"ALTER {start}", to))
        else:
            start = compose("ALTER ROLE {} IN DATABASE", name(who))
            found.append(_for_database(start, to))
    if settings.limit >= 0:
        found.append(_for_database("ALTER DATABASE", f"CONNECTION LIMIT {settings.limit}"))
    if comment is not None:
        found.append(_for_database("COMMENT ON DATABASE", compose("IS {}", comment)))
    if settings.access is not None:
        found.append(_for_database("REVOKE ALL ON DATABASE", "FROM PUBLIC"))
    for who, privilege, grantable in settings.access or ():
        if who == "":
            to = "PUBLIC"
        else:
            to = "CURRENT_USER" if who == role else compose("{}", name(who))
            to += " WITH GRANT OPTION" if grantable else ""
        found.append(_for_database(f"GRANT {privilege} ON DATABASE", f"TO {to}"))
    return found


def _for_role(role: str, statements: Sequence[str]) -> str:
    said = f"{len(statements)} privileges of the role {role!r} were left behind: no such role"
    return block(
        compose(
            "IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN\n"
            "    RAISE WARNING '%', {};\n    RETURN",
            role,
            said,
        ),
        "END IF",
        *statements,
    )


def _for_database(before: str, behind: str) -> str:
    """One statement, with the name of the database it runs in between."""
    said = compose("{} || SQLERRM", f"not set: {before} {behind}: ")
    statement = compose(
        "EXECUTE {} || quote_ident(current_database()) || {}", f"{before} ", f" {behind}"
    )
    return block(
        f"{statement};\nEXCEPTION WHEN insufficient_privilege OR undefined_object THEN\n"
        f"  RAISE WARNING '%', {said}"
    )
