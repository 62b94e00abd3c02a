"""Reads whole tables as columns of text, many rows at a time: where the server can, it joins the
values of a column itself, which spares both sides the work of a row."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from biso_tasks.privacy.cells import expression
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.hashes import CELL
from biso_tasks.privacy.sqltext import column_name, query, stream

if TYPE_CHECKING:
    import psycopg

__all__ = ["Batch", "Content", "batches", "key_expression", "large", "objects"]

_WINDOW: Final = 8_388_608  # bytes of a long content that are looked at together
_OVERLAP: Final = 65_536  # bytes of it that are looked at twice: nothing is cut in two
_WHOLE: Final = 67_108_864  # bytes up to which a content is read whole, as a document
_INLINE: Final = 262_144  # bytes of a bytea that come with its row
_TEXT: Final = 8_388_608  # bytes of a table that are read together, about
_ASIDE: Final = 134_217_728  # bytes kept out of line, above which rows are read one by one
_ROWS: Final = 2_000
_FEW_PAGES: Final = 64  # read together where only the first rows are wanted
_TID_RANGES: Final = 140_000  # the server's version from which a range of pages is found at once

T = TypeVar("T")


class Batch(NamedTuple):
    """Some rows of a table: what tells each from others ("" where nothing does), and the values of
    each column in the same order, "" for NULL."""

    keys: list[str]
    columns: list[list[str]]

    def first(self, rows: int) -> Batch:
        """No more than so many of them."""
        if len(self.keys) <= rows:
            return self
        return Batch(self.keys[:rows], [column[:rows] for column in self.columns])


def _ahead(steps: Iterator[Callable[[], T]]) -> Generator[T, None, None]:
    """The result of each step; the server works on the next one while this one is looked at."""
    with ThreadPoolExecutor(1) as pool:
        coming = None
        for step in steps:
            was, coming = coming, pool.submit(step)
            if was is not None:
                yield was.result()
                # The next step was already under way when we were asked for more.
        if coming is not None:
            yield coming.result()


def key_expression(keys: Sequence[Column]) -> str:
    """What tells rows apart, as one text over the alias `t`."""
    parts = [f"COALESCE({expression(column, 't')}, '')" for column in keys]
    return " || chr(31) || ".join(parts) if parts else "''"


def _source(table: Column) -> str:
    return f"{'ONLY ' if table.kind == 'table' else ''}{table.sql_table} AS t"


def _others(table: Column, but: str) -> str:
    """A condition for the rows that `but` is not true of. It may call the table by its name, which
    the alias hides."""
    if not but:
        return "true"
    only = "ONLY " if table.kind == "table" else ""
    return f"t.ctid NOT IN (SELECT ctid FROM {only}{table.sql_table} WHERE ({but}))"


def _by_rows(
    conn: psycopg.Connection[Any],
    keys: Sequence[Column],
    values: Sequence[str],
    table: Column,
    others: str,
    limit: int | None,
) -> Iterator[Batch]:
    held: list[tuple[str | None, ...]] = []
    size = 0
    text = f"SELECT {', '.join((key_expression(keys), *values))} FROM {_source(table)}"
    text += f" WHERE {others}" + (f" LIMIT {limit}" if limit is not None else "")
    for row in stream(conn, text):
        held.append(row)
        size += sum(len(value) for value in row if value is not None)
        if len(held) >= _ROWS or size >= _TEXT:
            yield _turned(held)
            held, size = [], 0
    if held:
        yield _turned(held)


def _turned(rows: Sequence[Sequence[str | None]]) -> Batch:
    first, *rest = ([value or "" for value in column] for column in zip(*rows, strict=True))
    return Batch(first, rest)


def batches(
    conn: psycopg.Connection[Any],
    keys: Sequence[Column],
    values: Sequence[str],
    table: Column,
    *,
    but: str = "",
    limit: int | None = None,
) -> Iterator[Batch]:
    """Every row of `table`, in batches, without those that fulfil the SQL condition `but`, or no
    more than the first `limit`; `values` are SQL expressions of type text over the alias `t`.
    Inside a transaction that was settled; nothing else can run on `conn` before the last one was
    taken. Where a value holds control characters, some rows may come twice."""
    others = _others(table, but)
    pages, aside = query(
        conn,
        "SELECT pg_relation_size(c.oid) / 8192, COALESCE(pg_relation_size(nullif("
        "c.reltoastrelid, 0)), 0) FROM pg_catalog.pg_class c WHERE c.oid = %s::regclass",
        (table.sql_table,),
    )[0]
    if conn.info.server_version < _TID_RANGES or aside > _ASIDE:
        yield from _by_rows(conn, keys, values, table, others, limit)
        return
    joined = [f"string_agg({key_expression(keys)}, chr(30))"] if keys else []
    joined += [f"string_agg(COALESCE({value}, ''), chr(30))" for value in values]
    head = f"SELECT {', '.join(('count(*)', *joined))} FROM {_source(table)}"
    step = max(1, int(_TEXT / (8192 + 4 * aside / max(pages, 1))))
    if limit is not None:
        step = min(step, _FEW_PAGES)

    def read(start: int) -> Batch | None:
        where = f"t.ctid >= '({start},0)'"
        if start + step < pages:
            where += f" AND t.ctid < '({start + step},0)'"
        count, *texts = query(conn, f"{head} WHERE {where} AND {others}")[0]
        if not count:
            return Batch([], [[] for _ in values])
        parted = [text.split(CELL) for text in texts]
        if any(len(one) != count for one in parted):
            return None  # the mark stands in a value
        return Batch(parted.pop(0) if keys else [""] * count, parted)

    def steps() -> Iterator[Callable[[], Batch | None]]:
        for start in range(0, max(pages, 1), step):
            yield partial(read, start)

    rows = 0
    with closing(_ahead(steps())) as found:
        for batch in found:
            if batch is None:
                break
            if limit is not None:
                batch = batch.first(limit - rows)
                rows += len(batch.keys)
            if batch.keys:
                yield batch
            if rows == limit:
                return
        else:
            return
    yield from _by_rows(conn, keys, values, table, others, limit)


def large(
    conn: psycopg.Connection[Any], keys: Sequence[Column], column: Column, *, but: str = ""
) -> Iterator[tuple[str, str, Content]]:
    """The key, the checksum in hex and the content of each value of a bytea column, without the
    rows that fulfil `but`. A content must be read before the next is asked for."""
    name = column_name("t", column.name)
    rows = stream(
        conn,
        f"SELECT {key_expression(keys)}, t.ctid::text, octet_length({name}), "
        f"encode(sha256({name}), 'hex'), "
        f"CASE WHEN octet_length({name}) <= {_INLINE} THEN encode({name}, 'hex') END "
        f"FROM {_source(column)} WHERE {name} IS NOT NULL AND {_others(column, but)}",
    )
    long: list[tuple[str, str, int, str]] = []
    for key, place, size, digest, content in rows:
        if content is not None:
            data = bytes.fromhex(content)
            yield key or "", digest or "", Content(len(data), _part_of(data))
        elif place is not None and size is not None:
            long.append((key or "", place, int(size), digest or ""))
    for key, place, whole, digest in long:

        def part(start: int, count: int, place: str = place) -> bytes:
            text = f"SELECT substr({name}, {start + 1}, {count}) FROM {_source(column)}"
            return bytes(query(conn, f"{text} WHERE t.ctid = '{place}'::tid")[0][0])

        yield key, digest, Content(whole, part)


def objects(conn: psycopg.Connection[Any]) -> Iterator[tuple[int, Content]]:
    """The number and the content of each large object."""
    size_of = (
        "SELECT lo_lseek64(f, 0, 2), lo_close(f) FROM (SELECT lo_open(%s, 262144) OFFSET 0) o(f)"
    )
    for (number,) in query(conn, "SELECT oid::int8 FROM pg_catalog.pg_largeobject_metadata"):

        def part(start: int, count: int, number: int = number) -> bytes:
            text = "SELECT lo_get(%s::oid, %s, %s)"
            return bytes(query(conn, text, (number, start, count))[0][0])

        yield number, Content(query(conn, size_of, (number,))[0][0], part)


def _part_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda start, count: data[start : start + count]


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that are read piece by piece, however many they are."""

    size: int
    part: Callable[[int, int], bytes]

    def windows(self) -> Iterator[bytes]:
        """All of it, at once where it is no longer than 64 MiB; else in pieces that overlap, so
        that nothing is cut in two."""
        if self.size <= _WHOLE:
            yield self.part(0, self.size)
            return
        for start in range(0, self.size, _WINDOW):
            before = min(start, _OVERLAP)
            yield self.part(start - before, _WINDOW + before)

    @property
    def long(self) -> bool:
        """Whether it comes in several windows: a document cannot be opened so."""
        return self.size > _WHOLE

    def digest(self) -> str:
        """Its checksum; "" where it is empty or holds nothing but zeros: a placeholder."""
        made, blank = sha256(), True
        for start in range(0, self.size, _WINDOW):
            piece = self.part(start, _WINDOW)
            blank = blank and not piece.strip(b"\0")
            made.update(piece)
        return "" if blank else made.hexdigest()
