"""Where the time of our own runs goes: the seconds of their steps, and of what is around them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.medians import median
from benchmarks.run import Ended

__all__ = ["Stages", "moved", "wire"]

_AROUND = "start, plan and report"
_SHOWN = 6


class Stages:
    """Samples of steps by what was run."""

    def __init__(self) -> None:
        self._whole: dict[str, list[float]] = {}
        self._steps: dict[str, dict[str, list[float]]] = {}

    def add(self, name: str, done: Ended, runs: Path) -> None:
        """The steps of a run, and what its whole took beside them, by its journal below `runs`."""
        self._whole.setdefault(name, []).append(done.seconds)
        found = self._steps.setdefault(name, {})
        for step in done.document.get("steps", ()):
            if step["status"] != "skipped":
                found.setdefault(step["name"], []).append(float(step["seconds"]))
        inside = _seconds(runs / str(done.document.get("run", "")) / "journal.jsonl")
        if inside:
            found.setdefault(_AROUND, []).append(done.seconds - inside)

    def as_json(self) -> dict[str, dict[str, float]]:
        """Median seconds by run: `whole`, and each step, the longest first."""
        return {
            name: {
                "whole": round(median(whole), 2),
                **{step: round(seconds, 2) for step, seconds in self._longest(name)},
            }
            for name, whole in self._whole.items()
        }

    def lines(self) -> list[str]:
        """The same for a person, the longest steps alone."""
        return [
            "; ".join(
                (
                    f"{name}: {median(whole):.1f} s",
                    *(f"{step} {seconds:.1f}" for step, seconds in self._longest(name)[:_SHOWN]),
                )
            )
            for name, whole in self._whole.items()
        ]

    def _longest(self, name: str) -> list[tuple[str, float]]:
        steps: Mapping[str, list[float]] = self._steps[name]
        found = [(step, median(seconds)) for step, seconds in steps.items()]
        return sorted(found, key=lambda one: -one[1])


def moved(done: Ended, step: str, runs: Path) -> float:
    """The bytes that a step of that run says it moved; 0 where it does not say."""
    ends = _events(runs / str(done.document.get("run", "")) / "journal.jsonl", "step_finished")
    return sum(float(one["facts"].get("bytes", 0)) for one in ends if one["name"] == step)


def wire(done: Ended, runs: Path) -> str:
    """How that run compressed its database on the way: the compressor and its level."""
    ends = _events(runs / str(done.document.get("run", "")) / "journal.jsonl", "step_finished")
    said = "".join(str(one["facts"].get("wire", "")) for one in ends if one["name"] == "link")
    return said.partition(" (")[0]


def _seconds(journal: Path) -> float:
    """How long the steps of a run took together; 0 where it has no journal."""
    return sum(float(one["seconds"]) for one in _events(journal, "run_finished"))


def _events(journal: Path, kind: str) -> list[dict[str, Any]]:
    try:
        lines = journal.read_text("utf-8").splitlines()
    except OSError:
        return []
    return [event for event in map(json.loads, lines) if event["event"] == kind]
