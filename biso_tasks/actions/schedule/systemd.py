"""The jobs as systemd's units: a service and a timer each, of the system or of the user."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from biso_tasks.actions.schedule.agenda import PATH, Agenda, Job, Kind, Piece
from biso_tasks.config.moment import WEEKDAYS, Moment
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.host.command import Command, command
from biso_tasks.host.protocol import Host
from biso_tasks.ui.text import clean

__all__ = ["Units", "on_calendar", "system_folder", "unit_name", "user_folder"]

# `mixed`: the program ends its own children in order, and cleans up in the time to stop. Best
# effort and not idle: production must not wait in maintenance for a disk that others keep busy.
_SERVICE: Final = """\
{mark}
# Replaced and removed as a whole, by `biso schedule`.
[Unit]
Description={description}
{order}
[Service]
Type=oneshot
{environment}
ExecStart={command}
SuccessExitStatus=75
UMask=0077
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
KillMode=mixed
TimeoutStartSec=12h
TimeoutStopSec=15min
{hardened}"""
# What neither we nor rsync, psql, ssh and sudo need. Not NoNewPrivileges, which ends sudo, nor
# PrivateTmp and ProtectSystem, behind which a socket or a webroot of this machine may be out of
# reach. A user's own systemd could not have these without the first.
_HARDENED: Final = """\
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
_TIMER: Final = """\
{mark}
# Replaced and removed as a whole, by `biso schedule`.
[Unit]
Description={description}

[Timer]
OnCalendar={calendar}
Persistent=true
RandomizedDelaySec=2min

[Install]
WantedBy=timers.target
"""


def system_folder() -> Path:
    return Path("/etc/systemd/system")


def user_folder() -> Path:
    """Where the units of the user who runs this lie; it need not exist."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(config) if config.startswith("/") else Path.home() / ".config") / "systemd/user"


@final
@dataclass(frozen=True, slots=True)
class Units:
    """Units in `folder`; `user` says that they are the user's own manager's."""

    host: Host
    folder: Path
    user: bool

    @property
    def kind(self) -> Kind:
        return "systemd"

    @property
    def where(self) -> str:
        return f"{self.folder} ({f'user units of {self.host.login}' if self.user else 'system'})"

    def planned(self, agenda: Agenda) -> tuple[Piece, ...]:
        pieces = []
        for number, job in enumerate(agenda.jobs):
            name = unit_name(agenda.site, job.name)
            earlier = [unit_name(agenda.site, one.name) for one in agenda.jobs[:number]]
            pieces.append(Piece(f"{name}.service", self._service(agenda, job, earlier)))
            pieces.append(Piece(f"{name}.timer", _timer(agenda, job)))
        return tuple(sorted(pieces, key=lambda piece: piece.name))

    def present(self, agenda: Agenda) -> tuple[Piece, ...]:
        # By the line that marks them, not by name: the site may have been called otherwise.
        found = []
        for path in sorted(self.folder.glob("biso-*")):
            if path.suffix in (".service", ".timer") and path.is_file():
                text = path.read_text("utf-8", "surrogateescape")
                if text.partition("\n")[0] == _mark(agenda):
                    found.append(Piece(path.name, text))
        return tuple(found)

    def notes(self) -> tuple[str, ...]:
        if not self.user or Path("/var/lib/systemd/linger", self.host.login).exists():
            return ()
        return (
            f"user units run only while {self.host.login} is logged in, unless an administrator "
            f"allows more: loginctl enable-linger {self.host.login}",
        )

    def install(self, agenda: Agenda) -> None:
        self._require_manager()
        planned = self.planned(agenda)
        present = self.present(agenda)
        self._require_free(planned, present)
        self._verify(planned)
        kept = {piece.name for piece in planned}
        self._take_away([piece.name for piece in present if piece.name not in kept])
        self._write(planned)
        self._systemctl("daemon-reload")
        timers = [piece.name for piece in planned if piece.name.endswith(".timer")]
        if timers:
            self._systemctl("enable", "--", *timers)
            # A timer that runs already goes on with its old time.
            self._systemctl("restart", "--", *timers)
            self._require_active(timers)

    def remove(self, agenda: Agenda) -> None:
        names = [piece.name for piece in self.present(agenda)]
        if names:
            self._require_manager()
            self._take_away(names)
            self._systemctl("daemon-reload")

    def _service(self, agenda: Agenda, job: Job, earlier: Sequence[str]) -> str:
        # One job waits for another that still runs, instead of failing at its lock.
        after = [f"{name}.service" for name in earlier]
        order = []
        if not self.user:
            after.insert(0, "network-online.target")
            order.append("Wants=network-online.target")
        if after:
            order.append(f"After={' '.join(after)}")
        variables = (f"BISO_CONFIG={agenda.config}", f"PATH={PATH}")
        return _SERVICE.format(
            mark=_mark(agenda),
            description=_description(agenda, job),
            order="".join(f"{line}\n" for line in order),
            environment="\n".join(f"Environment={_quoted(one)}" for one in variables),
            command=" ".join(_word(word) for word in _started(agenda.command(job))),
            hardened="" if self.user else _HARDENED,
        )

    def _require_manager(self) -> None:
        result = self._systemctl("show", "--property=Version", ok=None)
        if result == 0:
            return
        whose = f"{self.host.login}'s systemd" if self.user else "systemd"
        raise Refused(
            f"{whose} does not answer on this machine, so that no timer would run",
            hint="log in as that user itself (not by su or sudo), or take --kind cron"
            if self.user
            else "take --kind cron",
        )

    def _require_free(self, planned: Iterable[Piece], present: Iterable[Piece]) -> None:
        own = {piece.name for piece in present}
        for piece in planned:
            path = self.folder / piece.name
            if piece.name not in own and os.path.lexists(path):
                raise Refused(
                    f"{path} is there and belongs to something else: another biso.toml with a site "
                    "of this name, or this one at another place",
                    hint="give the site another [site] name; or, where that one is gone, remove "
                    "its units by hand",
                )

    def _verify(self, planned: Sequence[Piece]) -> None:
        """What systemd itself says about the units, before they are put in place."""
        if not planned or shutil.which("systemd-analyze") is None:
            return
        with tempfile.TemporaryDirectory(prefix="biso-units-") as folder:
            paths = [Path(folder, piece.name) for piece in planned]
            for path, piece in zip(paths, planned, strict=True):
                path.write_text(piece.text, "utf-8")
            words = ("systemd-analyze", *(("--user",) if self.user else ()), "verify")
            said = self.host.run(command(*words, *map(str, paths)), ok=None).error
        # It speaks of other units of the machine too, and where it cannot look it says only that.
        lines = [line for line in said.splitlines() if any(p.name in line for p in planned)]
        if lines:
            raise StepFailed(
                "systemd would not take the units: " + "; ".join(clean(line) for line in lines),
                hint="nothing was installed; --kind cron needs no units",
            )

    def _write(self, planned: Iterable[Piece]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for piece in planned:
                path = self.folder / piece.name
                # A name that neither systemd nor `present` takes for a unit.
                fresh = self.folder / f".{piece.name}.new"
                fresh.write_text(piece.text, "utf-8")
                fresh.chmod(0o644)
                fresh.replace(path)
                if path.read_text("utf-8") != piece.text:
                    raise StepFailed(
                        f"{path} does not hold what was just written to it",
                        hint="is another program at work there?",
                    )
        except OSError as error:
            raise self._failed(error) from error

    def _require_active(self, timers: Sequence[str]) -> None:
        # Its exit code is 0 where a single one is active.
        result = self.host.run(self._command("is-active", "--", *timers), ok=None)
        states = zip(timers, result.text.splitlines(), strict=False)
        active = {timer for timer, state in states if state == "active"}
        if missing := [timer for timer in timers if timer not in active]:
            raise StepFailed(
                f"installed, but systemd says that these timers do not run: {', '.join(missing)}",
                hint=f"systemctl status {missing[0]}",
            )

    def _take_away(self, names: Sequence[str]) -> None:
        timers = [name for name in names if name.endswith(".timer")]
        services = [name for name in names if name.endswith(".service")]
        if timers:
            self._systemctl("disable", "--now", "--", *timers)
            # Else a timer that comes back finds when it last ran, and catches up at once.
            self._systemctl("clean", "--what=state", "--", *timers, ok=None)
        if services:
            self._systemctl("reset-failed", "--", *services, ok=None)
        try:
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StepFailed:
        return StepFailed(
            f"{error.filename} cannot be changed: {error.strerror}",
            hint="" if self.user else "the system's units are root's: run it as root",
        )

    def _systemctl(self, *words: str, ok: Sequence[int] | None = (0,)) -> int:
        return self.host.run(self._command(*words), ok=ok).code

    def _command(self, *words: str) -> Command:
        return command("systemctl", *(("--user",) if self.user else ()), *words)


def on_calendar(at: Moment) -> str:
    """systemd's calendar expression: `Sun *-*-* 05:00:00`."""
    weekday = "" if at.weekday is None else f"{WEEKDAYS[at.weekday].capitalize()} "
    day = "*" if at.day is None else f"{at.day:02}"
    return f"{weekday}*-*-{day} {at.hour:02}:{at.minute:02}:00"


def unit_name(site: str, job: str) -> str:
    """`biso-SITE-JOB`, without its ending: what is no ASCII letter, digit, "-", "_" or "." becomes
    `\\xHH` a byte, as `systemd-escape` writes it. One that is too long ends in a hash."""
    escaped = re.sub(
        r"[^A-Za-z0-9_.-]",
        lambda match: "".join(f"\\x{byte:02x}" for byte in match[0].encode()),
        site,
    )
    if len(escaped) > _LONGEST:
        digest = hashlib.sha256(site.encode()).hexdigest()
        escaped = f"{escaped[: _LONGEST - 13].rstrip(chr(92))}-{digest[:12]}"
    return f"biso-{escaped}-{job}"


# A unit's name holds at most 255 bytes.
_LONGEST: Final = 200


def _mark(agenda: Agenda) -> str:
    return f"# biso schedule: {agenda.config}"


def _description(agenda: Agenda, job: Job) -> str:
    # Not the name at the end: a backslash there would take in the next line.
    return f"{clean(agenda.site).replace('%', '%%')}: {job.name} (biso-tasks)"


def _timer(agenda: Agenda, job: Job) -> str:
    return _TIMER.format(
        mark=_mark(agenda), description=_description(agenda, job), calendar=on_calendar(job.at)
    )


def _started(words: Sequence[str]) -> Sequence[str]:
    """The program's own word takes no quotes, backslashes or "$" in a unit; an argument does."""
    if not set(words[0]) & set("$\"'\\"):
        return words
    return ("/bin/sh", "-c", 'exec "$0" "$@"', *words)


def _word(text: str) -> str:
    return _quoted(text.replace("$", "$$"))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[A-Za-z0-9_@:./+=,-]+", text) else f'"{escaped}"'
