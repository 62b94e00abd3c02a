"""Maintenance that is leased: a production host must never depend on us. What a backup switches on
is recorded on the host first, held by a guard there, and ends without us: at once when we are
killed, within 40 s on a silent link, at the latest after `longest`; after a reboot with `mend`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

from biso_tasks.config.model import Environment
from biso_tasks.errors import BisoError, Locked, NeedsPerson, Refused, StepFailed
from biso_tasks.host import lease
from biso_tasks.host.lease import Held
from biso_tasks.host.protocol import HostError
from biso_tasks.instance.guard import Patience, guard
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.mending import RECORD, look, mend
from biso_tasks.instance.services import running

__all__ = ["Patience", "Window", "leased", "mend"]

_WHY = {
    "gone": "our connection to the guard there was closed",
    "silent": "nothing was heard from us there for a while: the link was silent",
    "told": "the guard there was told to end: is that host shutting down?",
}


@final
class Window:
    """A maintenance that is under way, made by `leased`. `was_on`: the site was in maintenance
    before and stays so. `services` are held. `notes` say what was mended first. `seconds` is 0
    until `close`."""

    def __init__(
        self,
        instance: Instance,
        held: Held,
        *,
        was_on: bool,
        services: Sequence[str],
        notes: tuple[str, ...],
        longest: float,
        patience: Patience,
    ) -> None:
        self.was_on = was_on
        self.services = tuple(services)
        self.notes = notes
        self.seconds = 0.0
        self._name = instance.name
        self._held = held
        self._longest = longest
        self._patience = patience
        self._asked = 0.0
        self._read = 0  # lines of the guard
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether maintenance is on as far as is known here: neither closed nor ended by itself. A
        silent link shows after some 40 s; so what counts is how `close` ends."""
        words = {line.partition(" ")[0] for line in self._held.output.splitlines()}
        return not self._closed and self._held.alive and words <= {"ready", "on"}

    def close(self) -> float:
        """End maintenance, and give its seconds: from just before it was asked for until the guard
        has said that it is off. Idempotent.

        When this returns, maintenance was on all the time. Raises StepFailed where that cannot be
        said: it ran into `longest`, the link was cut or silent, or somebody else switched it off;
        a backup that relied on it is then no good set. Raises NeedsPerson where the site is still
        in maintenance since `maintenance off` fails; the guard goes on trying."""
        if self._closed:
            return self.seconds
        self._closed = True
        self._held.tell("off")
        until = time.monotonic() + self._patience.answer
        why = complaint = ""
        while True:
            line = self._line(until)
            if line is None:
                raise self._stuck(complaint)
            word, _, rest = line.partition(" ")
            if word == "ended":
                why = rest
            elif word == "still":
                complaint = rest
            elif word in {"off", "gap"}:
                break
            elif word == "":
                self.seconds = time.monotonic() - self._asked
                raise self._lost()
        if why:
            self.seconds = int(rest) / 100
            raise self._lapsed(why)
        self.seconds = time.monotonic() - self._asked
        if word == "gap":
            raise StepFailed(
                f"{self._name}: somebody else switched maintenance off while we relied on it",
                hint="run it again when nobody works on that site",
            )
        return self.seconds

    def begin(self) -> None:
        """Wait for the guard, then switch on: `leased` does."""
        line = self._line(time.monotonic() + 60 + 310 * len(self.services))
        if line == "ready":
            self._asked = time.monotonic()
            self._held.tell("on")
            line = self._line(self._asked + self._patience.program + 30)
        if line == "on":
            return
        self._closed = True
        if line is None:
            raise StepFailed(
                f"{self._name}: the guard of a maintenance gave no answer",
                hint="the host or the link may be overloaded; run the task again",
            )
        word, _, rest = line.partition(" ")
        if word == "lock" and rest.startswith("another run"):
            raise _busy(self._name)
        if word == "lock":
            raise StepFailed(
                f"{self._name}: the guard of a maintenance could not take its lock: {rest}",
                hint="is the stage directory there, and does sudo let the login in?",
            )
        if word == "failed" and rest.startswith("stop "):
            name = self.services[int(rest.removeprefix("stop "))]
            raise StepFailed(
                f"{self._name}: service {name!r} could not be stopped for the backup",
                hint="stop it there by hand to see why, or take it out of [backup] hold",
            )
        if word == "failed":
            raise StepFailed(
                f"{self._name}: `biso-cli maintenance on` failed: {rest.removeprefix('on ')}",
                hint="try it there; biso_cli in biso.toml says how it is started",
            )
        if word == "ended":
            raise self._lapsed(rest)
        raise self._lost()

    def settle(self) -> None:
        """After `close`: wait until the services run again. Raises NeedsPerson where one does not
        start; the guard goes on trying. `leased` does it at the block's end."""
        until = time.monotonic() + (self._patience.answer if self.services else 5)
        down: set[str] = set()
        while line := self._line(until):
            word, _, rest = line.partition(" ")
            if word == "done":
                return
            if word == "down":
                down.add(self.services[int(rest)])
        if down:
            raise NeedsPerson(
                f"{self._name}: {', '.join(sorted(down))} could not be started again",
                hint="start it there by hand; the guard on that host goes on trying for a day",
            )

    def _line(self, until: float) -> str | None:
        """The guard's next line; "" where it has ended, None where none came by then."""
        try:
            line = self._held.line(max(0.0, until - time.monotonic()), self._read)
        except HostError:
            return None
        self._read += 1
        return line

    def _lapsed(self, why: str) -> StepFailed:
        if why == "longest":
            return StepFailed(
                f"{self._name}: maintenance ran into its limit of {self._longest:g} s and was "
                "ended on the host",
                hint="raise backup.max_maintenance in biso.toml, or find out what took so long",
            )
        return StepFailed(
            f"{self._name}: maintenance was ended early: {_WHY.get(why, why)}",
            hint="run it again when the host and the link to it are well",
        )

    def _lost(self) -> BisoError:
        self._held.wait(2)  # its output ends a moment before it does
        failure = self._held.failure()
        if not isinstance(failure, StepFailed):
            return failure
        return StepFailed(
            f"{self._name}: the guard of the maintenance was lost: {failure.message}",
            hint="it ends maintenance by itself within a minute; where the guard was killed, "
            "`biso recover` does",
        )

    def _stuck(self, complaint: str) -> NeedsPerson:
        return NeedsPerson(
            f"{self._name} is still in maintenance: `biso-cli maintenance off` "
            + (f"fails: {complaint}" if complaint else "does not end"),
            hint="the guard on that host goes on trying for a day; find the reason there, or "
            "run it by hand",
        )


@contextmanager
def leased(
    instance: Instance,
    owner: Mapping[str, str],
    *,
    longest: float,
    hold: Sequence[str] = (),
    patience: Patience | None = None,
) -> Iterator[Window]:
    """Maintenance while the block runs, ended by `Window.close` or at its end. The caller holds the
    environment's lock; `owner` (run, who, since) says who to a colleague.

    `hold` are services of the environment (queue runner, scheduler) that are stopped before and
    started afterwards, those that ran. `longest` is in seconds. What a killed run left is mended
    first. Raises Locked where another lease is alive, Refused where the host lacks a program,
    StepFailed where maintenance does not come on (all is put back then), and what `close` raises.
    """
    patience = patience or Patience()
    environment = instance.environment
    _require_holdable(environment, hold)
    found = look(instance)
    notes: tuple[str, ...] = ()
    if found.missing:
        raise Refused(
            f"{instance.name}: not on this host: {', '.join(found.missing)}",
            hint='apt install util-linux coreutils, or back up with maintenance = "none"',
        )
    if found.state == "live":
        raise _busy(instance.name)
    if found.state == "dead":
        notes = mend(instance)
        found = look(instance)
    names = running(instance.host, environment, hold)
    record = {
        **owner,
        "was_on": found.flagged,
        "services": list(names),
        "deadline": found.epoch + round(longest),
        "machine": instance.layout.machine,
    }
    instance.state.write(RECORD, record)
    command = guard(
        instance, was_on=found.flagged, services=names, longest=longest, patience=patience
    )
    held = lease.hold(instance.host, command)
    window = Window(
        instance, held, was_on=found.flagged, services=names, notes=notes, longest=longest,
        patience=patience,
    )  # fmt: skip
    try:
        _begin(instance, window, held)
        try:
            yield window
        except BaseException:
            # What went wrong in the block is what matters, but for a site that is left in need.
            with contextlib.suppress(StepFailed):
                window.close()
            raise
        window.close()
        window.settle()
    finally:
        held.close()


def _begin(instance: Instance, window: Window, held: Held) -> None:
    try:
        window.begin()
    except BisoError:
        held.close()
        with contextlib.suppress(StepFailed):
            mend(instance)  # a guard that never came to work leaves its record
        raise


def _require_holdable(environment: Environment, names: Sequence[str]) -> None:
    services = environment.services
    if names and services.kind == "none":
        raise Refused(
            f"{environment.name}: [backup] hold names {', '.join(names)}, and nothing says how its "
            "services are stopped",
            hint=f"set environments.{environment.name}.services.kind in biso.toml",
        )
    if services.kind == "compose" and {services.web, services.database} & set(names):
        raise Refused(
            f"{environment.name}: [backup] hold must not name the service in which PHP or the "
            "database runs: maintenance and the dump need them",
            hint="take it out of [backup] hold in biso.toml",
        )


def _busy(name: str) -> Locked:
    return Locked(
        f"{name} is in maintenance by another run, whose guard is alive",
        hint="wait until it has ended; that of a run that was killed ends within a minute",
    )
