"""What was said of columns and files, by privacy.toml or by plugins: rules as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from biso_tasks.privacy.classify import Decided, Kind
from biso_tasks.privacy.columns import Column, Family, Type, family_of

__all__ = [
    "KINDS",
    "FileRule",
    "Inventory",
    "PlaceRule",
    "Rule",
    "Verdict",
    "fits",
    "same_type",
    "type_name",
]

Verdict = Literal["personal", "harmless"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_TEXTS: Final[frozenset[Kind]] = frozenset(
    ("mail", "phone", "identifier", "given", "family", "name", "street", "place", "birth", "text",
     "file")
)  # fmt: skip
_DATES: Final[frozenset[Kind]] = frozenset(("date", "birth"))
_OTHER: Final[frozenset[Kind]] = frozenset(("other",))
_FITS: Final[Mapping[Family, frozenset[Kind]]] = {
    "text": _TEXTS,
    "number": frozenset(("number", "phone", "identifier")),
    "boolean": _OTHER,
    "time": _OTHER,
    "enum": _OTHER,
    "other": _OTHER,
    "date": _DATES,
    "timestamp": _DATES,
    "json": frozenset(("json",)),
    "jsonb": frozenset(("json",)),
    "bytea": frozenset(("bytea",)),
    "xml": frozenset(("xml",)),
    "hstore": frozenset(("hstore",)),
    "network": frozenset(("network",)),
    "uuid": frozenset(("uuid",)),
    "range": frozenset(("range", "date")),
    "search": frozenset(("search",)),
    "composite": frozenset(("composite",)),
    "large object": frozenset(("large object",)),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What columns hold. `pattern` is `table.column`, with its schema outside public, or a pattern
    over such names; `kind` says what is there and so how it is masked, None: nothing personal.
    `type` is what the column had when this was written, "" for any. `paths` are JSON paths with a
    kind or "harmless" each. `place` is file and line, or the plugin."""

    pattern: str
    kind: Kind | None
    reason: str = ""
    type: str = ""
    paths: tuple[tuple[str, str], ...] = ()
    place: str = ""

    @property
    def verdict(self) -> Verdict:
        return "harmless" if self.kind is None else "personal"


@dataclass(frozen=True, slots=True)
class FileRule:
    """What files of the data dir hold, by a pattern as in `[refresh.files]`."""

    pattern: str
    personal: bool
    reason: str = ""
    place: str = ""

    @property
    def verdict(self) -> Verdict:
        return "personal" if self.personal else "harmless"


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """A place of the schema (a comment, a function) whose text names nobody."""

    name: str
    reason: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that was said in one place. `complete`: whatever it says nothing of is drift.
    `digest` is the checksum of the file, in hex."""

    label: str
    decided: Decided
    columns: tuple[Rule, ...] = ()
    large_objects: Rule | None = None
    files: tuple[FileRule, ...] = ()
    schema: tuple[PlaceRule, ...] = ()
    complete: bool = False
    digest: str = ""


def fits(kind: Kind, type: Type) -> bool:
    """Whether what is of this kind can stand in a column of this type."""
    if type.family == "array":
        return kind == "array" or (type.element is not None and fits(kind, type.element))
    return kind in _FITS[type.family]


def type_name(column: Column) -> str:
    """A column's type as people write it, without its length and with its domains taken off."""
    element = column.type.element
    return column.type.name if element is None else f"{element.name}[]"


def same_type(written: str, column: Column) -> bool:
    """Whether a column still has the type `written`, or one that can hold nothing else."""
    if not written or written == type_name(column):
        return True
    element = column.type.element
    if element is not None:
        return written.endswith("[]") and family_of(written[:-2]) == element.family
    return family_of(written) == column.type.family
