"""Turns the tables of biso.toml into the classes of model.py by walking their type hints, and
collects everything that is wrong on the way instead of stopping at the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, final, get_args, get_origin

from biso_tasks.config.findings import (
    Finding,
    KeyPath,
    Places,
    closest,
    dotted,
    finding,
    one_of,
    shown,
)
from biso_tasks.config.forms import words_of
from biso_tasks.config.schema import Form, Key, Slot, Wrong, slots, split

__all__ = ["Walk"]

Model = TypeVar("Model")

_SECRETS: Final = frozenset(
    {"password", "passwd", "pass", "passphrase", "secret", "token", "pgpassword"}
)
_NOWHERE: Final = object()


@final
class Walk:
    """One validation. `findings` grows; a value that is wrong is replaced by its default, and its
    path is remembered, so that later rules do not report what follows from it."""

    def __init__(self, raw: dict[str, Any], places: Places, *, file: str, root: Path) -> None:
        self.raw = raw
        self.findings: list[Finding] = []
        self._places = places
        self._file = file
        self._root = root
        self._bad: set[KeyPath] = set()
        self._homes: dict[str, tuple[str, ...]] = {}

    def document(self, model: type[Model]) -> Model:
        """The whole file as `model`. What was wrong is in `findings`."""
        self._homes = _homes(model)
        return cast(Model, self._table(model, self.raw, ()))

    def report(self, path: KeyPath, cause: str, remedy: str) -> None:
        """One finding about `path`, or about the nearest table that is written where it is not."""
        self._bad.add(path)
        self.findings.append(finding(self._places, path, cause, remedy, file=self._file))

    def given(self, *path: str) -> bool:
        """Whether this key is written at all."""
        here: object = self.raw
        for part in path:
            here = here.get(part, _NOWHERE) if isinstance(here, dict) else _NOWHERE
            if here is _NOWHERE:
                return False
        return True

    def fine(self, *path: str | int) -> bool:
        """Whether nothing was reported about this key, anything in it, or a table around it."""
        return not any(
            bad == path[: len(bad)] or path == bad[: len(path)] for bad in self._bad if bad
        )

    def _value(self, hint: Any, raw: Any, path: KeyPath) -> Any:
        """The value, or `_NOWHERE` after a report."""
        base, notes = split(hint)
        if form := next((note for note in notes if isinstance(note, Form)), None):
            return self._formed(form, raw, path)
        if is_dataclass(base) and isinstance(base, type):
            return self._table(base, raw, path)
        if base is Any:
            return raw
        origin = get_origin(base) or base
        if origin is Literal:
            return self._choice(get_args(base), raw, path)
        if origin is dict:
            return raw if self._is(dict, "a table", raw, path) else _NOWHERE
        if origin is tuple:
            return self._many(base, next((n for n in notes if isinstance(n, Key)), None), raw, path)
        texts = {str: "a string", bool: "true or false", int: "a whole number"}
        return raw if self._is(base, texts[base], raw, path) else _NOWHERE

    def _formed(self, form: Form, raw: Any, path: KeyPath) -> Any:
        if form.takes is not object and not self._is(
            form.takes, "a string" if form.takes is str else form.text, raw, path
        ):
            return _NOWHERE
        try:
            return form.check(raw, self._root)
        except Wrong as wrong:
            self.report(path, wrong.cause, wrong.remedy)
            return _NOWHERE

    def _choice(self, choices: tuple[Any, ...], raw: Any, path: KeyPath) -> Any:
        # 1 == True in Python, but not in biso.toml.
        if any(type(raw) is type(choice) and raw == choice for choice in choices):
            return raw
        meant = closest(raw, choices)
        remedy = f'did you mean "{meant}"?' if meant else f"write {one_of(choices)}"
        if isinstance(raw, str) and raw.lower() in {"true", "false"} and True in choices:
            remedy = f"without quotes: {raw.lower()}"
        self.report(path, f"expected {one_of(choices)}, got {shown(raw)}", remedy)
        return _NOWHERE

    def _table(self, model: type, raw: Any, path: KeyPath, header: str = "") -> Any:
        if not self._is(dict, "a table", raw, path):
            return _NOWHERE
        known = slots(model)
        keys = {slot.name: slot for slot in known if slot.key}
        for name in raw:
            if name not in keys:
                self._unknown((*path, name), tuple(keys))
        values = {}
        for slot in known:
            if slot.key is None:
                self._value(slot.hint, header, path)
                values[slot.field] = header
            elif slot.name in raw:
                value = self._value(slot.hint, raw[slot.name], (*path, slot.name))
                values[slot.field] = self._default(slot, path) if value is _NOWHERE else value
            else:
                if slot.required:
                    self.report((*path, slot.name), "is missing", _example(slot))
                values[slot.field] = self._default(slot, path)
        return model(**values)

    def _default(self, slot: Slot, table: KeyPath) -> Any:
        """A default goes the same way as a written value, so that "~/" and "./" are resolved."""
        default, path = slot.default, (*table, slot.name)
        if slot.required:
            return ""
        if is_dataclass(default):
            return self._table(type(default), {}, path)
        if isinstance(default, str) and default:
            return self._value(slot.hint, default, path)
        if isinstance(default, tuple) and default:
            return self._value(slot.hint, list(default), path)
        return default

    def _many(self, base: Any, key: Key | None, raw: Any, path: KeyPath) -> Any:
        """A tuple in the model: tables by name, free keys, an array of tables, or plain values."""
        item = get_args(base)[0]
        inner, _ = split(item)
        if is_dataclass(inner) and isinstance(inner, type):
            if any(slot.key is None for slot in slots(inner)):
                return self._named(inner, raw, path)
            return self._rows(inner, raw, path)
        if get_origin(inner) is tuple:
            return self._pairs(get_args(inner), key.names if key else (), raw, path)
        if get_origin(inner) is dict and key is not None and key.rows is not None:
            return self._plain_rows(key.rows, raw, path)
        remedy = f"write [{shown(raw)}]" if isinstance(raw, str) else ""
        if not self._is(list, "an array", raw, path, remedy):
            return _NOWHERE
        return self._all(lambda i: self._value(item, raw[i], (*path, i)), len(raw))

    def _named(self, model: type, raw: Any, path: KeyPath) -> Any:
        if not self._is(dict, "a table", raw, path, f"write [{dotted(path)}.NAME]"):
            return _NOWHERE
        found = []
        for name, table in raw.items():
            if isinstance(table, dict):
                found.append(self._table(model, table, (*path, name), name))
                continue
            remedy = f"keys stand in a table with a name: [{dotted(path)}.NAME]"
            self._is(dict, "a table", table, (*path, name), remedy)
        return tuple(found)

    def _rows(self, model: type, raw: Any, path: KeyPath) -> Any:
        if not self._is_rows(raw, path):
            return _NOWHERE
        return self._all(lambda i: self._table(model, raw[i], (*path, i)), len(raw))

    def _plain_rows(self, model: type, raw: Any, path: KeyPath) -> Any:
        if not self._is_rows(raw, path):
            return _NOWHERE
        fields = tuple((slot.name, slot.field) for slot in slots(model))

        def row(i: int) -> Any:
            value = self._table(model, raw[i], (*path, i))
            if value is _NOWHERE:
                return value
            return {name: getattr(value, attr) for name, attr in fields if name in raw[i]}

        return self._all(row, len(raw))

    def _pairs(
        self, hints: tuple[Any, ...], names: tuple[str, ...], raw: Any, path: KeyPath
    ) -> Any:
        if not self._is(dict, "a table", raw, path):
            return _NOWHERE
        pairs = []
        for name, item in raw.items():
            below = (*path, name)
            if names and name not in names:
                self._unknown(below, names)
                continue
            key, value = self._value(hints[0], name, below), self._value(hints[1], item, below)
            if key is not _NOWHERE and value is not _NOWHERE:
                pairs.append((key, value))
        return tuple(pairs)

    def _all(self, each: Callable[[int], Any], count: int) -> tuple[Any, ...]:
        values = [each(i) for i in range(count)]
        return tuple(value for value in values if value is not _NOWHERE)

    def _is_rows(self, raw: Any, path: KeyPath) -> bool:
        header = f"[[{dotted(path)}]]"
        return self._is(list, "an array of tables", raw, path, f"write {header}, two brackets")

    def _is(self, kind: type, text: str, raw: Any, path: KeyPath, remedy: str = "") -> bool:
        if isinstance(raw, kind) and not (kind is int and isinstance(raw, bool)):
            return True
        self.report(
            path, f"expected {text}, got {shown(raw)}", remedy or _rewritten(kind, raw, path)
        )
        return False

    def _unknown(self, path: KeyPath, known: tuple[str, ...]) -> None:
        name = str(path[-1])
        if name.lower() in _SECRETS and name not in known:
            self.report(
                path,
                "passwords never stand in biso.toml",
                "the application's is in config.php, and admin connects without one (see run_as)",
            )
            return
        homes = [home for home in self._homes.get(name, ()) if home != dotted(path[:-1])]
        if meant := closest(name, known):
            remedy = f'did you mean "{meant}"?'
        elif homes:
            remedy = f"it belongs in {' or '.join(f'[{home}]' for home in homes)}"
        else:
            remedy = f"known here: {', '.join(known)}"
        self.report(path, "unknown key", remedy)


def _rewritten(kind: type, raw: Any, path: KeyPath) -> str:
    """How the value is written so that it has the right type."""
    if kind is dict:
        return f"write [{dotted(path)}]" + (
            ", one bracket" if isinstance(raw, list) else " and its keys below it"
        )
    if kind is str:
        if isinstance(raw, list):
            return "write one value in quotes, without brackets"
        return (
            f"write {shown(shown(raw))}" if isinstance(raw, int | float) else "write it in quotes"
        )
    if kind is list:
        return f"write {words_of(raw)}"
    if kind is bool:
        lower = raw.lower() if isinstance(raw, str) else ""
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(lower, lower)
        return f"without quotes: {meant}" if meant in {"true", "false"} else "write true or false"
    if isinstance(raw, str) and raw.isascii() and raw.isdigit():
        return f"without quotes: {raw}"
    return "write digits, without quotes"


def _example(slot: Slot) -> str:
    base, _ = split(slot.hint)
    if get_origin(base) is Literal:
        return f"write {slot.name} = {one_of(get_args(base))}"
    doc = slot.key.doc if slot.key else ""
    return f"write {slot.name} = …: {doc[:1].lower()}{doc[1:].rstrip('.')}"


def _homes(model: type, prefix: str = "") -> dict[str, tuple[str, ...]]:
    """In which sections each key name is known: where a key that is unknown here belongs."""
    homes: dict[str, tuple[str, ...]] = {}
    for slot in slots(model):
        if slot.key is None:
            continue
        base, _ = split(slot.hint)
        inner, _ = split(get_args(base)[0]) if get_origin(base) is tuple else (base, ())
        if not (is_dataclass(inner) and isinstance(inner, type)):
            homes[slot.name] = (*homes.get(slot.name, ()), prefix)
            continue
        named = any(below.key is None for below in slots(inner))
        section = ".".join(part for part in (prefix, slot.name, "NAME" if named else "") if part)
        for name, found in _homes(inner, section).items():
            homes[name] = (*homes.get(name, ()), *found)
    return homes
