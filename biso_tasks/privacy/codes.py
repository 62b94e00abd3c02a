"""Codes that are none: a column of few values was taken for a list of codes, and they are the names
of people. Which names those are says this very database, not a list of ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.detect import fold, words
from biso_tasks.privacy.sqltext import ident, query, quiet, settle

if TYPE_CHECKING:
    import psycopg

    from biso_tasks.privacy.classify import Classified

__all__ = ["recognise"]

_NAMES: Final = 500_000  # different names of one column that are remembered
_CODES: Final = 200  # different values; a list of codes has no more
_SHORT: Final = 3  # letters of a name, at least
_WORDS: Final = 3  # of a code that may be a name, at most


def recognise(
    conn: psycopg.Connection[Any], known: Iterable[Classified], judged: Sequence[Classified]
) -> tuple[Classified, ...]:
    """`known`, in its order, with those of `judged` made personal that were held harmless although
    at least half of their few values are names of people of this database. A primary key stays one.
    Raises StepFailed where rows cannot be read."""
    everything = tuple(known)
    asked = [
        one for one in judged
        if not one.personal
        and one.column.type.family == "text"
        and one.column.kind == "table"
        and not one.column.primary
    ]  # fmt: skip
    people = [one for one in everything if one.personal and one.kind in ("given", "family")]
    if not asked or not people:
        return everything
    with conn.transaction():
        settle(conn)
        names: set[int] = set()
        for one in people:
            where = f"classifying: reading names in {one.column.label}"
            for value in quiet(where, _distinct, conn, one, _NAMES):
                names.update(hash(word) for word in words(fold(value)) if len(word) >= _SHORT)
        found = {}
        for one in asked:
            where = f"classifying: reading codes in {one.column.label}"
            codes = quiet(where, _distinct, conn, one, _CODES + 1)
            count = sum(_names(code, names) for code in codes)
            if len(codes) <= _CODES and count >= 2 and count * 2 >= len(codes):
                reason = f"content: {count} of {len(codes)} values are names of people of its own"
                found[one.column.label] = replace(
                    one, personal=True, reason=reason, kind="name", common=False
                )
    return tuple(found.get(one.column.label, one) for one in everything)


def _distinct(conn: psycopg.Connection[Any], one: Classified, most: int) -> list[str]:
    only = "ONLY " if one.column.kind == "table" else ""
    name = ident(one.column.name)
    rows = query(
        conn,
        f"SELECT DISTINCT left({name}::text, 80) FROM {only}{one.column.sql_table} "
        f"WHERE {name} IS NOT NULL LIMIT {most}",
    )
    return [value for (value,) in rows if value.strip()]


def _names(code: str, names: set[int]) -> bool:
    # "gross" and "klein" are sizes, "Gross" and "Klein" may be people.
    found = [word for word in code.split() if word[:1].isupper()]
    if not found or len(code.split()) > _WORDS:
        return False
    return any(hash(word) in names for one in found for word in words(fold(one)))
