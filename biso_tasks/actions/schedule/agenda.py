"""What runs by itself on this machine: the site's jobs, and what a timetable (systemd's or cron's)
can do with them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from biso_tasks.config.findings import CONTROL
from biso_tasks.config.model import Site
from biso_tasks.config.moment import Moment, moment
from biso_tasks.errors import Refused
from biso_tasks.host.command import command
from biso_tasks.host.protocol import Host

__all__ = [
    "PATH", "Agenda", "Job", "Kind", "Piece", "Timetable", "agenda", "program", "require_starts",
]  # fmt: skip

Kind = Literal["systemd", "cron"]

# cron's own is /usr/bin:/bin, and that of the person who installs may hold what others can write.
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Nothing here writes into production but what backs it up.
_WORDS: Final = {
    "backup": ("backup", "--yes"),
    "prune": ("prune", "--yes"),
    "verify": ("verify", "--drill", "--yes"),
    "refresh": ("refresh-test", "--yes"),
    "release": ("release", "--yes"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """`name` as in [schedule]; `words` is the task with its options."""

    name: str
    at: Moment
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agenda:
    """The jobs of one biso.toml: `config`, its absolute path, is how they are known as its own.
    `program` starts `biso`, its first word an absolute path."""

    site: str
    config: str
    program: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()

    def command(self, job: Job) -> tuple[str, ...]:
        return (*self.program, *job.words)


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a block of one: what it is called, and what stands in it."""

    name: str
    text: str


class Timetable(Protocol):
    """Where jobs are kept: systemd's units, or a user's crontab."""

    @property
    def kind(self) -> Kind: ...

    @property
    def where(self) -> str:
        """As people call it: "the crontab of root"."""

    def planned(self, agenda: Agenda) -> tuple[Piece, ...]:
        """What would be installed; sorted by name."""

    def present(self, agenda: Agenda) -> tuple[Piece, ...]:
        """What is installed of this biso.toml, whatever it says now; sorted by name."""

    def notes(self) -> tuple[str, ...]:
        """What a person should know before relying on it."""

    def install(self, agenda: Agenda) -> None:
        """Make `present` what is `planned`, and active. Nothing of others is touched. Raises
        Refused before anything is changed, StepFailed."""

    def remove(self, agenda: Agenda) -> None:
        """Take away what is `present`. Raises as `install`."""


def agenda(site: Site, words: tuple[str, ...]) -> Agenda:
    """The jobs that [schedule] of this site names, each a task of the program `words`.

    Raises Refused where one would write into production, or its environment is not there.
    """
    config = str(site.file)
    for path in (config, words[0]):
        _require_writable(path)
    times = {name: getattr(site.schedule, name) for name in _WORDS}
    found = {name: moment(text) for name, text in times.items() if text}
    for name in found:
        _require_target(site, name)
    jobs = tuple(Job(name, at, _WORDS[name]) for name, at in found.items())
    return Agenda(site.name, config, words, jobs)


def program() -> tuple[str, ...]:
    """How this very program is started from anywhere: by the launcher where that made its
    environment, as it mends it when the system's Python is replaced; else by this Python."""
    root = Path(__file__).parents[2]
    launcher = root / "biso"
    if Path(sys.prefix) == root / ".venv" and os.access(launcher, os.X_OK):
        return (str(launcher),)
    return (sys.executable, "-P", "-m", "biso_tasks.cli.main")


def require_starts(host: Host, agenda: Agenda) -> None:
    """Raises Refused where the program does not start with nothing but what a timer gives it: what
    only this shell knows (PYTHONPATH, a user's PATH) is not there at night."""
    bare = ("env", "-i", f"PATH={PATH}", f"BISO_CONFIG={agenda.config}")
    # `sh`: env would take a path that holds "=" for a variable.
    words = ("sh", "-c", 'exec "$0" "$@"', *agenda.program, "--version")
    result = host.run(command(*bare, *words), timeout=300, ok=None)
    if result.code != 0:
        last = (result.error.splitlines() or ["it says nothing"])[-1]
        raise Refused(
            f"{agenda.program[0]} does not start without this shell's environment "
            f"(code {result.code}): {last}",
            hint="install biso-tasks (uv tool install, pipx), or use the launcher ./biso",
        )


def _require_target(site: Site, name: str) -> None:
    """A night job that could only fail is said now."""
    never = f'or write {name} = "" under [schedule]'
    roles = {one.name: one.role for one in site.environments}
    if name in ("backup", "prune"):
        if site.backup.environment not in roles:
            raise Refused(
                f"schedule.{name}: there is no environment {site.backup.environment!r}",
                hint=f"name one in backup.environment, {never}",
            )
        return
    key, place = "refresh.to", site.refresh.to
    if name == "release":
        key, place = "release.environment", site.release.environment
    role = roles.get(place)
    if role != "test":
        raise Refused(
            f"schedule.{name}: {key} is {place!r}, a production environment, and no timer writes "
            "to one"
            if role
            else f"schedule.{name}: there is no test environment {place!r} to do it in",
            hint=f"name a test environment in {key}, {never}",
        )


def _require_writable(path: str) -> None:
    """Neither a unit nor a crontab can name everything that a file may be called."""
    try:
        path.encode()
        bad = CONTROL.search(path) is not None
    except UnicodeEncodeError:
        bad = True
    if bad:
        raise Refused(
            f"{path!r} cannot stand in a unit or a crontab: it holds a control character, or is "
            "not UTF-8",
            hint="move it to a folder with a plain name",
        )
