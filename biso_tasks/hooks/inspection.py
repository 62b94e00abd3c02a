"""Looks a plugin over before it is registered: misspelt hooks, wrong arguments, no marker."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from biso_tasks.hooks.specs import POLICY, PROJECT, arguments, signature

__all__ = ["Inspection", "inspect_plugin"]

MARK: Final = f"{PROJECT}_impl"


@dataclass(frozen=True, slots=True)
class Inspection:
    """`hooks` are those implemented; `errors` keep a plugin from being used, `warnings` do not."""

    hooks: tuple[str, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def inspect_plugin(plugin: object, source: str) -> Inspection:
    """Look at every function of a module or object. Messages start with file and line."""
    hooks: list[str] = []
    errors: list[str] = []
    warnings: list[str] = []
    for name, function, marks in _functions(plugin):
        place = _place(function, source)
        if marks is None:
            if name.startswith("biso_"):
                known = name if name in POLICY else next(iter(_close(name)), "")
                mean = f" for the hook {known}" if known else ""
                warnings.append(
                    f"{place}: {name} is not marked with @hookimpl{mean}: it is never called"
                )
            continue
        hook = str(marks.get("specname") or name)
        problem = _problem(hook, function, marks)
        if problem:
            errors.append(f"{place}: {problem}")
        else:
            hooks.append(hook)
    return Inspection(tuple(sorted(set(hooks))), tuple(errors), tuple(warnings))


def _problem(hook: str, function: Any, marks: dict[str, Any]) -> str:
    if hook not in POLICY:
        close = _close(hook)
        mean = f' (did you mean "{close[0]}"?)' if close else "; `invoke hooks` lists them"
        return f'there is no hook "{hook}"{mean}'
    if marks.get("wrapper") or marks.get("hookwrapper"):
        return f"{hook}: wrappers are not supported, write a plain function"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"{hook}: an async function would never run, write a plain one"
    known = arguments(hook)
    for one in inspect.signature(function).parameters.values():
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD):
            return f"{hook}: it is called with arguments by name: {signature(hook)}"
        if one.name not in known:
            close = difflib.get_close_matches(one.name, known, n=1)
            mean = f' (did you mean "{close[0]}"?)' if close else ""
            return f'{hook} has no argument "{one.name}"{mean}: {signature(hook)}'
    return ""


def _functions(plugin: object) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    for name in dir(plugin):
        # Static: looking must not run a property.
        static = inspect.getattr_static(plugin, name, None)
        inner = getattr(static, "__func__", static)
        if inspect.isfunction(inner):
            marks = getattr(inner, MARK, None)
            yield name, getattr(plugin, name), marks if isinstance(marks, dict) else None


def _place(function: Any, source: str) -> str:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else source


def _close(name: str) -> list[str]:
    return difflib.get_close_matches(name, POLICY, n=1)
