"""A small table in plain text: columns as wide as what they hold, the last one wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from biso_tasks.ui.terminal import Line, Style, join
from biso_tasks.ui.text import cells, clean, pad, wrap

__all__ = ["Cell", "rows_as_lines", "table"]

Cell = str | tuple[str, Style]
GAP = 2
NARROWEST_LAST = 20


def table(
    rows: Iterable[Sequence[Cell]],
    *,
    head: Sequence[str] = (),
    width: int = 100,
    colour: bool = False,
) -> str:
    """The rows as text, each line with its newline; "" for no rows. Each cell is cleaned. Where
    all is wider than `width` columns, the last column goes on in the next line."""
    return join(rows_as_lines(rows, head=head, width=width), colour=colour)


def rows_as_lines(
    rows: Iterable[Sequence[Cell]], *, head: Sequence[str] = (), width: int = 100
) -> list[Line]:
    """As `table`, before it becomes text."""
    body = [[_cell(cell) for cell in row] for row in rows]
    if not body:
        return []
    titles: list[list[tuple[str, Style]]] = [[(clean(one), "dim") for one in head]] if head else []
    every = titles + body
    columns = max(len(row) for row in every)
    widths = [
        max((cells(row[number][0]) for row in every if number < len(row)), default=0)
        for number in range(columns - 1)
    ]
    before = sum(widths) + GAP * len(widths)
    last = max(width - before, NARROWEST_LAST)
    lines: list[Line] = []
    for row in every:
        text, style = row[-1] if len(row) == columns else ("", "")
        first, *more = wrap(text, last)
        front: list[tuple[str, Style]] = [
            (pad(one, wide + GAP), look) for (one, look), wide in zip(row, widths, strict=False)
        ]
        lines.append((*front, (first, style)))
        lines += [((" " * before, ""), (part, style)) for part in more]
    return lines


def _cell(cell: Cell) -> tuple[str, Style]:
    return (clean(cell), "") if isinstance(cell, str) else (clean(cell[0]), cell[1])
