"""What a site said of single places in the JSON documents of a column: SQL/JSON paths, each with a
kind or `harmless`. Server and Python go by the same patterns over the way to a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, final

from biso_tasks.privacy.detect import leaves

__all__ = ["HARMLESS", "STEP", "Paths", "said_at"]

HARMLESS: Final = "harmless"

Paths = tuple[tuple[str, str], ...]
"""SQL/JSON paths, each with what was said of it."""

STEP: Final = "\x1f"  # before each part of a way: a member by its name, an element by #0
_PART: Final = re.compile(r'\.(?P<name>[^\W\d]\w*)|\."(?P<quoted>[^"]+)"|\.(?P<wild>\*\*?)|'
                          r"\[(?P<element>\*|\d+)\]")  # fmt: skip
# As in SQL/JSON's lax mode, a member of an array is that of its elements.
_UNWRAPPED: Final = f"(?:{STEP}#[0-9]+)*"


@final
class Said:
    """The paths of one column. What is said of a place is said of all within."""

    __slots__ = ("_rules", "patterns")

    def __init__(self, paths: Paths) -> None:
        ordered = sorted(paths, key=lambda one: ("*" in one[0], -len(_parts(one[0]))))
        self.patterns: list[tuple[str, str]] = [(_pattern(path), kind) for path, kind in ordered]
        self._rules = [(re.compile(pattern), kind) for pattern, kind in self.patterns]

    def kind(self, way: str) -> str:
        """What was said of the place at the end of `way`; "" for nothing."""
        return next((kind for rule, kind in self._rules if rule.search(way)), "")

    def personal(self, document: Any, *, keys: bool = False) -> list[str]:
        """`detect.leaves` of a parsed document, without what is harmless."""
        return list(self._leaves(document, "", keys))

    def _leaves(self, value: Any, way: str, keys: bool) -> Iterator[str]:
        if type(value) is dict:
            for name, inner in value.items():
                at = f"{way}{STEP}{name}"
                if keys and self.kind(at) != HARMLESS:
                    yield name
                yield from self._leaves(inner, at, keys)
        elif type(value) is list:
            for number, inner in enumerate(value):
                yield from self._leaves(inner, f"{way}{STEP}#{number}", keys)
        elif self.kind(way) != HARMLESS:
            yield from leaves([value])


@lru_cache(maxsize=256)
def said_at(paths: Paths) -> Said:
    """The rules of a column, made once."""
    return Said(paths)


def _parts(path: str) -> list[re.Match[str]]:
    return list(_PART.finditer(path))


def _pattern(path: str) -> str:
    """A regular expression that PostgreSQL and Python read alike."""
    made = ""
    for part in _parts(path):
        name = part["name"] or part["quoted"]
        if name is not None:
            made += f"{_UNWRAPPED}{STEP}{re.escape(name)}"
        elif part["wild"] == "**":
            made += f"(?:{STEP}[^{STEP}]*)*"
        elif part["wild"] == "*":
            made += f"{_UNWRAPPED}{STEP}[^{STEP}]*"
        else:
            made += f"{STEP}#{'[0-9]+' if part['element'] == '*' else part['element']}"
    return f"^{made}(?:{STEP}|$)"
