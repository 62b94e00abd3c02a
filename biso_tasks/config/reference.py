"""Every key of biso.toml with its type, default and doc, taken from the model: the one source of
the generated reference and of the comments that `init` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, get_args, get_origin

from biso_tasks.config import forms
from biso_tasks.config.duration import duration_text
from biso_tasks.config.findings import one_of, shown
from biso_tasks.config.model import Document
from biso_tasks.config.schema import Form, Key, slots, split

__all__ = ["KeyDoc", "keys"]


@dataclass(frozen=True, slots=True)
class KeyDoc:
    """`key` is dotted, with NAME or KEY where the site chooses, `[]` for an array of tables.
    `default` is as TOML writes it, "" where a key has none; `required` where it must be written."""

    key: str
    type: str
    default: str
    doc: str
    required: bool


def keys() -> tuple[KeyDoc, ...]:
    """In the order of the model, sections without defaults of their own left out."""
    return tuple(_keys(Document, ""))


def _keys(model: type, prefix: str) -> Iterator[KeyDoc]:
    for slot in slots(model):
        if slot.key is None:
            continue
        base, notes = split(slot.hint)
        name = prefix + slot.name
        item = get_args(base)[0] if get_origin(base) is tuple else None
        inner, _ = split(item)
        below = base if is_dataclass(base) else inner if is_dataclass(inner) else slot.key.rows
        if isinstance(below, type):
            named = any(each.key is None for each in slots(below))
            part = "" if below is base else ".NAME" if named else "[]"
            yield from _keys(below, f"{name}{part}.")
        elif get_origin(inner) is tuple:
            yield from _table(name, slot.key, get_args(inner))
        else:
            form = next((note for note in notes if isinstance(note, Form)), None)
            default = "" if slot.required else _default(slot.default, form)
            yield KeyDoc(name, _type(slot.hint), default, slot.key.doc, slot.required)


def _table(name: str, key: Key, hints: tuple[Any, ...]) -> Iterator[KeyDoc]:
    value, _ = split(hints[1])
    deeper = get_origin(value) is tuple
    kind = _type(get_args(get_args(value)[0])[1] if deeper else hints[1])
    for below in key.names or ("STEP.KEY" if deeper else "KEY",):
        yield KeyDoc(f"{name}.{below}", kind, "", key.doc, False)


def _type(hint: Any) -> str:
    base, notes = split(hint)
    if form := next((note for note in notes if isinstance(note, Form)), None):
        return form.text
    origin = get_origin(base) or base
    if origin is Literal:
        return one_of(get_args(base))
    if origin is tuple:
        return f"array: {_type(get_args(base)[0])}"
    return {str: "a string", bool: "true or false", int: "a whole number", dict: "a table"}.get(
        origin, "any value"
    )


def _default(default: Any, form: Form | None) -> str:
    if default is None or default == "":
        return ""
    if form in (forms.DURATION, forms.SECONDS):
        return shown(duration_text(default))
    if isinstance(default, tuple):
        return f"[{', '.join(shown(item) for item in default)}]"
    if isinstance(default, dict):
        return "{}"
    return shown(default)
