"""What `invoke bench` does: checks what was asked for, builds the site, plays the scenes, writes
what came out, removes the site.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.figures import FIGURES, SCENES
from benchmarks.instances import CHECKOUT, Volume, clean, standing
from benchmarks.machine import describe, versions
from benchmarks.report import Report
from benchmarks.scenes import PLAYED, Play
from biso_tasks.demo.site import alone
from biso_tasks.errors import BisoError, Refused, UsageError

__all__ = ["HOME", "Asked", "asked", "outlook", "play", "tidy"]

HOME: Final = CHECKOUT / ".biso" / "bench"
"""Where the site stands while it is measured, and where results stay."""

# Two at once would measure each other.
_ITSELF: Final = "`bench`"
_NEEDED: Final = ("rsync", "gzip", "gunzip", "sha256sum", "find", "xargs", "bash")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run is to measure."""

    volume: Volume
    rounds: int
    scenes: tuple[str, ...]
    ssh: bool | None = None
    home: Path = HOME

    @property
    def command(self) -> str:
        only = "" if len(self.scenes) == len(PLAYED) else f" --only {','.join(self.scenes)}"
        volume = self.volume
        return (
            f"invoke bench --database {volume.database:g} --files {volume.files} "
            f"--files-mb {volume.files_mb:g} --rounds {self.rounds}{only}"
        )

    @property
    def room(self) -> int:
        """The bytes that it needs at its widest: production, test, a stage, the previous instance,
        a set of each kind and what the servers write beside."""
        return round((self.volume.database * 8 + self.volume.files_mb * 9) * 1e6) + (1 << 30)


def asked(database: str, files: str, files_mb: str, rounds: str, only: str) -> Asked:
    """Raises UsageError, naming the option and what it takes."""
    volume = Volume(
        _number("--database", database, "megabytes, 20 or more", 20),
        int(_number("--files", files, "a count, 100 or more", 100, whole=True)),
        _number("--files-mb", files_mb, "megabytes, 1 or more", 1),
    )
    chosen = [word.strip() for word in only.split(",") if word.strip()]
    unknown = [word for word in chosen if word not in SCENES]
    if unknown:
        raise UsageError(
            f"--only {', '.join(unknown)}: no such figures", hint=f"there are {', '.join(SCENES)}"
        )
    scenes = tuple(name for name in PLAYED if not chosen or name in chosen)
    count = int(_number("--rounds", rounds, "a count, 1 or more", 1, whole=True))
    return Asked(volume, count, scenes)


def outlook(one: Asked) -> list[str]:
    """What would be done, a line each."""
    volume = one.volume
    return [
        f"builds two instances in {one.home / 'site'}: {volume.database:g} MB of database, "
        f"{volume.files} files with {volume.files_mb:g} MB; at its widest {one.room / 1e9:.1f} GB",
        *(f"measures {name}: {_about(name)}" for name in one.scenes),
        f"writes medians and ratios of {one.rounds} rounds into {one.home}, removes the instances",
    ]


def play(one: Asked, say: Callable[[str], None]) -> tuple[Report, Path]:
    """Measure; gives what came out and the Markdown file that holds it, its JSON beside. A scene
    that fails is told in it and does not keep the others from being played. Raises Locked, Refused
    where there is no room, UsageError where a program is missing, DemoError where the site cannot
    be built."""
    _require_programs()
    with alone(one.home, _ITSELF):
        _require_room(one)
        begin = time.monotonic()
        page = one.home / f"{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}.md"
        say("Building a production and a test instance ...")
        machine = describe()
        with standing(one.home / "site", ssh=one.ssh) as bench:
            scene = Play(bench, one.volume, one.rounds, say)
            report = Report(
                one.volume, one.rounds, one.command, machine, versions(bench.demo), scene.samples,
                scene.stages, scene.notes,
            )  # fmt: skip
            scene.notes += bench.demo.notes
            for name in one.scenes:
                say(f"{name}: {_about(name)}")
                try:
                    if name != "growth":
                        bench.fill(one.volume)
                    PLAYED[name](scene)
                except BisoError as error:
                    report.failed[name] = error.message
                    say(f"  not finished: {error.message}")
                report.seconds = time.monotonic() - begin
                # after each: whoever is interrupted keeps what was measured
                _write(report, page)
            return report, page


def tidy(home: Path = HOME) -> None:
    """Remove what a run that was killed has left. Results stay."""
    with alone(home, _ITSELF):
        clean(home / "site")


def _about(name: str) -> str:
    return ", ".join(one.key for one in FIGURES if one.scene == name)


def _write(report: Report, page: Path) -> None:
    page.write_text(report.markdown(), "utf-8")
    text = json.dumps(report.as_json(), indent=1, ensure_ascii=False)
    page.with_suffix(".json").write_text(text + "\n", "utf-8")


def _require_programs() -> None:
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"the documented procedure needs what is not on this machine: {', '.join(missing)}",
            hint="apt install rsync gzip coreutils findutils",
        )


def _require_room(one: Asked) -> None:
    clean(one.home / "site")
    free = shutil.disk_usage(one.home).free
    if free < one.room:
        raise Refused(
            f"{one.home} has {free / 1e9:.1f} GB of room, and this would take {one.room / 1e9:.1f}",
            hint="ask for less with --database and --files-mb, or make room",
        )


def _number(option: str, text: str, takes: str, least: float, *, whole: bool = False) -> float:
    try:
        number = float(int(text)) if whole else float(text)
    except ValueError:
        number = -1.0
    if not least <= number < 1e9:
        raise UsageError(f"{option} {text!r}: {takes}", hint=f"{option} {least:g}, for example")
    return number
