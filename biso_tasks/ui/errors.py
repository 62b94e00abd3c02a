"""The one shape in which an error is shown: what happened and where, then what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from biso_tasks.errors import BisoError
from biso_tasks.ui.steplines import hints
from biso_tasks.ui.terminal import Line, Stream, can_colour, line
from biso_tasks.ui.text import clean_lines

__all__ = ["as_json", "lines", "show"]


def lines(error: BisoError) -> list[Line]:
    """`error: message`, further lines of the message below it, `  → hint`."""
    first, *more = clean_lines(error.message) or [error.kind]
    return [
        line(("error: ", "bad"), first),
        *(line("       ", one) for one in more),
        *(line(f"  {arrow} {one}") for arrow, one in hints(error.remedy)),
    ]


def show(error: BisoError, stream: TextIO, env: Mapping[str, str] | None = None) -> None:
    """Write the error; never raises, whatever became of the stream."""
    Stream(stream).put(lines(error), colour=can_colour(stream, env))


def as_json(error: BisoError) -> dict[str, Any]:
    """The error as CONTRACT §3 has it under "error"."""
    return {"kind": error.kind, "message": error.message, "hint": error.remedy}
