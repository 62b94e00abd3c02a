"""The jobs as a block of the user's crontab, between two lines that say whose it is."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from typing import Final, final

from biso_tasks.actions.schedule.agenda import PATH, Agenda, Job, Kind, Piece
from biso_tasks.config.moment import Moment
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.host.command import command
from biso_tasks.host.protocol import Host

__all__ = ["Crontab", "cron_fields"]

_LINES: Final = "the lines of this site"
_WHOLE: Final = "# From BEGIN to END replaced and removed as a whole, by `biso schedule`."
_NOTE: Final = "cron mails what a job says to MAILTO, and does not catch up on what it missed"


@final
@dataclass(frozen=True, slots=True)
class Crontab:
    """The crontab of the user who runs this."""

    host: Host

    @property
    def kind(self) -> Kind:
        return "cron"

    @property
    def where(self) -> str:
        return f"the crontab of {self.host.login}"

    def planned(self, agenda: Agenda) -> tuple[Piece, ...]:
        if not agenda.jobs:
            return ()
        first, last = _borders(agenda)
        lines = [first, _WHOLE, *(_line(agenda, job) for job in agenda.jobs), last]
        return (Piece(_LINES, "".join(f"{line}\n" for line in lines)),)

    def present(self, agenda: Agenda) -> tuple[Piece, ...]:
        _, block, _ = self._parts(self._read(), agenda)
        return (Piece(_LINES, block),) if block else ()

    def notes(self) -> tuple[str, ...]:
        return (_NOTE,)

    def install(self, agenda: Agenda) -> None:
        self._put(agenda, "".join(piece.text for piece in self.planned(agenda)))

    def remove(self, agenda: Agenda) -> None:
        self._put(agenda, "")

    def _put(self, agenda: Agenda, block: str) -> None:
        """Exchange our block; every line of others stays byte by byte."""
        if shutil.which("crontab") is None:
            raise Refused("crontab is not on this machine", hint="apt install cron")
        before, old, after = self._parts(self._read(), agenda)
        if old == block:
            return
        if block and not old and before and not before.endswith("\n"):
            before += "\n"
        wanted = before + block + after
        if not wanted:
            self.host.run(command("crontab", "-r"))
            return
        self.host.run(command("crontab", "-"), stdin=wanted.encode("utf-8", "surrogateescape"))
        # Some put a header of their own in front.
        if not self._read().endswith(wanted):
            raise StepFailed(
                f"{self.where} does not hold what was just written to it",
                hint="is somebody editing it? look with `crontab -l`, then try again",
            )

    def _read(self) -> str:
        if shutil.which("crontab") is None:
            return ""
        result = self.host.run(command("env", "LC_ALL=C", "crontab", "-l"), ok=None)
        if result.code == 0:
            return result.out.decode("utf-8", "surrogateescape")
        # Whoever takes another failure for an empty crontab wipes it with the next write.
        if any(text in result.error for text in ("no crontab for", "No such file or directory")):
            return ""
        raise StepFailed(
            f"{self.where} cannot be read (code {result.code}): {result.error}",
            hint="may this user have one? see /etc/cron.allow and /etc/cron.deny",
        )

    def _parts(self, text: str, agenda: Agenda) -> tuple[str, str, str]:
        """What stands before our block, the block, and what stands after it."""
        first, last = _borders(agenda)
        # Not splitlines: to that, a form feed in somebody's comment ends a line.
        lines = text.split("\n")
        if first not in lines and last not in lines:
            return text, "", ""
        if (
            lines.count(first) != 1
            or lines.count(last) != 1
            or last not in lines[lines.index(first) :]
        ):
            raise Refused(
                f"{self.where} does not hold exactly one whole block of {agenda.config}",
                hint=f"mend it with `crontab -e`: one line {first!r}, then one line {last!r}",
            )
        start, end = lines.index(first), lines.index(last) + 1
        before, block = (
            "".join(f"{line}\n" for line in part) for part in (lines[:start], lines[start:end])
        )
        return before, block, "\n".join(lines[end:])


def cron_fields(at: Moment) -> str:
    """The five fields: `30 2 * * *`."""
    day = "*" if at.day is None else str(at.day)
    weekday = "*" if at.weekday is None else str((at.weekday + 1) % 7)
    return f"{at.minute} {at.hour} {day} * {weekday}"


def _borders(agenda: Agenda) -> tuple[str, str]:
    name = f"biso schedule: {agenda.config}"
    return f"# BEGIN {name}", f"# END {name}"


def _line(agenda: Agenda, job: Job) -> str:
    # Variables stand in the line: as lines of their own they would hold for others' jobs below.
    words = (f"BISO_CONFIG={_word(agenda.config)}", f"PATH={PATH}", "nice -n 10")
    return f"{cron_fields(job.at)} umask 077; " + " ".join(
        [*words, *map(_word, agenda.command(job))]
    )


def _word(text: str) -> str:
    r"""Quoted for the shell, and "%" for cron, to which it is a newline. It must stand outside of
    quotes: in 'a\' it would follow a backslash that escapes its own."""
    return r"\%".join(shlex.quote(part) if part else "" for part in text.split("%")) or "''"
