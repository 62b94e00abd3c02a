"""`[neutralize] config`: what the config.php of a test instance must say. A refresh leaves that
file as it is, so it is looked at while planning; the stage's own wrapper says it in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from biso_tasks.config.model import Environment, Site
from biso_tasks.errors import Refused
from biso_tasks.instance.config_php import Facts, Value, leaves
from biso_tasks.stage.isolation import literal

__all__ = ["Settings", "differing", "require_neutral", "settings_of", "with_settings"]

Settings = tuple[tuple[str, Any], ...]

_MISSING: Final = object()


def settings_of(site: Site, environment: Environment) -> Settings:
    """What this environment's config.php must say; nothing where it is production."""
    return site.neutralize.config if environment.role == "test" else ()


def differing(facts: Facts, settings: Settings) -> Settings:
    """Those of `settings` that are not so in `facts`."""
    return tuple((key, wanted) for key, wanted in settings if not _same(_said(facts, key), wanted))


def require_neutral(facts: Facts, settings: Settings, where: str) -> None:
    """Raises Refused, naming each key, where `facts`, what a config.php evaluates to, say something
    else. What they say is not shown: it may be a password."""
    wrong = differing(facts, settings)
    if wrong:
        keys = ", ".join(
            f"{key} ({'is not set' if _said(facts, key) is _MISSING else 'says something else'})"
            for key, _ in wrong
        )
        lines = " ".join(f"Config::set({literal(key)}, {literal(value)});" for key, value in wrong)
        raise Refused(
            f"{where}: config.php is not what [neutralize] config wants: {keys}",
            hint=f"a refresh leaves config.php as it is: put there {lines}",
        )


def with_settings(values: Mapping[str, Value], settings: Settings) -> dict[str, Any]:
    """The top keys of config.php that change, with their new values: `mail.host` is one key, or the
    entry `host` of the array `mail`."""
    changed: dict[str, Any] = {}
    for key, wanted in settings:
        top, rest = _parted(values, key)
        changed[top] = _put(changed.get(top, values.get(top)), rest, wanted)
    return changed


def _parted(values: Mapping[str, Value], key: str) -> tuple[str, Sequence[str]]:
    """The longest beginning of `key` that is a key with an array, and the way within it."""
    if key in values:
        return key, ()
    parts = key.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if isinstance(values.get(".".join(parts[:end])), dict):
            return ".".join(parts[:end]), parts[end:]
    return key, ()


def _put(value: Any, way: Sequence[str], wanted: Any) -> Any:
    if not way:
        return wanted
    inner = dict(value) if isinstance(value, dict) else {}
    inner[way[0]] = _put(inner.get(way[0]), way[1:], wanted)
    return inner


def _said(facts: Facts, key: str) -> object:
    if key in facts.values:
        return facts.values[key]
    return next((value for path, value in leaves(dict(facts.values)) if path == key), _MISSING)


def _same(said: object, wanted: object) -> bool:
    # 1 == True in Python; in PHP a test with === tells them apart.
    if isinstance(said, bool) or isinstance(wanted, bool):
        return said is wanted
    return said == wanted
