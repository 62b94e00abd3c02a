"""One implementation of a hook: what it may give, and what its failure means."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pluggy

from biso_tasks.errors import BisoError, Refused
from biso_tasks.hooks.loader import attempt, line_of
from biso_tasks.hooks.specs import POLICY, HookPolicy

__all__ = [
    "Implementation",
    "PluginError",
    "call",
    "explain",
    "failed",
    "implementation",
    "policy",
    "told",
]


class PluginError(BisoError):
    """A plugin raised, or gave something else than its hook asks for. Exit 1."""

    kind = "plugin"


class _Unfit(Exception):
    """What an implementation gave is not what its hook asks for. The text is ours: types, and what
    there is to choose from."""


@dataclass(frozen=True, slots=True)
class Implementation:
    plugin: str
    source: str
    function: Callable[..., Any]
    names: tuple[str, ...]


def implementation(each: pluggy.HookImpl, sources: Mapping[str, str]) -> Implementation:
    """From what pluggy registered; `sources` are the plugins' files by name."""
    names = tuple(inspect.signature(each.function).parameters)
    return Implementation(each.plugin_name, sources[each.plugin_name], each.function, names)


def policy(hook: str, kind: Literal["collect", "first", "observe"]) -> HookPolicy:
    """The hook's policy. Raises ValueError where the hook is of another kind."""
    found = POLICY[hook]
    if found.kind != kind:
        raise ValueError(f"{hook} is called by {found.kind}, not by {kind}")
    return found


def call(hook: str, one: Implementation, given: Mapping[str, Any]) -> tuple[Any, Exception | None]:
    """What the implementation gives, looked over, or what it raised."""
    return attempt(
        lambda: _checked(
            hook, POLICY[hook], one.function(**{name: given[name] for name in one.names})
        )
    )


def failed(hook: str, one: Implementation, error: Exception) -> Any:
    """What stands for the result of an implementation that raised. Raises by the hook's policy:
    Refused, the plugin's own BisoError, or PluginError."""
    policy = POLICY[hook]
    text = explain(hook, one, error)
    if policy.failed is not None:
        result = policy.failed(one.plugin, text)
        return (result,) if policy.many else result
    if policy.on_error == "refuse":
        hint = error.hint if isinstance(error, BisoError) else ""
        raise Refused(text, hint=hint or f'disable the plugin "{one.plugin}"') from error
    if isinstance(error, BisoError):
        # Its kind and its exit code are what the plugin meant to say.
        error.message = f'plugin "{one.plugin}": {error.message}'
        raise error
    hint = f'correct the plugin "{one.plugin}", or disable it'
    raise PluginError(text, hint=hint) from None if policy.discreet else error


def _checked(hook: str, policy: HookPolicy, value: Any) -> Any:
    """The result, if it is what the hook asks for. A generator is run to its end here: later, it
    would raise outside of the isolation."""
    if value is None or not policy.gives:
        return None
    if policy.many:
        single = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
        if single:
            raise _Unfit(f"{hook} gives a list of {_types(policy)}, not a {_type(value)}")
        value = tuple(value)
    for item in value if policy.many else (value,):
        # Types only: the value may be a secret.
        if not isinstance(item, policy.gives):
            raise _Unfit(f"{hook} gives {_types(policy)}, not a {_type(item)}")
        if policy.choices and item not in policy.choices:
            raise _Unfit(f"{hook} gives {' or '.join(policy.choices)}, not {item!r}")
    return value


def _types(policy: HookPolicy) -> str:
    return " or ".join(one.__name__ for one in policy.gives)


def _type(value: Any) -> str:
    return type(value).__name__


def explain(hook: str, one: Implementation, error: Exception) -> str:
    """One line: plugin, file and line, hook, what went wrong."""
    place = line_of(error, one.source)
    if isinstance(error, BisoError):
        what = error.message
    elif isinstance(error, _Unfit):
        what = str(error)
    elif POLICY[hook].discreet:
        what = f"{type(error).__name__}, whose text is not shown: it may quote the secret"
    else:
        what = f"{type(error).__name__}: {error}"
    return f'plugin "{one.plugin}" ({place}): {hook}: {what}'


def told(value: Any) -> str:
    """What came back, for a trace: "3 Change", "Secret", "nothing". Never a value."""
    if value is None or value == ():
        return "nothing"
    if not isinstance(value, tuple):
        return _type(value)
    return ", ".join(f"{count} {name}" for name, count in Counter(map(_type, value)).items())
