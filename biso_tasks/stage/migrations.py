"""Migrations that production has and test's code does not know: the copy would run under code that
is older than its schema.

Test's code knows the files that it brings along, what its own database has applied, and what
`migration list` says. What production has applied beyond them is unknown to it. Where no table of
production remembers that, the files in both webroots are compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biso_tasks.database.migration_table import Remembered, read_remembered, remembered
from biso_tasks.database.server import Server
from biso_tasks.errors import StepFailed
from biso_tasks.instance.app import App
from biso_tasks.instance.migration_files import migration_files
from biso_tasks.instance.migration_list import is_name

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Compared", "compare_migrations", "migration_columns", "unknown_migrations"]


@dataclass(frozen=True, slots=True)
class Compared:
    """`unknown` are the names; `by` says what was compared, "" where there was nothing to
    compare."""

    unknown: tuple[str, ...]
    by: str


def unknown_migrations(source: Server, target: Server, target_app: App) -> tuple[str, ...]:
    """Names of migrations applied on the source that the target's code does not know; empty where
    no table of the source remembers migrations."""
    return compare_migrations(source, target, target_app).unknown


def compare_migrations(
    source: Server, target: Server, target_app: App, source_app: App | None = None
) -> Compared:
    """Compare the migrations of two instances. The table is the one that `database.migrations` of
    the target's environment names, or one that looks like it. `source_app` gives the source's
    files, for where there is no table. Raises StepFailed where biso-cli does not list migrations.
    """
    listed = target_app.migrations()
    ours = migration_files(target_app)
    theirs = frozenset[str]() if source_app is None else migration_files(source_app)
    names = (*listed.known, *listed.pending, *ours, *theirs)
    wanted = target_app.environment.database.migrations
    stems = {stem(one) for one in names}
    there = remembered(source, wanted, is_name=is_name, known=stems)
    applied = _values(there)
    here = remembered(target, wanted, is_name=is_name, known=stems | {stem(one) for one in applied})
    known = (*listed.known, *listed.pending, *ours, *_values(here))
    if there:
        by = ", ".join(f"{one.schema}.{one.table}" for one in there)
        if not _reached(there, here):
            return Compared(_unknown(applied, known), by)
        return Compared((), by)
    if ours and theirs:
        return Compared(_unknown(theirs, known), "the files of both webroots")
    return Compared((), "")


def migration_columns(connection: Connection, app: App) -> frozenset[tuple[str, str, str]]:
    """(schema, table, column) of what remembers migrations in the database that `connection` leads
    to, where it holds names of migrations and nothing else: they are nobody's, whatever they look
    like, and with other names all of them would be applied again. `app` knows their names."""
    stems: set[str] = set()
    # A bare target has no code yet that could be asked: their form tells most names.
    with suppress(StepFailed):
        listed = app.migrations()
        stems = {stem(one) for one in (*listed.known, *listed.pending, *migration_files(app))}
    found = read_remembered(
        connection, app.environment.database.migrations, is_name=is_name, known=stems
    )
    return frozenset(
        (one.schema, one.table, one.column)
        for one in found
        if all(stem(value) in stems or is_name(value) for value in one.values)
    )


def stem(name: str) -> str:
    """A migration's name without folder, namespace and extension."""
    last = re.split(r"[\\/]", name)[-1].lower()
    return last.removesuffix(".sql").removesuffix(".php")


def _values(found: Collection[Remembered]) -> frozenset[str]:
    return frozenset(value for one in found for value in one.values)


def _unknown(names: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    stems = {stem(one) for one in known}
    left = [one for one in names if stem(one) not in stems]
    return tuple(sorted(one for one in left if not any(_same(one, other) for other in known)))


def _same(applied: str, listed: str) -> bool:
    """Whether a name that `migration list` or a folder gives is this one, where one of the two is
    only a number: "20240101" is "Version20240101", 42 is "0042_mail"."""
    words = (listed, *listed.split())
    one = stem(applied)
    return any(_number(one, stem(word)) or one == stem(word) for word in words)


_NUMBER = re.compile(r"(?:version|migration|mig|m|v)?[-_]?0*(\d+)(.*)", re.DOTALL)


def _number(one: str, other: str) -> bool:
    left, right = _NUMBER.match(one), _NUMBER.match(other)
    if left is None or right is None or left[1] != right[1]:
        return False
    return not left[2] or not right[2]


def _reached(there: Collection[Remembered], here: Collection[Remembered]) -> bool:
    """Whether the table only says how far the database is, and the target's is as far: one row, a
    number or a version."""
    values = [[one for found in side for one in found.values] for side in (there, here)]
    if any(len(side) != 1 or not re.fullmatch(r"v?\d+(\.\d+)*", side[0]) for side in values):
        return False
    reached, own = ([int(part) for part in re.findall(r"\d+", side[0])] for side in values)
    return reached <= own
