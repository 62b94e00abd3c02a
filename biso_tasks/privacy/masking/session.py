"""The key of one run in the server's session: in a temporary table that is filled by COPY, so that
it stands in no statement, no parameter and no log, and is gone with the block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from biso_tasks.privacy.masking.functions import create_functions
from biso_tasks.privacy.sqltext import execute

if TYPE_CHECKING:
    import psycopg

__all__ = ["copy_in", "keyed", "set_attempt", "set_words"]


def copy_in(
    conn: psycopg.Connection[Any], into: str, rows: Iterator[Any] | list[Any] | tuple[Any, ...]
) -> None:
    """Fills a temporary table: what it holds is in no statement."""
    with conn.cursor() as cursor, cursor.copy(f"COPY pg_temp.{into} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


@contextmanager
def keyed(conn: psycopg.Connection[Any], key: str) -> Iterator[None]:
    """The functions and `biso_key` are at hand within the block."""
    from psycopg.pq import TransactionStatus

    create_functions(conn)
    execute(conn, "CREATE TEMP TABLE biso_key (k text, first text, u int, w text[])")
    try:
        copy_in(conn, "biso_key", [(key, key, 0, [])])
        yield
    finally:
        if conn.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            execute(conn, "DROP TABLE pg_temp.biso_key")


def set_attempt(conn: psycopg.Connection[Any], attempt: int) -> None:
    """Where pseudonyms must be unique: 0 by the first way, 1 by one that tells more values apart,
    from 2 on also under another key. Inside a transaction, which takes it back."""
    suffix = f"'{attempt}'" if attempt > 1 else "''"
    execute(conn, f"UPDATE pg_temp.biso_key SET k = first || {suffix}, u = {min(attempt + 1, 2)}")


def set_words(conn: psycopg.Connection[Any], words: list[str]) -> None:
    """Names of members in documents that are those of persons. Inside a transaction."""
    if not words:
        execute(conn, "UPDATE pg_temp.biso_key SET w = '{}'")
        return
    execute(conn, "CREATE TEMP TABLE biso_words (w text) ON COMMIT DROP")
    copy_in(conn, "biso_words", [(word,) for word in words])
    execute(conn, "UPDATE pg_temp.biso_key SET w = ARRAY(SELECT w FROM pg_temp.biso_words)")
    execute(conn, "DROP TABLE pg_temp.biso_words")
