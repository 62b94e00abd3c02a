"""What is wrong with biso.toml: each finding with file, line, key, cause and remedy, all of them in
one error, and how values and keys are shown in them.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from biso_tasks.errors import ConfigError

__all__ = [
    "CONTROL",
    "BadConfig",
    "Finding",
    "KeyPath",
    "Places",
    "PluginsPart",
    "closest",
    "dotted",
    "finding",
    "one_of",
    "shown",
]

KeyPath = tuple[str | int, ...]

# Which file and line each key stands at.
Places = Mapping[KeyPath, tuple[str, int]]

# C0, DEL, C1, and what reorders or breaks a line on a terminal: none of it may reach one.
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `line` is 0 where the file as a whole is meant."""

    file: str
    line: int
    key: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} ({self.remedy})"

    @property
    def what(self) -> str:
        """Place, key and cause."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.cause}"


@dataclass(frozen=True, slots=True)
class PluginsPart:
    """What a config says of plugins, as far as it can be read: whoever they tell of failures hears
    of a wrong config as well. `root` is where relative `folders` start."""

    root: Path
    folders: tuple[str, ...]
    disable: tuple[str, ...]
    sections: Mapping[str, Mapping[str, Any]]


class BadConfig(ConfigError):
    """Every finding at once, one a line, in the order of the files. Exit 2. `plugins` is None where
    it is no TOML."""

    def __init__(self, findings: Iterable[Finding], plugins: PluginsPart | None = None) -> None:
        self.findings = tuple(dict.fromkeys(findings))
        self.plugins = plugins
        super().__init__("\n".join(str(finding) for finding in self.findings))


def finding(places: Places, path: KeyPath, cause: str, remedy: str, *, file: str) -> Finding:
    """A finding about `path`, at the line of the nearest table that is written where it is not;
    `file` is named where none is."""
    at = path
    while at and at not in places:
        at = at[:-1]
    name, line = places.get(at, (file, 0))
    return Finding(name, line, dotted(path), cause, remedy)


def dotted(path: Sequence[str | int]) -> str:
    """A key as TOML would write it: `environments.test.role`, `refresh.files."**"`, `stop[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part if _BARE.fullmatch(part) else _quoted(part)
            text += f".{bare}" if text else bare
    return text


def shown(value: Any) -> str:
    """A value as TOML would write it, on one line and not too long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):
            return "an array of tables"
        if len(value) <= 3 and all(isinstance(item, str | int | float) for item in value):
            return f"[{', '.join(shown(item) for item in value)}]"
        return "an array"
    if isinstance(value, datetime.date | datetime.time):
        return "a date" if isinstance(value, datetime.date) else "a time"
    # Hexadecimal TOML integers have no limit, but Python refuses to print more than 4300 digits.
    if isinstance(value, int) and value.bit_length() > 128:
        return "a very large number"
    return str(value)


def one_of(values: Iterable[Any]) -> str:
    """`"a", "b" or "c"`."""
    texts = [shown(value) for value in values]
    return " or ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part)


def closest(word: object, known: Iterable[object]) -> str:
    """The known word that was probably meant, or ""."""
    if not isinstance(word, str) or len(word) > 100:
        return ""
    words = {str(item).casefold(): str(item) for item in known if isinstance(item, str)}
    found = get_close_matches(word.casefold(), words, n=1, cutoff=0.6)
    return words[found[0]] if found else ""


def _quoted(text: str) -> str:
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    plain = json.dumps(cut, ensure_ascii=False)
    return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", plain)
