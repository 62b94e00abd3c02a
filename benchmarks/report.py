"""What was measured, as JSON and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Outcome, outcomes
from benchmarks.site import Volume

__all__ = ["Report"]


@dataclass(slots=True)
class Report:
    """All of one run. `failed` names the scenes that ended early, with the reason."""

    volume: Volume
    rounds: int
    command: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    samples: Mapping[str, Sequence[float]]
    notes: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        volume = self.volume
        return {
            "command": self.command,
            "asked": {
                "database_mb": volume.database, "files": volume.files, "files_mb": volume.files_mb,
                "rounds": self.rounds,
            },
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "figures": [one.as_json() for one in outcomes(self.samples)],
            "samples": {name: [round(x, 4) for x in xs] for name, xs in self.samples.items()},
            "notes": self.notes,
            "failed": self.failed,
            "seconds": round(self.seconds, 1),
        }  # fmt: skip

    def markdown(self) -> str:
        volume = self.volume
        size = (
            f"{volume.database:g} MB of database, {volume.files:,} files with "
            f"{volume.files_mb:g} MB"
        )
        parts = [
            f"`{self.command}`: {size}; {_count(self.rounds, 'round')}, "
            f"{self.seconds / 60:.0f} minutes.\n",
            _list("Machine", self.machine),
            _list("Versions", self.versions),
            "\n| figure | value | to reach | | slowest stage alone |\n|---|---|---|---|---|\n",
            *(_row(one) for one in outcomes(self.samples)),
        ]
        notes = [*self.notes, *(f"{name} was not finished: {why}" for name, why in
                                self.failed.items())]  # fmt: skip
        if notes:
            parts += ["\n", *(f"- {note}\n" for note in notes)]
        return "".join(parts)


def _list(title: str, facts: Mapping[str, str]) -> str:
    return f"{title}: " + ", ".join(f"{name} {fact}" for name, fact in facts.items()) + ".\n"


def _row(one: Outcome) -> str:
    said = {True: "reached", False: "**missed**", None: ""}[one.reached]
    target = "" if one.figure.target is None else f"≤ {_number(one.figure.target, one.figure.unit)}"
    limit = f"{one.limit[0]}: {_number(one.limit[1], one.figure.unit)}" if one.limit else ""
    value = _number(one.number, one.figure.unit)
    text = one.figure.text.replace("|", "\\|")
    return f"| {text} | {value} | {target} | {said} | {limit} |\n"


def _number(value: float, unit: str) -> str:
    if unit == "ratio":
        return f"{value:.2f}"
    return f"{value:.1f} {unit}" if abs(value) >= 10 else f"{value:.2f} {unit}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
