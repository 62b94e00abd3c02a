"""What earlier runs of a task were like: how long it took last time, for a plan; time and size over
the last runs, for a report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from biso_tasks.flow.journal import JournalError, journals
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.ui.report import Past, Report, load

__all__ = ["Last", "last_time", "past_runs"]

_LOOKED_AT: Final = 20  # journals


@dataclass(frozen=True, slots=True)
class Last:
    """The newest run of a task that ended well. `steps` has seconds by name and place."""

    started: datetime
    seconds: float
    steps: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def of(self, step: Step) -> float | None:
        """Seconds that the step took, None where it did not run, or ran elsewhere."""
        return self.steps.get((step.name, step.on))


def last_time(state: Path, plan: Plan) -> Last | None:
    """What the journals below `state` know of the task that `plan` is; None where it never ended
    well, or not lately."""
    for report in _reports(state, plan.name):
        if report.ok:
            took = {
                (one.name, one.on): one.seconds
                for one in report.steps
                if one.seconds is not None and one.status == "ok"
            }
            return Last(report.started, report.seconds, took)
    return None


def past_runs(state: Path, report: Report) -> tuple[Past, ...]:
    """The run and those of its task before it, the newest first, twenty at most; what has no end
    is left out."""
    return tuple(
        Past(one.run, one.started, one.seconds, one.status, _bytes(one))
        for one in _reports(state, report.task, upto=report.run)
        if one.status != "unfinished"
    )


def _reports(state: Path, task: str, *, upto: str = "") -> Iterator[Report]:
    """The newest, from the run `upto` on. Ids begin with the time, so that they sort by it."""
    try:
        found = (one for one in journals(state, task) if not upto or one.parent.name <= upto)
        for path in islice(found, _LOOKED_AT):
            try:
                yield load(path)
            except JournalError:
                continue
    except OSError:  # a folder that cannot be read remembers nothing
        return


def _bytes(report: Report) -> int:
    """What it moved or wrote: a set's size counts for the whole run."""
    whole = report.facts.get("bytes")
    if isinstance(whole, int):
        return whole
    told = [step.facts.get("bytes") for step in report.steps]
    return sum(one for one in told if isinstance(one, int))
