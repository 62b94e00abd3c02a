"""What is measured, scene by scene: each runs both ways in turn (A B A B) on the same data and adds
its samples. Seconds, unless a name says otherwise.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import tree
from benchmarks.instances import Bench, Volume
from benchmarks.line import Line
from benchmarks.run import Ended
from benchmarks.settle import MANY, settle
from benchmarks.stages import Stages, moved, wire
from biso_tasks.errors import StepFailed

__all__ = ["PLAYED", "Play"]

_SHARE: Final = 0.01  # of the files change between the first time and the second
_TIMES: Final = (1, 4, 16)
_DELAY: Final = 0.010  # one way
_RATE: Final = 50e6 / 8
_TRIES: Final = 3  # at a second time with the compressor of the first
_BARE: Final = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"


@dataclass(slots=True)
class Play:
    """One run of the benchmarks: the site, the samples so far, what has to be said of them."""

    bench: Bench
    volume: Volume
    rounds: int
    say: Callable[[str], None]
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)
    turn: int = 0

    def add(self, name: str, *values: float) -> None:
        self.samples.setdefault(name, []).extend(values)

    def change(self) -> None:
        """Other bytes in 1 % of production's files."""
        self.turn += 1
        tree.change(self.bench.demo.prod.datadir, self.bench.volume.shape, _SHARE, self.turn)

    def documented(self, what: str, name: str = "", *, keep: bool = False) -> Ended:
        """A part of the documented procedure, its seconds added under `name`."""
        place = self.bench.root / "documented"
        self._settle(name)
        done = self.bench.documented(what, place)
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
        return self._told(f"documented {what}", name, done)

    def ours(self, *words: str, name: str = "") -> Ended:
        self._settle(name)
        done = self.bench.biso(*words)
        if name:
            self.stages.add(name, done, self.bench.root / ".biso" / "runs")
        return self._told(" ".join(words), name, done)

    def refreshed(self, name: str = "") -> Ended:
        """Our refresh, not anonymised; what it left was compared with production."""
        done = self.ours("refresh-test", name=name)
        self.require_same()
        return done

    def require_same(self) -> None:
        if found := self.bench.differences():
            raise StepFailed(f"test is not what production is: {'; '.join(found)}")

    def alone(self, *stages: str) -> None:
        """Stages that nobody can leave out, each measured alone, once for all scenes."""
        missing = [stage for stage in stages if stage not in self.samples]
        for _ in range(self.rounds if missing else 0):
            for stage in missing:
                self.add(stage, self.bench.documented(stage, self.bench.root).seconds)

    def _settle(self, name: str) -> None:
        """Before what is measured; for a few files it does not matter."""
        if name and self.bench.volume.files >= MANY:
            settle(self.bench.root)

    def _told(self, what: str, name: str, done: Ended) -> Ended:
        if name:
            self.add(name, done.seconds)
        self.say(f"  {what}: {done.seconds:.2f} s")
        return done


def refresh(play: Play) -> None:
    """First time: test has no file of production and no previous instance. Second time: 1 % of the
    files changed since test was refreshed."""
    bench = play.bench
    for _ in range(play.rounds):
        for time_ in ("first", "second"):
            if time_ == "first":
                bench.forget_test()
            else:
                play.change()
            with bench.watch() as watch:
                play.documented("refresh", f"refresh.{time_}.documented")
            play.add("documented.away", watch.test)
            play.require_same()
            if time_ == "first":
                bench.forget_test()
            else:
                play.change()
            with bench.watch() as watch:
                done = play.refreshed(f"refresh.{time_}.ours")
            play.add("refresh.away", watch.test)
            play.add(f"refresh.{time_}.stage-database", done.step("stage-database"))
        play.documented("pipe", "pipe")


def backup(play: Play) -> None:
    """First time: into an empty store. Next time: 1 % of the files changed since the set before."""
    bench = play.bench
    for _ in range(play.rounds):
        shutil.rmtree(bench.sets.parent)
        bench.sets.parent.mkdir()
        for time_ in ("first", "next"):
            if time_ == "next":
                play.change()
            with bench.watch() as watch:
                play.documented("backup", f"backup.{time_}.documented")
            play.add("documented.production", watch.production)
            with bench.watch() as watch:
                play.ours("backup", name=f"backup.{time_}.ours")
            play.add("backup.production", watch.production)
    play.alone("dump")
    _sums(play)


def restore(play: Play) -> None:
    """The newest set into the test instance, which holds another state of the same data."""
    bench = play.bench
    _need_set(play)
    play.documented("backup", keep=True)
    for _ in range(play.rounds):
        play.documented("restore", "restore.documented", keep=True)
        play.require_same()
        with bench.watch() as watch:
            play.ours("restore", "latest", "--to", "test", name="restore.ours")
        play.add("restore.away", watch.test)
        play.require_same()
        with bench.watch() as watch:
            play.ours("rollback")
        play.add("rollback.away", watch.test)
    shutil.rmtree(bench.root / "documented")
    play.alone("pipe")


def reset(play: Play) -> None:
    """A state of the test instance is kept; each round refreshes, then goes back to it."""
    bench = play.bench
    play.refreshed()
    play.ours("baseline")
    for _ in range(play.rounds):
        play.change()
        play.refreshed("reset.refresh")
        with bench.watch() as watch:
            play.ours("reset-test", name="reset.ours")
        play.add("reset.away", watch.test)
        play.require_same()


def verify(play: Play) -> None:
    """The newest set, read once each way."""
    _need_set(play)
    for _ in range(play.rounds):
        play.ours("verify", name="verify.ours")
    _sums(play)


def growth(play: Play) -> None:
    """The same files with 1, 4 and 16 times the bytes, the database with them; then more files."""
    bench = play.bench
    for times in _TIMES:
        bench.fill(play.volume.part(times / _TIMES[-1]))
        play.say(f"  {times} of {_TIMES[-1]} parts of the data")
        play.ours("backup")
        play.refreshed()
        _grown(play, times)
    few = bench.volume.files
    for more in (0, few):
        tree.add_small(bench.demo.prod.datadir, more)
        play.ours("backup")
        for _ in range(play.rounds):
            with bench.watch() as watch:
                play.ours("backup")
            play.add("growth.files", few + more)
            play.add("growth.files.production", watch.production)
    shutil.rmtree(bench.demo.prod.datadir / "dateien" / "klein")


def _grown(play: Play, times: int) -> None:
    bench = play.bench
    for _ in range(play.rounds):
        with bench.watch() as watch:
            play.ours("backup")
        play.add("growth.production", watch.production)
        with bench.watch() as watch:
            done = play.refreshed()
        play.add("growth.away", watch.test)
        play.add("growth.bytes", bench.volume.shape.bytes)
        if done.memory:
            play.add(f"growth.memory.{times}", done.memory)


def start(play: Play) -> None:
    """Naming the tasks of the site; five times each round."""
    bare = play.bench.root / "bare"
    bare.mkdir()
    (bare / "tasks.py").write_text(_BARE, "utf-8")
    for _ in range(play.rounds * 5):
        for name, folder in (("start.bare", bare), ("start.list", play.bench.root)):
            play.add(name, _listed(folder, play.bench.env))
    shutil.rmtree(bare)


def _listed(folder: Path, env: Mapping[str, str]) -> float:
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "invoke", "--list"], cwd=folder, env=dict(env), check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - begin


def wide(play: Play) -> None:
    """Production far away: all that leaves or enters its machine goes through one line. Once each,
    for bytes hardly differ from round to round."""
    bench = play.bench
    if not bench.demo.ssh:
        play.notes.append("wide area: not measured, for both instances are on this machine")
        return
    runs = bench.root / ".biso" / "runs"
    with Line(bench.production_port, delay=_DELAY, rate=_RATE) as line:
        bench.through(line)
        try:
            bench.forget_test()
            done = play.documented("refresh", "wide.documented.seconds")
            play.add("wide.first.documented", line.bytes)
            bench.forget_test()
            before = line.bytes
            whole = play.refreshed("wide.first.seconds")
            first = line.bytes - before
            for _ in range(_TRIES):
                play.change()
                before = line.bytes
                again = play.refreshed()
                second = line.bytes - before
                # A busy processor chooses another compressor, and the database moves otherwise.
                if wire(again, runs) == wire(whole, runs):
                    break
            else:
                play.notes.append("wide area: the second time another compressor was chosen")
        finally:
            bench.through(None)
    files = float(bench.volume.shape.bytes)
    play.add("wide.first.ours", first)
    play.add("wide.files", files)
    # The database moves whole both times: what the second time moved less are the files. That is a
    # small difference of large numbers, so the step's own word counts where it says more.
    # A slow link packs files as well: the first time they were what that run says, not their bytes.
    said = moved(again, "stage-data", runs)
    at_first = moved(whole, "stage-data", runs)
    play.add("wide.second.files", max(said, at_first - (first - second)))
    play.notes.append(
        f"wide area: a line in user space before production's SSH server, {done.seconds:.0f} s for "
        "the documented refresh; by relay, as ours goes here, test's side is near"
    )


def privacy(play: Play) -> None:
    """A refresh with anonymisation and proof: its own steps against its dump and load."""
    play.bench.anonymise(True)
    for _ in range(play.rounds):
        done = play.ours("refresh-test", name="privacy.refresh")
        for name in ("stage-database", "originals", "rename-files", "anonymize", "scrub", "prove"):
            play.add(f"privacy.{name}", done.step(name))
    play.bench.anonymise(False)


def _need_set(play: Play) -> None:
    if not play.bench.sets.is_dir() or not any(play.bench.sets.iterdir()):
        play.ours("backup")


def _sums(play: Play) -> None:
    """`sha256sum` of every file of the newest set, each round."""
    if "sums" not in play.samples:
        newest = (play.bench.sets.parent / "latest").resolve()
        for _ in range(play.rounds):
            play.add("sums", play.bench.documented("sums", newest).seconds)


PLAYED: Final[Mapping[str, Callable[[Play], None]]] = {
    "growth": growth,
    "refresh": refresh,
    "backup": backup,
    "restore": restore,
    "reset": reset,
    "verify": verify,
    "start": start,
    "wide": wide,
    "privacy": privacy,
}
"""The scenes in the order in which they are played: `growth` begins with a small site."""
