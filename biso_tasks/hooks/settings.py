"""A plugin's own section of biso.toml: a table becomes the dataclass that the plugin declared."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Union

__all__ = ["read_section"]

Report = Callable[[str, str], None]


def read_section(kind: type[Any], table: Mapping[str, Any], problem: Report) -> Any:
    """An instance of `kind`, or None after calling problem(key, what is wrong) for each finding.

    Fields may be str, int, float, bool, Path, Any, Literal, unions of these, list, tuple[X, ...],
    dict[str, X] and dataclasses of such fields; an int is taken where a float is expected.
    """
    found: list[tuple[str, str]] = []
    value = _dataclass(kind, table, "", found)
    for key, text in found:
        problem(key, text)
    return None if found else value


def _dataclass(kind: type[Any], table: Any, prefix: str, found: list[tuple[str, str]]) -> Any:
    if not isinstance(table, Mapping):
        found.append((prefix, f"expected a table, got {table!r}"))
        return None
    try:
        hints = typing.get_type_hints(kind)
    except NameError as error:
        found.append((prefix, f"{kind.__name__} has a type that cannot be read: {error}"))
        return None
    fields = {one.name: one for one in dataclasses.fields(kind) if one.init}
    before = len(found)
    values: dict[str, Any] = {}
    for key, raw in table.items():
        path = f"{prefix}.{key}" if prefix else key
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            mean = f' (did you mean "{close[0]}"?)' if close else f"; known: {', '.join(fields)}"
            found.append((path, f"unknown key{mean}"))
            continue
        values[key] = _value(hints[key], raw, path, found)
    for name, one in fields.items():
        optional = (
            one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
        )
        if name not in table and not optional:
            found.append((f"{prefix}.{name}" if prefix else name, "is missing"))
    if len(found) > before:
        return None
    try:
        return kind(**values)
    except ValueError as error:  # the plugin's own check, in its __post_init__
        found.append((prefix, str(error)))
        return None


def _value(hint: Any, raw: Any, path: str, found: list[tuple[str, str]]) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return raw
    if origin in (Union, types.UnionType):
        return _union(hint, args, raw, path, found)
    if origin is Literal:
        if not any(raw == one and type(raw) is type(one) for one in args):
            found.append((path, f"expected {' or '.join(map(repr, args))}, got {raw!r}"))
        return raw
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint, raw, path, found)
    if (origin or hint) in (list, tuple):
        return _list(hint, origin or hint, args, raw, path, found)
    if (origin or hint) is dict:
        if not isinstance(raw, Mapping):
            found.append((path, f"expected a table, got {raw!r}"))
            return raw
        inner = args[1] if args else Any
        return {key: _value(inner, one, f"{path}.{key}", found) for key, one in raw.items()}
    return _plain(hint, raw, path, found)


def _union(
    hint: Any, args: tuple[Any, ...], raw: Any, path: str, found: list[tuple[str, str]]
) -> Any:
    for one in args:
        tried: list[tuple[str, str]] = []
        if one is not type(None):
            value = _value(one, raw, path, tried)
            if not tried:
                return value
    shown = " or ".join(_shown(one) for one in args if one is not type(None))
    found.append((path, f"expected {shown}, got {raw!r}"))
    return raw


def _list(
    hint: Any,
    make: Any,
    args: tuple[Any, ...],
    raw: Any,
    path: str,
    found: list[tuple[str, str]],
) -> Any:
    if make is tuple and args and args[-1] is not Ellipsis:
        found.append((path, f"the plugin declares {hint}, which a section cannot have"))
        return raw
    if not isinstance(raw, list):
        found.append((path, f"expected a list, got {raw!r}"))
        return raw
    inner = args[0] if args else Any
    return make(_value(inner, one, f"{path}[{n}]", found) for n, one in enumerate(raw))


def _plain(hint: Any, raw: Any, path: str, found: list[tuple[str, str]]) -> Any:
    if hint is Path and isinstance(raw, str):
        return Path(raw)
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if hint in (str, int, float, bool):
        # True is an int in Python, and not in a configuration.
        if type(raw) is not hint:
            found.append((path, f"expected {_shown(hint)}, got {raw!r}"))
    elif hint is Path:
        found.append((path, f"expected a path as text, got {raw!r}"))
    else:
        found.append((path, f"the plugin declares {_shown(hint)}, which a section cannot have"))
    return raw


def _shown(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
