"""How model.py declares a key: its type hint carries a `Key` (the one-line doc) and, where plain
typing is not enough, a `Form` (a duration, a path on a host) that checks and converts one value.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

__all__ = ["HEADER", "Form", "Header", "Key", "Slot", "Wrong", "default_of", "slots", "split"]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of biso.toml: `doc` in one line; `name` where TOML's name is no Python name; `names`
    where a table has only these keys; `rows` where the tables of an array are checked against a
    dataclass but kept as plain dicts."""

    doc: str
    name: str = ""
    names: tuple[str, ...] = ()
    rows: type | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """Marks a field that is no key: it holds the last part of the table's header."""


HEADER: Final = Header()


class Wrong(Exception):
    """One value cannot be used: `cause` completes "KEY: …", `remedy` says what to write instead."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Form:
    """What a value must look like. `check` gets the value as TOML gave it (an instance of `takes`)
    and the folder of biso.toml; it returns what the model holds, or raises Wrong."""

    text: str
    check: Callable[[Any, Path], Any]
    takes: type = str


@dataclass(frozen=True, slots=True)
class Slot:
    """One field of a model class as biso.toml sees it; `key` is None for the header's part."""

    field: str
    name: str
    hint: Any
    default: Any
    key: Key | None

    @property
    def required(self) -> bool:
        return self.default is MISSING


@cache
def slots(model: type) -> tuple[Slot, ...]:
    """The keys that a model class declares, in order; `default` is MISSING where there is none."""
    hints = get_type_hints(model, include_extras=True)
    found = []
    for item in fields(model):
        _, notes = split(hints[item.name])
        key = next((note for note in notes if isinstance(note, Key)), None)
        name = (key.name if key else "") or item.name
        found.append(Slot(item.name, name, hints[item.name], default_of(item), key))
    return tuple(found)


def default_of(item: Field[Any]) -> Any:
    """A dataclass field's default, made by its factory where it has one; else MISSING."""
    return item.default_factory() if item.default_factory is not MISSING else item.default


def split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type hint without `Annotated` and `| None`, and everything that was noted on the way."""
    notes: tuple[Any, ...] = ()
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            notes += tuple(more)
        elif get_origin(hint) in (Union, types.UnionType):
            hint = next(part for part in get_args(hint) if part is not type(None))
        else:
            return hint, notes
