"""What belongs to a database as a whole and stays with the old one when a new one takes its name:
`ALTER DATABASE … SET`, `ALTER ROLE … IN DATABASE … SET`, who may connect, the connection limit.

The test instance keeps its own; what only the source has comes along. pg_dump has none of it
without --create, and with it names the source's roles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biso_tasks.database.admin import Admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.database.sqltext import Raw, compose, name

__all__ = ["Settings", "access_statements", "apply", "assignment", "elements", "merge", "read"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`values` are (role or "" for all, setting, value); `access` is None where only the defaults
    hold, else (role or "" for PUBLIC, privilege, grantable) without the owner's; `limit` of
    connections, -1 for none."""

    values: tuple[tuple[str, str, str], ...] = ()
    access: tuple[tuple[str, str, bool], ...] | None = None
    limit: int = -1

    def as_dict(self) -> dict[str, Any]:
        """As JSON and TOML hold it; what is None may be left out there."""
        return {
            "values": [list(one) for one in self.values],
            "access": None if self.access is None else [list(one) for one in self.access],
            "limit": self.limit,
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Settings:
        """What `as_dict` gave. Raises KeyError, TypeError or ValueError for anything else."""
        given = document.get("access")
        return Settings(
            tuple((str(r), str(s), str(v)) for r, s, v in document["values"]),
            None if given is None else tuple((str(r), str(p), bool(g)) for r, p, g in given),
            int(document["limit"]),
        )


# what a database without explicit privileges lets everybody do
_DEFAULT_ACCESS = (("", "CONNECT", False), ("", "TEMPORARY", False))


def read(admin: Admin, dbname: str) -> Settings:
    """Of a database of the server that `admin` talks to; empty where there is none."""
    found = admin.rows(
        """SELECT datconnlimit AS lim, (datacl IS NOT NULL)::int AS explicit
             FROM pg_database WHERE datname = {}""",
        dbname,
    )
    if not found:
        return Settings()
    limit, explicit = found[0]
    values = admin.rows(
        """SELECT coalesce(r.rolname, '')::text AS role,
                  split_part(c.setting, '=', 1) AS setting,
                  substr(c.setting, strpos(c.setting, '=') + 1) AS value
             FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
             LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS c(setting)
            WHERE d.datname = {} ORDER BY 1, 2""",
        dbname,
    )
    access = admin.rows(
        """SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END AS role,
                  a.privilege_type::text AS privilege, a.is_grantable::int AS grantable
             FROM pg_database d, aclexplode(d.datacl) a
            WHERE d.datname = {} AND a.grantee <> d.datdba ORDER BY 1, 2""",
        dbname,
    )
    return Settings(
        tuple((r, s, v) for r, s, v in values),
        tuple((r, p, bool(g)) for r, p, g in access) if explicit else None,
        int(limit),
    )


def merge(source: Settings, own: Settings | None, *, source_role: str, role: str) -> Settings:
    """What the new database gets: the target's `own` (None on a bare target) wins; what only the
    source has comes along, its application's role being this one's. PUBLIC keeps what it may do on
    the target."""
    mapped = tuple((role if r == source_role else r, s, v) for r, s, v in source.values)
    given = source.access if source.access is not None else _DEFAULT_ACCESS
    named = tuple(a for a in given if a[0] and a[0] not in (source_role, role))
    if own is None:
        return Settings(mapped, tuple(a for a in given if not a[0]) + named, source.limit)
    taken = {(r, s) for r, s, _ in own.values}
    values = own.values + tuple(v for v in mapped if v[:2] not in taken)
    kept = own.access if own.access is not None else _DEFAULT_ACCESS
    have = {(r, p) for r, p, _ in kept}
    return Settings(values, kept + tuple(a for a in named if a[:2] not in have), own.limit)


def apply(admin: Admin, dbname: str, settings: Settings) -> list[str]:
    """Set the values and the limit of `dbname`; notes on what could not be set, for the report.
    Access comes last, in the swap's transaction: see `access_statements`."""
    notes = []
    roles = {row[0] for row in admin.rows("SELECT rolname::text AS r FROM pg_roles")}
    for role, setting, value in settings.values:
        if role and role not in roles:
            notes.append(
                f"the setting {setting!r} of the role {role!r} was left behind: no such role"
            )
            continue
        if role:
            who = compose("ROLE {} IN DATABASE {}", name(role), name(dbname))
        else:
            who = compose("DATABASE {}", name(dbname))
        text = compose("ALTER {} {}", Raw(who), Raw(assignment(setting, value)))
        try:
            admin.execute(text)
        except DatabaseFailed as error:
            notes.append(f"the setting {setting!r} could not be set on {dbname!r}: {error.message}")
    if settings.limit >= 0:
        admin.execute(
            compose("ALTER DATABASE {} CONNECTION LIMIT {}", name(dbname), settings.limit)
        )
    return notes


def assignment(setting: str, value: str) -> str:
    """`SET name TO value` as ALTER ROLE and ALTER DATABASE take it; `value` as the catalogue holds
    it."""
    return compose("SET {} TO {}", name(*setting.split(".")), Raw(_value(setting, value)))


def access_statements(admin: Admin, dbname: str, settings: Settings) -> tuple[str, ...]:
    """SQL that gives `dbname` its access: run it when that is the live database's name. Roles that
    do not exist are passed over."""
    roles = {"", *(row[0] for row in admin.rows("SELECT rolname::text AS r FROM pg_roles"))}
    wanted = settings.access if settings.access is not None else _DEFAULT_ACCESS
    return (
        compose("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(dbname)),
        *(
            compose(
                "GRANT {} ON DATABASE {} TO {}{}",
                Raw(privilege),
                name(dbname),
                name(role) if role else Raw("PUBLIC"),
                Raw(" WITH GRANT OPTION" if grantable and role else ""),
            )
            for role, privilege, grantable in wanted
            if role in roles
        ),
    )


# settings whose value is a list of names: '"$user", public' as one literal would be one odd name
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)


def _value(setting: str, value: str) -> str:
    if setting.lower() not in _LISTS:
        return compose("{}", value)
    return ", ".join(compose("{}", part) for part in elements(value)) or "''"


def elements(value: str) -> Sequence[str]:
    """The elements of a stored list: separated by commas, perhaps in double quotes."""
    parts: list[str] = []
    rest = value.strip()
    while rest:
        if rest.startswith('"'):
            end = 1
            while end < len(rest):
                if rest[end] == '"':
                    if rest[end : end + 2] != '""':
                        break
                    end += 1
                end += 1
            parts.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :].lstrip()
        else:
            part, _, _ = rest.partition(",")
            parts.append(part.strip())
            rest = rest[len(part) :]
        rest = rest.removeprefix(",").lstrip()
    return parts
