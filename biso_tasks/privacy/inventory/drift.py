"""How far what was said and what is there have drifted apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.errors import Refused
from biso_tasks.files.listing import Entry
from biso_tasks.files.patterns import compile_pattern, is_literal
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.inventory.match import Index, Partitions, names
from biso_tasks.privacy.inventory.model import (
    FileRule,
    Inventory,
    PlaceRule,
    Rule,
    fits,
    same_type,
    type_name,
)
from biso_tasks.privacy.schema_texts import names_place
from biso_tasks.privacy.sqltext import column_name, query

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "Drift",
    "Drifted",
    "column_drift",
    "require_none",
    "unused_files",
    "unused_paths",
    "unused_places",
]

_NONE: Final[Partitions] = {}


@dataclass(frozen=True, slots=True)
class Drifted:
    """One column or rule; `why` says what about it, with file and line where there is one."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


@dataclass(frozen=True, slots=True)
class Drift:
    """`unclassified` columns, `unused` rules, columns that `changed` under their rule."""

    unclassified: tuple[Drifted, ...] = ()
    unused: tuple[Drifted, ...] = ()
    changed: tuple[Drifted, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unclassified or self.unused or self.changed)

    def as_json(self) -> dict[str, Any]:
        return {
            "unclassified": [one.name for one in self.unclassified],
            "unused": [one.name for one in self.unused],
            "changed": [one.name for one in self.changed],
        }


def column_drift(
    inventories: Sequence[Inventory],
    columns: Sequence[Column],
    parts: Partitions = _NONE,
    *,
    before: Sequence[Column] | None = None,
) -> Drift:
    """What the columns of a database and the rules for them do not agree in. `before` are columns
    that rules may speak of as well: those of the source, before a migration."""
    unclassified: dict[str, Drifted] = {}
    changed: dict[str, Drifted] = {}
    unused: list[Drifted] = []
    for index in map(Index, inventories):
        left = {rule.pattern: rule for rule in index.inventory.columns}
        for column in (*columns, *(before or ())):
            for rule in index.matching(column, parts):
                left.pop(rule.pattern, None)
        unused += [
            Drifted(rule.pattern, f"{rule.place}: no column is called so") for rule in left.values()
        ]
        for column in columns if index.inventory.complete else ():
            said = index.rule(column, parts)
            name = names(column, parts)[0]
            if said is None:
                unclassified.setdefault(name, Drifted(name, type_name(column)))
            elif column.kind != "large objects" and (why := _change(said, column, parts)):
                changed.setdefault(name, Drifted(name, f"{said.place}: {why}"))
    return Drift(tuple(unclassified.values()), tuple(unused), tuple(changed.values()))


def _change(rule: Rule, column: Column, parts: Partitions) -> str:
    """What makes a rule for this very column unfit for what it is now, or ""."""
    if rule.pattern not in names(column, parts):
        return ""
    if rule.kind is None:
        was = "" if same_type(rule.type, column) else f"was {rule.type} and harmless"
        return f"{was}, is {type_name(column)} now" if was else ""
    if rule.paths and column.type.family not in ("json", "jsonb"):
        return f"paths mean nothing in a column of type {type_name(column)}"
    if fits(rule.kind, column.type) and same_type(rule.type, column):
        return ""
    return f'"{rule.kind}" does not fit a column of type {type_name(column)}'


def unused_files(rules: Iterable[FileRule], entries: Sequence[Entry]) -> tuple[Drifted, ...]:
    """The rules that no file answers to. A folder that is there, and empty, is one for its
    pattern `folder/**`."""
    paths = [f"{one.path}/" if one.kind == "dir" else one.path for one in entries]
    there = set(paths)
    return tuple(
        Drifted(rule.pattern, f"{rule.place}: no file is called so")
        for rule in rules
        if not (
            rule.pattern in there
            if is_literal(rule.pattern)
            else any(map(compile_pattern(rule.pattern).fullmatch, paths))
        )
    )


def unused_places(rules: Iterable[PlaceRule], places: Collection[str]) -> tuple[Drifted, ...]:
    """The rules of `[schema]` that speak of none of `places`, which are those of one database."""
    return tuple(
        Drifted(rule.name, f"{rule.place}: no place of the schema is called so")
        for rule in rules
        if not any(names_place(rule.name, place) for place in places)
    )


def unused_paths(
    conn: psycopg.Connection[Any],
    inventories: Sequence[Inventory],
    columns: Sequence[Column],
    parts: Partitions = _NONE,
) -> tuple[Drifted, ...]:
    """The paths that lead to nothing in any document of the columns that their rule speaks of. Of
    columns without a document nothing is said."""
    asked: dict[tuple[str, str, str], bool] = {}
    for index in map(Index, inventories):
        for column in columns:
            rule = index.rule(column, parts)
            if rule is None or not rule.paths or column.type.family not in ("json", "jsonb"):
                continue
            name = f"{column_name('t', column.name)}::jsonb"
            only = "ONLY " if column.kind == "table" else ""
            rows = f"FROM {only}{column.sql_table} AS t WHERE {name}"
            if not query(conn, f"SELECT EXISTS (SELECT {rows} IS NOT NULL)")[0][0]:
                continue
            for path, _ in rule.paths:
                text = f"SELECT EXISTS (SELECT {rows} @? %s::jsonpath)"
                key = (rule.pattern, rule.place, path)
                asked[key] = asked.get(key, False) or query(conn, text, (path,))[0][0]
    return tuple(
        Drifted(f"{pattern}: {path}", f"{place}: no document has that")
        for (pattern, place, path), found in asked.items()
        if not found
    )


def require_none(drift: Drift, where: str) -> None:
    """Raises Refused, naming everything, where there is drift."""
    parts = [
        f"{what}: {', '.join(map(str, found[:_SHOWN]))}"
        + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        for what, found in (
            ("not classified", drift.unclassified),
            ("changed since it was classified", drift.changed),
            ("rules that match nothing", drift.unused),
        )
        if found
    ]
    if parts:
        raise Refused(
            f"what was said of personal data does not fit {where}: {'; '.join(parts)}",
            hint="`biso privacy-scan --write` proposes what is missing; look at it, take out what "
            "is gone, and commit the file",
        )


_SHOWN: Final = 25
