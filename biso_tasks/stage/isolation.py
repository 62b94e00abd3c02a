"""The stage must not reach the live instance: its config.php wraps the original, and what the
wrapped one evaluates to is searched for anything live that is left.

A value that config.php derived from the live path *before* the wrapper sets the stage's keeps that
path; so the evaluated result is what is checked, and a finding names the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from biso_tasks.errors import Refused
from biso_tasks.instance.config_php import Facts, leaves

__all__ = ["check", "literal", "wrapper"]

_HARMLESS_KEYS = {"user", "username", "role", "owner", "password", "passwd", "pass", "host", "env"}


def wrapper(
    original: str,
    values: Mapping[str, Any],
    *,
    about: str = "The stage of a test refresh: the original first, then the stage's own places.",
) -> bytes:
    """A config.php that requires `original` (a file name beside it), then sets `values`; `about`
    is its comment.

    A wrapper, since lines appended to the original would be text after its end tag, or never run
    after its `return`. `env` is never among the values: the anonymiser's own guard stays real.
    """
    lines = [
        "<?php",
        f"// {about}",
        f"require __DIR__ . '/' . {literal(original)};",
        *(f"Config::set({literal(key)}, {literal(value)});" for key, value in values.items()),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def check(
    evaluated: Facts,
    *,
    environment: str,
    stage_paths: Sequence[str],
    live_paths: Sequence[str],
    live_databases: Sequence[str],
) -> None:
    """Raises Refused, naming each key of the evaluated config.php that still holds a live path or
    names a live database."""
    found = list(_findings(evaluated, stage_paths, live_paths, live_databases))
    if found:
        keys = "; ".join(f"'{key}' {what}" for key, what in found)
        raise Refused(
            f"{environment}: the stage's config.php still points at what is live: {keys}",
            hint="let config.php derive these values from __DIR__ or from the data dir set last, "
            'or use strategy = "in-place"',
        )


def _findings(
    facts: Facts,
    stage_paths: Sequence[str],
    live_paths: Sequence[str],
    live_databases: Sequence[str],
) -> Iterator[tuple[str, str]]:
    for key, value in leaves(dict(facts.values)):
        if not isinstance(value, str) or not value:
            continue
        rest = value
        for path in sorted(stage_paths, key=len, reverse=True):
            # A word, not nothing: of /biso-stage/data a live /data would be left
            rest = rest.replace(path, "stage")
        held = next((path for path in live_paths if _holds(rest, path)), None)
        if held is not None:
            yield key, f"holds the live path {held}"
            continue
        if key.rpartition(".")[2].lower() in _HARMLESS_KEYS:
            continue
        name = next((name for name in live_databases if _names(value, name)), None)
        if name is not None:
            yield key, f"names the live database {name}"


def _holds(value: str, path: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(path.rstrip('/'))}(?![\w.-])", value) is not None


def _names(value: str, database: str) -> bool:
    name = re.escape(database)
    if value == database:
        return True
    # A DSN or a URI: pgsql:host=db;dbname=biso_test, postgresql://host/biso_test?x
    return (
        re.search(rf"(dbname\s*=\s*'?{name}(?![\w$-]))|(://[^\s?]*/{name}(?![\w$-]))", value)
        is not None
    )


def literal(value: Any) -> str:
    """`value` as PHP writes it. Raises TypeError for what config.php cannot have held."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, Mapping):
        items = (f"{literal(key)} => {literal(item)}" for key, item in value.items())
        return f"[{', '.join(items)}]"
    raise TypeError(f"no PHP literal for {type(value).__name__}")
