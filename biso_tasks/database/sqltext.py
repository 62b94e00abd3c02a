"""SQL text with names and values in it, quoted once for both roads: psycopg and psql's stdin.

psql has no parameters on the wire, so the text itself must be safe there, whatever the server's
`standard_conforming_strings` says: a value with a backslash becomes an E'' literal, and psql's own
`:variables` are not expanded inside quotes. `psycopg.sql` does the quoting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from biso_tasks.errors import Refused

__all__ = ["Name", "Raw", "compose", "name", "query"]


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier, perhaps qualified: `Name("public", "Fall")` → "public"."Fall"."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Text that is SQL already: composed here before, or written by the server itself
    (`pg_get_constraintdef` and the like)."""

    text: str


def name(*parts: str) -> Name:
    return Name(parts)


Part = Name | Raw | str | int | bool | None | list[int] | list[str]


def compose(template: LiteralString, *parts: Part) -> str:
    """`template` with each `{}` replaced by the quoted part: a Name as an identifier, Raw as it is,
    anything else as a literal. Raises Refused for a NUL byte, which PostgreSQL cannot hold."""
    from psycopg import sql

    pieces: list[sql.Composable] = []
    for part in parts:
        if isinstance(part, Name):
            _no_nul(*part.parts)
            pieces.append(sql.Identifier(*part.parts))
        elif isinstance(part, Raw):
            pieces.append(sql.SQL(part.text))
        else:
            if isinstance(part, str):
                _no_nul(part)
            pieces.append(sql.Literal(part))
    return sql.SQL(template).format(*pieces).as_string(None)


def query(text: str) -> bytes:
    """Composed text as psycopg's `execute` takes it; without parameters `%` is just a `%`."""
    return text.encode()


def _no_nul(*texts: str) -> None:
    for text in texts:
        if "\0" in text:
            raise Refused(
                f"{text!r} holds a NUL byte, which PostgreSQL cannot hold", hint="correct it there"
            )
