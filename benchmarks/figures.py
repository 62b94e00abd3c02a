"""The figures, as data: what each is called, how it comes out of the samples, what it has to reach,
and which stages alone set its physical limit on the machine that measured it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from benchmarks.medians import median, slope_at_least, slope_of

__all__ = ["FIGURES", "SCENES", "Figure", "Outcome", "outcomes"]

Samples = Mapping[str, Sequence[float]]


class Value(Protocol):
    """How a number comes out of the samples with these names."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def of(self, samples: Samples) -> float: ...

    def beside(self, stage: float, samples: Samples) -> float:
        """What a stage alone, in seconds, would give."""
        ...


@dataclass(frozen=True, slots=True)
class Median:
    """The median of one sample, in units of `per`."""

    name: str
    per: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def of(self, samples: Samples) -> float:
        return median(samples[self.name]) / self.per

    def beside(self, stage: float, samples: Samples) -> float:
        return stage / self.per


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median by median; several names are added up first."""

    ours: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.ours, *self.other)

    def of(self, samples: Samples) -> float:
        return _sum(self.ours, samples) / _sum(self.other, samples)

    def beside(self, stage: float, samples: Samples) -> float:
        return stage / _sum(self.other, samples)


@dataclass(frozen=True, slots=True)
class Difference:
    """One median less another, without its sign, in units of `per`."""

    name: str
    other: str
    per: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.other)

    def of(self, samples: Samples) -> float:
        return abs(median(samples[self.name]) - median(samples[self.other])) / self.per

    def beside(self, stage: float, samples: Samples) -> float:
        return stage / self.per


@dataclass(frozen=True, slots=True)
class Slope:
    """What `per` more of `by` add to `over` (0: all that lies between its least and its most), as
    the best guess or, with `surely`, the lower end of its 95 % interval. Where that end is at most
    zero, the slope is not distinguishable from zero."""

    over: str
    by: str
    per: float = 0.0
    surely: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.over, self.by)

    def of(self, samples: Samples) -> float:
        along = samples[self.by]
        line = slope_at_least if self.surely else slope_of
        return line(along, samples[self.over]) * (self.per or max(along) - min(along))

    def beside(self, stage: float, samples: Samples) -> float:
        return stage


@dataclass(frozen=True, slots=True)
class Figure:
    """`target` is what the value may be at most, None where the figure only tells something;
    `stages` are samples of what cannot be left out, each measured alone."""

    key: str
    scene: str
    text: str
    value: Value
    unit: str = "ratio"
    target: float | None = None
    stages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A figure with its number; `limit` is its slowest stage alone, in the figure's unit."""

    figure: Figure
    number: float
    rounds: int
    limit: tuple[str, float] | None

    @property
    def reached(self) -> bool | None:
        return None if self.figure.target is None else self.number <= self.figure.target

    def as_json(self) -> dict[str, Any]:
        one = self.figure
        return {
            "key": one.key, "scene": one.scene, "figure": one.text, "unit": one.unit,
            "value": round(self.number, 4), "target": one.target, "reached": self.reached,
            "rounds": self.rounds,
            "limit": self.limit and {"stage": self.limit[0], "value": round(self.limit[1], 4)},
        }  # fmt: skip


def outcomes(samples: Samples) -> list[Outcome]:
    """The figures that these samples give, in their order."""
    found = []
    for one in FIGURES:
        if not all(samples.get(name) for name in one.value.names):
            continue
        alone = [(text, median(samples[name])) for text, name in one.stages if samples.get(name)]
        slowest = max(alone, key=lambda stage: stage[1], default=None)
        limit = slowest and (slowest[0], one.value.beside(slowest[1], samples))
        rounds = min(len(samples[name]) for name in one.value.names)
        found.append(Outcome(one, one.value.of(samples), rounds, limit))
    return found


def _sum(names: Sequence[str], samples: Samples) -> float:
    return sum(median(samples[name]) for name in names)


def _ratio(ours: str, other: str) -> Ratio:
    return Ratio((ours,), (other,))


_PIPE: Final = ("dump and load", "pipe")
_DUMP: Final = ("dump", "dump")
_SUMS: Final = ("hashing the set", "sums")
_ADDED: Final = ("originals", "rename-files", "anonymize", "scrub", "prove")
_STREAM: Final = "privacy.stage-database"

FIGURES: Final = (
    Figure("refresh-first", "refresh",
           "refresh, whole, against the documented procedure, first time",
           _ratio("refresh.first.ours", "refresh.first.documented"), target=0.50, stages=(_PIPE,)),
    Figure("refresh-second", "refresh", "the same, second time with 1 % of files changed",
           _ratio("refresh.second.ours", "refresh.second.documented"), target=0.40,
           stages=(_PIPE,)),
    Figure("refresh-pipe", "refresh",
           "refresh, second time, against the bare pipe `pg_dump | psql`",
           _ratio("refresh.second.ours", "pipe"), target=1.15),
    Figure("refresh-stream", "refresh", "its step stage-database alone against the bare pipe",
           _ratio("refresh.second.stage-database", "pipe")),
    Figure("away-refresh", "refresh", "test away during a refresh", Median("refresh.away"),
           "s", 2.0),
    Figure("away-documented", "refresh", "the same, documented", Median("documented.away"), "s"),
    Figure("backup-first", "backup",
           "backup, whole, against the documented procedure, first time",
           _ratio("backup.first.ours", "backup.first.documented"), target=0.40,
           stages=(_DUMP, _SUMS)),
    Figure("backup-next", "backup", "the same, next time with 1 % of files changed",
           _ratio("backup.next.ours", "backup.next.documented"), target=0.40, stages=(_DUMP,)),
    Figure("maintenance", "backup", "production in maintenance during a backup, short mode",
           Median("backup.production"), "s", 1.0),
    Figure("maintenance-documented", "backup", "the same, documented",
           Median("documented.production"), "s"),
    Figure("maintenance-growth", "growth", "what 16 times the unchanged bytes add to it",
           Slope("growth.production", "growth.bytes"), "s"),
    Figure("maintenance-surely", "growth", "of that the lower end of its 95 % interval",
           Slope("growth.production", "growth.bytes", surely=True), "s", 0.0),
    Figure("away-growth", "growth", "what 16 times the unchanged bytes add to test's in a refresh",
           Slope("growth.away", "growth.bytes"), "s"),
    Figure("away-surely", "growth", "of that the lower end of its 95 % interval",
           Slope("growth.away", "growth.bytes", surely=True), "s", 0.0),
    Figure("maintenance-files", "growth", "seconds of maintenance for 100,000 more files",
           Slope("growth.files.production", "growth.files", 1e5), "s"),
    Figure("memory", "growth", "controller: peak memory of a refresh, 16 times the data",
           Median("growth.memory.16", 1e6), "MB", 120.0),
    Figure("memory-growth", "growth", "controller: peak memory at 16 times the data against once",
           Difference("growth.memory.16", "growth.memory.1", 1e6), "MB", 10.0),
    Figure("restore", "restore", "restore of a set, whole, against `gunzip | psql` and rsync",
           _ratio("restore.ours", "restore.documented"), target=0.85, stages=(_PIPE,)),
    Figure("away-restore", "restore", "test away during a restore", Median("restore.away"),
           "s", 2.0),
    Figure("away-rollback", "restore", "test away during a rollback", Median("rollback.away"), "s",
           2.0),
    Figure("reset", "reset", "reset to the baseline against a refresh",
           _ratio("reset.ours", "reset.refresh"), target=0.25),
    Figure("away-reset", "reset", "test away during a reset", Median("reset.away"), "s", 2.0),
    Figure("verify", "verify", "verify without drill against `sha256sum` of the set",
           _ratio("verify.ours", "sums"), target=1.2),
    Figure("start", "start", "`invoke --list` against a bare invoke with one task",
           _ratio("start.list", "start.bare"), target=1.3),
    Figure("wide-first", "wide",
           "20 ms, 50 Mbit/s: bytes on the wire against the documented, first time",
           _ratio("wide.first.ours", "wide.first.documented"), target=0.9),
    Figure("wide-files", "wide", "the same for files, second time with 1 % changed",
           _ratio("wide.second.files", "wide.files"), target=0.1),
    Figure("wide-seconds", "wide", "the same: seconds against the documented, first time",
           _ratio("wide.first.seconds", "wide.documented.seconds")),
    Figure("privacy", "privacy", "what anonymisation and proof add, against dump and load",
           Ratio(tuple(f"privacy.{name}" for name in _ADDED), (_STREAM,))),
    *(Figure(f"privacy-{name}", "privacy", f"of it the step {name}",
             _ratio(f"privacy.{name}", _STREAM)) for name in _ADDED if name != "scrub"),
)  # fmt: skip

SCENES: Final = tuple(dict.fromkeys(one.scene for one in FIGURES))
"""What `--only` chooses from."""
