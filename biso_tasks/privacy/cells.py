"""How one column is read: the SQL that gives its value as text, and the pieces of that text which
are compared and searched. Source and stage use the same, or nothing could be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.detect import json_leaves, leaves, spoken
from biso_tasks.privacy.paths import said_at
from biso_tasks.privacy.sqltext import column_name

__all__ = [
    "FEW",
    "MUTE",
    "TREES",
    "Values",
    "compared",
    "content",
    "expression",
    "key_columns",
    "numbers",
    "readable",
    "searched",
    "stored",
    "tables",
    "whole_columns",
]

TREES = frozenset(("json", "jsonb", "array", "composite", "hstore"))
# Compared, but not searched: no name, number or text of a person stands in them.
MUTE = frozenset(("date", "timestamp", "range", "network"))
# Documents with a member of that name: one that more have is the software's own word.
FEW = 9
_SILENT = frozenset(("boolean", "time", "enum", "uuid", "number"))
_PLAIN = frozenset(("number", "uuid", "timestamp", "date", "boolean", "enum", "time", "text"))
_LONG_NUMBERS = frozenset(("int8", "numeric", "float8"))
_MOMENT = re.compile(r"\d{4,6}-\d\d-\d\d(?:T[\d:.+-]+)?(?: BC)?")
_BYTES = 33_554_432  # of one bytea, searched for text; its checksum covers all of it


def readable(column: Column) -> bool:
    """Whether a column can hold text of any form, and so is searched wherever it stands."""
    element = column.type.element
    if column.type.family == "array" and element is not None:
        return element.family not in _SILENT or element.name in _LONG_NUMBERS
    return column.type.family not in _SILENT and column.kind != "large objects"


def expression(column: Column, alias: str) -> str:
    """How a column is read as text."""
    name = column_name(alias, column.name)
    if column.type.family in TREES:
        return f"pg_catalog.to_json({name})::text"
    if column.type.family == "bytea":
        return f"encode(sha256({name}), 'hex') || ':' || encode(substr({name}, 1, {_BYTES}), 'hex')"
    return f"{name}::text"


def numbers(column: Column, alias: str) -> str | None:
    """How a column of numbers is read to be searched: only what can be an AHV number or a phone
    number with its country, all others NULL. None where its type holds no such thing."""
    if column.type.family != "number" or column.type.name not in _LONG_NUMBERS:
        return None
    name = column_name(alias, column.name)
    return f"CASE WHEN {name} BETWEEN 1e10 AND 1e15 THEN trunc({name}::numeric)::text END"


def content(raw: str) -> bytes:
    """The bytes of a bytea value as `expression` gives it."""
    return bytes.fromhex(raw[65:])


def stored(digest: str) -> str:
    """A bytea value of which the checksum is enough, as `expression` gives it."""
    return f"{digest}:01"


def compared(column: Column, raw: str) -> list[str]:
    """The pieces of a value that must not be found again in the same place."""
    family = column.type.family
    if family in TREES:
        document = _parsed(raw) if column.paths else None
        if document is not None:
            return said_at(column.paths).personal(document)
        return json_leaves(raw)
    if family == "bytea":
        # Placeholders and empty values are nobody's.
        return [raw[:64]] if raw[65:].strip("0") else []
    return [raw]


def searched(column: Column, raw: str) -> str:
    """The value as text to be searched; "" for bytes that are no text (see `content`)."""
    family = column.type.family
    if family in TREES:
        return " ".join(_spoken(column, json_leaves(raw, keys=True))) + " "
    if family == "number":
        return spoken(raw)
    if family == "bytea":
        try:
            return content(raw).decode()
        except UnicodeDecodeError:
            return ""
    return raw


def _spoken(column: Column, found: list[str]) -> list[str]:
    """Without dates and times, as columns of them are `MUTE`: a row of numbers is no sentence."""
    if column.type.family in ("array", "composite"):
        return [one for one in found if not _MOMENT.fullmatch(one)]
    return found


class Values:
    """Many values of one column, "" for NULL, and what of them is compared and searched."""

    def __init__(self, column: Column, raw: Sequence[str]) -> None:
        self.column = column
        self.raw = raw
        # What `bound.Cells` made of them, by whether rows are told apart: it is asked for twice.
        self.weighed: dict[bool, tuple[Sequence[int], list[str]]] = {}
        self._documents: list[Any] | None = None
        if column.type.family in TREES:
            self._documents = _documents(raw)

    def compared(self) -> list[list[str]]:
        """`compared` of each; "" has no pieces."""
        if self._documents is not None:
            if self.column.paths:
                return list(map(said_at(self.column.paths).personal, self._documents))
            return [leaves(one) for one in self._documents]
        return [compared(self.column, value) if value else [] for value in self.raw]

    def searched(self) -> Sequence[str]:
        """`searched` of each; "" for ""."""
        family = self.column.type.family
        if self._documents is not None:
            found = (leaves(one, keys=True) for one in self._documents)
            return [" ".join(_spoken(self.column, one)) for one in found]
        if family in TREES or family in ("bytea", "number"):
            return [searched(self.column, value) if value else "" for value in self.raw]
        return self.raw

    def learnt(self) -> Sequence[str]:
        """What of each is learnt: what is searched, without places that a site calls harmless."""
        if self._documents is None or not self.column.paths:
            return self.searched()
        said = said_at(self.column.paths)
        return [" ".join(said.personal(one, keys=True)) for one in self._documents]

    def members(self) -> Iterator[str]:
        """The names of the members of all documents, each as often as it comes."""
        found = self._documents
        for one in found if found is not None else map(_parsed, self.raw):
            yield from _names(one)


def _documents(values: Sequence[str]) -> list[Any] | None:
    """Many JSON documents, parsed at once; None where one of them is none."""
    try:
        found: list[Any] = json.loads(f"[{','.join([value or 'null' for value in values])}]")
    except (ValueError, RecursionError):
        return None
    return found if len(found) == len(values) else None


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _names(value: Any) -> Iterator[str]:
    if type(value) is dict:
        yield from value
        value = value.values()
    elif type(value) is not list:
        return
    for inner in value:
        if type(inner) is dict or type(inner) is list:
            yield from _names(inner)


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


def whole_columns(group: Sequence[Classified]) -> list[Column]:
    """What stays as it is in a table: all of it together may tell its rows apart where it has no
    primary key."""
    return [
        one.column
        for one in group
        if not one.personal
        and not one.column.generated
        and one.column.kind == "table"
        and one.column.type.family in _PLAIN
    ]
