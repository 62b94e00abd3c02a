"""What was measured, as JSON and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Outcome, outcomes
from benchmarks.instances import Volume
from benchmarks.stages import Stages

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
    stages: Stages = field(default_factory=Stages)
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
            "steps": self.stages.as_json(),
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
        return "".join(
            (
                f"`{self.command}`: {size}; {_count(self.rounds, 'round')}, "
                f"{_count(max(1, round(self.seconds / 60)), 'minute')}.\n",
                _facts("Machine", self.machine),
                _facts("Versions", self.versions),
                "\n| figure | value | to reach | | slowest stage alone |\n|---|---|---|---|---|\n",
                *(_row(one) for one in outcomes(self.samples)),
                _points(
                    "Where the time goes: our own runs, median seconds, and their longest steps, "
                    "of which some run beside each other",
                    self.stages.lines(),
                ),
                _points(
                    "To be known",
                    [*self.notes, *(f"{name}: not finished: {why}" for name, why in
                                    self.failed.items())],
                ),
            )
        )  # fmt: skip


def _points(title: str, lines: Sequence[str]) -> str:
    return f"\n{title}:\n\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


def _facts(title: str, facts: Mapping[str, str]) -> str:
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
