"""How one column is read: the SQL that gives its value as text, and the pieces of that text which
are compared and searched. Source and stage use the same, or nothing could be compared."""

from __future__ import annotations

from collections.abc import Sequence

from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.detect import json_leaves
from biso_tasks.privacy.sqltext import column_name

__all__ = [
    "MUTE",
    "TREES",
    "compared",
    "content",
    "key_columns",
    "readable",
    "searched",
    "select",
    "tables",
]

TREES = frozenset(("json", "jsonb", "array", "composite", "hstore"))
# Compared, but not searched: no name, number or text of a person stands in them.
MUTE = frozenset(("date", "timestamp", "range", "network"))
_SILENT = frozenset(("boolean", "time", "enum", "uuid", "number"))
_BYTES = 33_554_432  # of one bytea, searched for text; its checksum covers all of it


def readable(column: Column) -> bool:
    """Whether a column can hold text of any form, and so is searched wherever it stands."""
    if column.type.family == "array" and column.type.element is not None:
        return column.type.element.family not in _SILENT
    return column.type.family not in _SILENT and column.kind != "large objects"


def _expression(column: Column, alias: str) -> str:
    name = column_name(alias, column.name)
    if column.type.family in TREES:
        return f"pg_catalog.to_json({name})::text"
    if column.type.family == "bytea":
        return f"encode(sha256({name}), 'hex') || ':' || encode(substr({name}, 1, {_BYTES}), 'hex')"
    return f"{name}::text"


def select(columns: Sequence[Column], table: Column, *, first: str = "") -> str:
    """The SELECT that gives `columns` of `table` as text; `first` is an expression before them."""
    only = "ONLY " if table.kind == "table" else ""
    exprs = [first] if first else []
    exprs += [_expression(column, "t") for column in columns]
    return f"SELECT {', '.join(exprs)} FROM {only}{table.sql_table} AS t"


def content(raw: str) -> bytes:
    """The bytes of a bytea value as `select` gives it."""
    return bytes.fromhex(raw[65:])


def compared(column: Column, raw: str) -> list[str]:
    """The pieces of a value that must not be found again in the same place."""
    family = column.type.family
    if family in TREES:
        return json_leaves(raw)
    if family == "bytea":
        # Placeholders and empty values are nobody's.
        return [raw[:64]] if raw[65:].strip("0") else []
    return [raw]


def searched(column: Column, raw: str) -> str:
    """The value as text to be searched; "" for bytes that are no text (see `content`)."""
    family = column.type.family
    if family in TREES:
        return " ".join(json_leaves(raw, keys=True)) + " "
    if family == "bytea":
        try:
            return content(raw).decode()
        except UnicodeDecodeError:
            return ""
    return raw


def tables(inventory: Sequence[Classified]) -> list[list[Classified]]:
    """The inventory in groups of one relation each; large objects left out."""
    groups: dict[tuple[str, str], list[Classified]] = {}
    for one in inventory:
        if one.column.kind != "large objects":
            groups.setdefault((one.column.schema, one.column.table), []).append(one)
    return list(groups.values())


def key_columns(group: Sequence[Classified]) -> tuple[tuple[str, ...], bool]:
    """The columns that tell which row is which, and whether they tell it for certain. Without a
    primary key (a ctid means nothing in another database), or with one that is itself masked:
    numbers and keys, if there are."""
    primary = tuple(one.column.name for one in group if one.column.primary)
    if primary and not any(one.personal for one in group if one.column.primary):
        return primary, True
    return tuple(
        one.column.name
        for one in group
        if not one.personal and one.column.type.family in ("number", "uuid")
    ), False
