"""Rows of tables. Given name and family name may stand in any two of their cells: each two that
look like names are put side by side."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from html import unescape
from itertools import combinations
from typing import Any, Final

from biso_tasks.privacy.detect import spoken
from biso_tasks.privacy.documents.letters import strings
from biso_tasks.privacy.documents.parts import Inner, Part, Room
from biso_tasks.privacy.hashes import CELL

__all__ = ["csv_rows", "open_document_rows", "open_xml_rows", "read_sqlite", "row"]

_PAIRED: Final = 10  # cells of a row that may be names, at most
_NAME: Final = re.compile(r"[^\W\d_]{2,}(?:[ '’.-]+[^\W\d_]+){0,3}\.?")
_TAG: Final = re.compile(r"<[^<>]*>")
_ITEM: Final = re.compile(r"<(?:\w+:)?si\b[^>]*>(.*?)</(?:\w+:)?si>|<(?:\w+:)?si\s*/>", re.DOTALL)
_PHONETIC: Final = re.compile(r"<(?:\w+:)?rPh\b.*?</(?:\w+:)?rPh>", re.DOTALL)
_ROW: Final = re.compile(r"<(?:\w+:)?row\b[^>]*>(.*?)</(?:\w+:)?row>", re.DOTALL)
_CELL: Final = re.compile(r"<(?:\w+:)?c\b([^<>]*)(?<!/)>(.*?)</(?:\w+:)?c>", re.DOTALL)
_VALUE: Final = re.compile(r"<(?:\w+:)?(v|is)\b[^>]*>(.*?)</(?:\w+:)?\1>", re.DOTALL)
_TABLE_ROW: Final = re.compile(r"<table:table-row\b[^>]*>(.*?)</table:table-row>", re.DOTALL)
_TABLE_CELL: Final = re.compile(
    r"<table:(?:covered-)?table-cell\b[^<>]*(?<!/)>(.*?)</table:(?:covered-)?table-cell>", re.DOTALL
)
_STEPS: Final = 50_000_000  # of SQLite's machine
_AT_ONCE: Final = 1000


def row(cells: Sequence[str]) -> str:
    """A row as one text: its cells in their order, then each two that are not side by side and look
    like names."""
    kept = [cell for cell in cells if cell]
    names = [
        (at, cell.strip()) for at, cell in enumerate(kept)
        if len(cell) < 64 and _NAME.fullmatch(cell.strip())
    ][:_PAIRED]  # fmt: skip
    pairs = [f"{a} {b}" for (i, a), (j, b) in combinations(names, 2) if j - i > 1]
    return CELL.join((" ".join(kept), *pairs))


def _blocks(rows: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    for one in rows:
        held.append(one)
        if len(held) >= _AT_ONCE:
            yield CELL.join(held)
            held = []
    if held:
        yield CELL.join(held)


def csv_rows(text: str) -> Iterator[str]:
    """Of lines whose cells are parted by one mark, where most lines are such."""
    lines = [line for line in text.splitlines() if line.strip()]
    for mark in (";", "\t", ",", "|"):
        parted = [line.split(mark) for line in lines if line.count(mark) >= 2]
        if parted and 2 * len(parted) >= len(lines):
            yield from _blocks(row([cell.strip(" \"'") for cell in cells]) for cells in parted)
            return


def _bare(xml: str) -> str:
    return unescape(_TAG.sub("", xml))


def open_xml_rows(sheet: str, shared: str) -> Iterator[str]:
    """A sheet of an XLSX: its cells name texts that stand together in another part, each once."""
    known = [_bare(_PHONETIC.sub("", match[1] or "")) for match in _ITEM.finditer(shared)]

    def cell(attributes: str, body: str) -> str:
        value = _VALUE.search(body)
        if value is None:
            return ""
        text = _bare(value[2])
        if 't="s"' in attributes or "t='s'" in attributes:
            return known[int(text)] if text.isdigit() and int(text) < len(known) else ""
        return _number(text)

    yield from _blocks(
        row([cell(one[1], one[2]) for one in _CELL.finditer(found[1])])
        for found in _ROW.finditer(sheet)
    )


def open_document_rows(content: str) -> Iterator[str]:
    """The rows of every table of an OpenDocument."""

    def cells(xml: str) -> list[str]:
        found = _TABLE_CELL.finditer(xml)
        return [_bare(one[1].replace("</text:p>", " ")).strip() for one in found]

    yield from _blocks(row(cells(one[1])) for one in _TABLE_ROW.finditer(content))


def _number(text: str) -> str:
    """A number as people write it, where it may be a phone number: 4.179555E10 is one as well."""
    try:
        whole = str(int(float(text))) if "e" in text.lower() else text
    except (ValueError, OverflowError):
        return text
    return spoken(whole) if whole.isdigit() and len(whole) >= 9 else text


def read_sqlite(name: str, data: bytes, room: Room) -> Iterator[Part]:
    """Every table's rows; and whatever else stands in the file, of rows that were deleted."""
    yield from strings(data)
    with closing(sqlite3.connect(":memory:")) as base:
        base.text_factory = lambda raw: raw.decode("utf-8", "replace")
        left = iter(range(_STEPS // 10_000))
        base.set_progress_handler(lambda: next(left, None) is None, 10_000)
        try:
            # One in WAL mode says so in two bytes, and would ask for the log beside it.
            base.deserialize(data[:18] + b"\1\1" + data[20:])
            tables = base.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
            ).fetchall()
        except sqlite3.Error:
            return  # damaged: its letters were read
        for (table,) in tables:
            try:
                yield from _table(base, str(table), room)
            except sqlite3.Error:
                continue


def _table(base: sqlite3.Connection, table: str, room: Room) -> Iterator[Part]:
    quoted = table.replace('"', '""')
    found = base.execute(f'SELECT * FROM "{quoted}"')
    while rows := found.fetchmany(_AT_ONCE):
        yield CELL.join(row([_told(value) for value in one]) for one in rows)
        for one in rows:
            for value in one:
                if isinstance(value, bytes):
                    yield Inner("", room.take(value))


def _told(value: Any) -> str:
    if value is None or isinstance(value, bytes):
        return ""
    return value if isinstance(value, str) else _number(str(value))
