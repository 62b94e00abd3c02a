"""SQL text for any name and any server: quoting, a session whose text output is the same on both
sides, and server errors without the values that PostgreSQL puts into their details."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from biso_tasks.errors import StepFailed

if TYPE_CHECKING:
    import psycopg

__all__ = ["column_name", "execute", "ident", "query", "quiet", "settle", "stream"]

P = ParamSpec("P")
T = TypeVar("T")

_HINT = (
    "the server's log has the whole message, which is left out here because it quotes rows; a "
    "constraint that refuses a pseudonym: mask that column in a plugin (biso_scrub)"
)

# One value must read the same in source and stage, or "unchanged" could not be seen.
_SETTINGS = (
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL xmloption = 'content'",
    # A policy that hides rows from us would hide leaks: let the server refuse instead.
    "SET LOCAL row_security = off",
    "SET LOCAL jit = off",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)


def ident(*parts: str) -> str:
    """A quoted, dotted name: any letter, quotes and reserved words included."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def column_name(alias: str, name: str) -> str:
    """`alias."name"`; the alias is ours and needs no quotes."""
    return f"{alias}.{ident(name)}"


def execute(conn: psycopg.Connection[Any], text: str) -> None:
    """Runs one statement of ours; no parameters, so `%` in a name stays what it is."""
    conn.execute(text.encode())


def query(
    conn: psycopg.Connection[Any], text: str, params: Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of a small result. With `params`, `%` in `text` must be doubled."""
    return conn.execute(text.encode(), params).fetchall()


def settle(conn: psycopg.Connection[Any]) -> None:
    """Makes the session of this transaction fit for comparing. Call it inside a transaction."""
    for setting in _SETTINGS:
        execute(conn, setting)


def stream(conn: psycopg.Connection[Any], select: str) -> Iterator[tuple[str | None, ...]]:
    """The rows of `select` as text, by COPY: some ten times the speed of a cursor, in bounded
    memory. No other statement can run on `conn` before the last row was taken."""
    with conn.cursor() as cursor, cursor.copy(f"COPY ({select}) TO STDOUT".encode()) as copy:
        yield from copy.rows()


def quiet(doing: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work(…)` returns. Raises StepFailed without the server's message and detail: those
    quote rows ("Failing row contains (…)"); the original is nowhere in the exception's context."""
    from psycopg import Error

    what = ""
    try:
        return work(*args, **kwargs)
    except Error as error:
        diag = error.diag
        named = [n for n in (diag.table_name, diag.column_name, diag.constraint_name) if n]
        what = f"{type(error).__name__}, SQLSTATE {error.sqlstate or 'none'}"
        if named:
            what += f", at {'.'.join(named)}"
        if (error.sqlstate or "").startswith("42"):  # names and syntax: never a row's value
            what += f": {diag.message_primary}"
    raise StepFailed(f"{doing}: the database refused ({what})", hint=_HINT)
