"""The history of a site as a table: which task ran when, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from biso_tasks.flow.journal import RunInfo
from biso_tasks.ui.steplines import STYLES
from biso_tasks.ui.table import table
from biso_tasks.ui.text import duration

__all__ = ["as_json", "render"]


def render(runs: Sequence[RunInfo], *, colour: bool = False, zone: tzinfo | None = None) -> str:
    """The runs as they come (newest first), in `zone` or local time, and a sentence about those
    that never ended."""
    if not runs:
        return "There are no runs yet.\n"
    text = table(
        [
            (
                f"{one.started.astimezone(zone):%Y-%m-%d %H:%M:%S}",
                one.task,
                (one.status, STYLES.get(one.status, "")),
                "" if one.seconds is None else duration(one.seconds),
                one.run,
            )
            for one in runs
        ],
        head=("started", "task", "status", "took", "run"),
        width=120,
        colour=colour,
    )
    if any(one.status == "unfinished" for one in runs):
        text += (
            "\nunfinished: the run was cut off before it could clean up."
            "\n  → `invoke recover` puts right what it left, if it left anything\n"
        )
    return text


def as_json(runs: Sequence[RunInfo]) -> list[dict[str, Any]]:
    """The same for --json; times are UTC, `seconds` is null where not known."""
    return [
        {
            "run": one.run,
            "task": one.task,
            "started": one.started.isoformat().replace("+00:00", "Z"),
            "status": one.status,
            "seconds": one.seconds,
        }
        for one in runs
    ]
