"""What was up when: from the fact `away` of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from biso_tasks.ui.report_step import ReportStep
from biso_tasks.ui.text import duration

__all__ = ["Away", "Served", "served"]


@dataclass(frozen=True, slots=True)
class Away:
    """`since` in seconds after the run's start; `seconds` None: it was not back when it ended."""

    start: datetime
    since: float
    seconds: float | None

    def __str__(self) -> str:
        at = f"{self.start:%H:%M:%S} UTC"
        if self.seconds is None:
            return f"away since {at}"
        return f"away for {duration(self.seconds)} at {at}"


@dataclass(frozen=True, slots=True)
class Served:
    """An environment of a run, and when it was away."""

    environment: str
    away: tuple[Away, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.away)) if self.away else "never taken away by this run"

    def as_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "away": [
                {
                    "from": one.start.isoformat().replace("+00:00", "Z"),
                    "began": round(one.since, 3),
                    "seconds": None if one.seconds is None else round(one.seconds, 3),
                }
                for one in self.away
            ],
        }


def served(steps: Iterable[ReportStep], started: datetime, seconds: float) -> tuple[Served, ...]:
    """The environments of `steps` in their order, where any of them was away. What a step took away
    and its undo brought back was away until the run ended, after `seconds`: undoing is the last
    that a run does. What a site's own step calls `away` may be anything, and is left alone."""
    steps = list(steps)
    found: dict[str, list[Away]] = {step.on: [] for step in steps if step.on}
    for step in steps:
        try:
            environment, start, until = _read(step.facts.get("away"))
        except (KeyError, TypeError, ValueError):
            continue
        spells = found.setdefault(environment, [])
        if spells and spells[-1].seconds is None:
            spells.pop()  # told when it went away; this tells when it was back
        since = (start - started).total_seconds()
        took = None if until is None else (until - start).total_seconds()
        if until is None and step.status == "undone":
            took = max(0.0, seconds - since)
        spells.append(Away(start, since, took))
    if not any(found.values()):
        return ()
    return tuple(Served(name, tuple(spells)) for name, spells in found.items())


def _read(fact: Any) -> tuple[str, datetime, datetime | None]:
    until = fact["until"]
    start = datetime.fromisoformat(fact["from"]).astimezone(UTC)
    return fact["environment"], start, until and datetime.fromisoformat(until).astimezone(UTC)
