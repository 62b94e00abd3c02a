"""One table of the stage: what is judged to go is rewritten by one statement for the columns that
go as a whole, and one for single cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.masking.judge import Cell, judge, member_words
from biso_tasks.privacy.masking.session import copy_in, set_attempt, set_words
from biso_tasks.privacy.masking.spans import pseudonyms_of, replaced
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.pseudonyms import pseudonym
from biso_tasks.privacy.sqltext import column_name, execute, ident, query, quiet, settle
from biso_tasks.privacy.writing import writable

if TYPE_CHECKING:
    import psycopg

__all__ = ["TRIES", "mask_table", "out_of_the_way"]

TRIES: Final = 3  # where a unique index meets two equal pseudonyms
_FAR: Final = 400_000  # days: beyond any date that a column holds


def mask_table(
    stage: psycopg.Connection[Any], group: Sequence[Classified], originals: Originals,
    personal: Sequence[Classified], others: Sequence[Column],
) -> dict[str, int]:  # fmt: skip
    """Rewrites the columns `personal` of one table, and the originals within `others`, in one
    transaction. Gives the number of cells by `table.column`. Raises StepFailed naming table and
    constraint, never a value."""
    from psycopg.errors import UniqueViolation

    table = group[0].column
    columns = [*(one.column for one in personal), *others]
    doing = f"masking table {table.relation}"

    def once(attempt: int) -> dict[str, int] | None:
        try:
            with stage.transaction():
                settle(stage)
                set_attempt(stage, attempt)
                return _mask(stage, group, originals, personal, others, attempt)
        except UniqueViolation:
            if attempt + 1 == TRIES:
                raise
            return None

    if not columns:
        return {}
    for attempt in range(TRIES):
        counts = quiet(doing, once, attempt)
        if counts is not None:
            return counts
    return {}


def _mask(
    stage: psycopg.Connection[Any], group: Sequence[Classified], originals: Originals,
    personal: Sequence[Classified], others: Sequence[Column], attempt: int,
) -> dict[str, int]:  # fmt: skip
    columns = [*(one.column for one in personal), *others]
    kinds = [*(one.kind for one in personal), *("text" for _ in others)]
    table = columns[0]
    counts: dict[str, int] = {}
    with writable(stage, table):
        verdict = judge(stage, group, originals, [one.column for one in personal], others)
        touched = sorted(verdict.whole | {cell.at for cell in verdict.cells})
        set_words(stage, member_words(stage, originals, [columns[at] for at in touched]))
        if verdict.cells:
            # First, while a ctid still says which row it is.
            _mask_cells(stage, originals, columns, kinds, verdict.cells, verdict.spans)
        for cell in verdict.cells:
            label = columns[cell.at].label
            counts[label] = counts.get(label, 0) + 1
        whole = sorted(verdict.whole)
        if whole:
            target = f"ONLY {table.sql_table}"
            names = [column_name("t", columns[at].name) for at in whole]
            total = ", ".join(f"count({name})" for name in names)
            row = query(stage, f"SELECT {total} FROM {target} AS t")[0]
            counts |= {columns[at].label: n for at, n in zip(whole, row, strict=True) if n}
            values = [out_of_the_way(stage, target, columns[at], attempt) for at in whole]
            sets = ", ".join(
                f"{ident(columns[at].name)} = "
                + pseudonym(
                    columns[at].type,
                    value,
                    rule=kinds[at],
                    unique=columns[at].unique,
                    paths=columns[at].paths,
                )
                for at, value in zip(whole, values, strict=True)
            )
            # Of a row of which one field is null, neither IS NULL nor IS NOT NULL holds.
            some = " OR ".join(f"NOT ({name} IS NULL)" for name in names)
            if any(row):
                execute(stage, f"UPDATE {target} AS t SET {sets} WHERE {some}")
    return counts


def out_of_the_way(
    stage: psycopg.Connection[Any], target: str, column: Column, attempt: int
) -> str:
    """Dates that must be unique are shifted by the same number of days, and a row could meet its
    neighbour on the way: at a second attempt all go first where none can be. Gives what they were,
    as SQL."""
    name = column_name("t", column.name)
    if not (attempt and column.unique and column.type.family in ("date", "timestamp")):
        return name
    days = str(_FAR) if column.type.name == "date" else f"make_interval(days => {_FAR})"
    execute(stage, f"UPDATE {target} AS t SET {ident(column.name)} = {name} + {days}")
    return f"({name} - {days})"


def _mask_cells(
    stage: psycopg.Connection[Any], originals: Originals, columns: Sequence[Column],
    kinds: Sequence[str], cells: Sequence[Cell], spans: set[tuple[str, str]],
) -> None:  # fmt: skip
    made = pseudonyms_of(stage, spans)
    todo = sorted({cell.at for cell in cells})
    place = {at: number for number, at in enumerate(todo)}
    rows: dict[str, tuple[list[str], list[str | None]]] = {}
    for cell in cells:
        flags, texts = rows.setdefault(cell.ctid, (["0"] * len(todo), [None] * len(todo)))
        text = None
        if cell.raw is not None:
            text = replaced(
                originals, columns[cell.at], cell.raw, lambda kind, old: made.get((kind, old), old)
            )
        flags[place[cell.at]] = "1" if text is None else "s"
        texts[place[cell.at]] = text
    execute(stage, "CREATE TEMP TABLE biso_marks (id tid, flags text, texts text[]) ON COMMIT DROP")
    copy_in(
        stage,
        "biso_marks",
        [(ctid, "".join(flags), texts) for ctid, (flags, texts) in rows.items()],
    )
    execute(stage, "ANALYZE pg_temp.biso_marks")
    sets = ", ".join(
        f"{ident(columns[at].name)} = CASE substr(m.flags, {place[at] + 1}, 1) "
        f"WHEN '1' THEN {_single(columns[at], kinds[at])} "
        f"WHEN 's' THEN {_given(columns[at], place[at])} "
        f"ELSE {column_name('t', columns[at].name)} END"
        for at in todo
    )
    execute(
        stage,
        f"UPDATE ONLY {columns[0].sql_table} AS t SET {sets} FROM pg_temp.biso_marks m "
        "WHERE t.ctid = m.id",
    )
    execute(stage, "DROP TABLE pg_temp.biso_marks")


def _single(column: Column, kind: str) -> str:
    name = column_name("t", column.name)
    return pseudonym(column.type, name, rule=kind, unique=column.unique, paths=column.paths)


def _given(column: Column, place: int) -> str:
    if column.type.family in ("text", "json", "jsonb"):
        return f"(m.texts[{place + 1}])::{column.type.sql}"
    return column_name("t", column.name)
