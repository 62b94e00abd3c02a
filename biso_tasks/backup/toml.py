"""TOML documents of a set: written so that they come back equal, read so that an error names the
key. TOML has no null (left out) and knows UTF-8 only: a text that is not is `{ hex = "…" }`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import tomli_w

from biso_tasks.backup.ids import BadSet

__all__ = ["Table", "dump", "load"]

T = TypeVar("T")
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def dump(document: Mapping[str, Any], comment: str) -> bytes:
    """The document as UTF-8, below one line of comment."""
    return f"# {comment}\n\n{tomli_w.dumps(_out(dict(document)))}".encode()


def load(content: bytes, name: str) -> Table:
    """The document of the file `name`. Raises BadSet where it is no TOML."""
    try:
        return Table(tomllib.loads(content.decode("utf-8")), name, "")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSet(f"{name} cannot be read: {error}") from error


class Table:
    """One table of a document; each accessor raises BadSet naming file and key."""

    __slots__ = ("_content", "_file", "_place")

    def __init__(self, content: Mapping[str, Any], file: str, place: str) -> None:
        self._content = content
        self._file = file
        self._place = place

    def wrong(self, key: str, why: str) -> BadSet:
        return BadSet(f"{self._file}: {self._place}{key}: {why}")

    def has(self, key: str) -> bool:
        return key in self._content

    def text(self, key: str, *, one_of: Iterable[str] = ()) -> str:
        value = _in(self._get(key))
        allowed = tuple(one_of)
        if not isinstance(value, str):
            raise self.wrong(key, f"expected a text, got {value!r}")
        if allowed and value not in allowed:
            raise self.wrong(key, f"expected {' or '.join(allowed)}, got {value!r}")
        return value

    def maybe_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def sha256(self, key: str) -> str:
        value = self.text(key)
        if not _SHA256.fullmatch(value):
            raise self.wrong(key, f"{value!r} is no SHA-256")
        return value

    def number(self, key: str) -> int:
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.wrong(key, f"expected a whole number, got {value!r}")
        return value

    def seconds(self, key: str) -> float:
        value = self._get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
            raise self.wrong(key, f"expected a number of seconds, got {value!r}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self._get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, f"expected true or false, got {value!r}")
        return value

    def texts(self, key: str, *, one_of: Iterable[str] = ()) -> tuple[str, ...]:
        value = _in(self._get(key))
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(key, "expected an array of texts")
        allowed = tuple(one_of)
        for one in value:
            if allowed and one not in allowed:
                raise self.wrong(key, f"expected {' or '.join(allowed)}, got {one!r}")
        if allowed and len(set(value)) != len(value):
            raise self.wrong(key, "something is there twice")
        return tuple(value)

    def table(self, key: str) -> Table:
        return Table(self._mapping(key, self._get(key)), self._file, f"{self._place}{key}.")

    def maybe_table(self, key: str) -> Table | None:
        return self.table(key) if self.has(key) else None

    def tables(self, key: str) -> tuple[Table, ...]:
        """An array of tables."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "expected an array of tables")
        return tuple(
            Table(self._mapping(key, one), self._file, f"{self._place}{key}[{number}].")
            for number, one in enumerate(value)
        )

    def plain(self, key: str) -> dict[str, Any]:
        """A table as it is, of any keys."""
        found: dict[str, Any] = _in(self._mapping(key, self._get(key)))
        return found

    def made(self, key: str, make: Callable[[dict[str, Any]], T]) -> T:
        """What `make` makes of a table; what it finds wrong is told with file and key."""
        try:
            return make(self.plain(key))
        except (KeyError, TypeError, ValueError) as error:
            raise self.wrong(key, f"{type(error).__name__}: {error}") from error

    def names(self) -> tuple[str, ...]:
        """Its keys, as they stand there."""
        return tuple(self._content)

    def _get(self, key: str) -> Any:
        if key not in self._content:
            raise self.wrong(key, "is missing")
        return self._content[key]

    def _mapping(self, key: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(key, "expected a table")
        return value


def _out(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"hex": os.fsencode(value).hex()}
        return value
    if isinstance(value, Mapping):
        return {key: _out(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_out(one) for one in value]
    return value


def _in(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"hex"} and isinstance(value["hex"], str):
            try:
                return os.fsdecode(bytes.fromhex(value["hex"]))
            except ValueError:
                return value
        return {key: _in(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_in(one) for one in value]
    return value
