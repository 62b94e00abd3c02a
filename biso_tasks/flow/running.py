"""The steps that run now: since when, until when, and whether they were asked to stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final, final

from biso_tasks.flow.plan import Step

__all__ = ["Late", "Running", "RunningSteps"]

LATE: Final = 5.0  # seconds in which a step that was asked to stop should have done so


@dataclass(slots=True)
class Running:
    """One step on its way; moments are those of time.monotonic(). `asked` is when it was asked to
    stop, by setting `cancel`; `told` whether it was called late since."""

    step: Step
    began: float
    deadline: float | None
    cancel: threading.Event = field(default_factory=threading.Event)
    timed_out: bool = False
    asked: float | None = None
    told: bool = False

    def ask(self, now: float) -> None:
        """To stop."""
        if self.asked is None:
            self.asked = now
        self.cancel.set()


@dataclass(frozen=True, slots=True)
class Late:
    """Steps that do not stop although they were asked to, the last of them `since` that moment."""

    since: float
    steps: tuple[Step, ...]


@final
class RunningSteps:
    """Those of one run. The scheduler's thread alone changes it."""

    def __init__(self) -> None:
        self._all: dict[str, Running] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, step: Step, now: float) -> Running:
        """One that starts now; its own timeout is its deadline."""
        deadline = None if step.timeout is None else now + step.timeout
        running = self._all[step.name] = Running(step, now, deadline)
        return running

    def pop(self, name: str) -> Running:
        return self._all.pop(name)

    def ask(self, now: float) -> None:
        """All of them to stop."""
        for running in self._all.values():
            running.ask(now)

    def look(self, now: float, longest: float) -> float:
        """Ask those to stop whose time is up; gives the seconds until there is something to look
        at again, `longest` at most."""
        wait = longest
        for running in self._all.values():
            # A step that was asked to stop for another reason is not late.
            if running.deadline is None or running.cancel.is_set():
                continue
            if running.deadline <= now:
                running.timed_out = True
                running.ask(now)
            else:
                wait = min(wait, running.deadline - now)
        return wait

    def late(self, now: float) -> Late | None:
        """Told once of each, where all that run were asked to stop a while ago: while others go on,
        what is waited for could be theirs."""
        asked = [running.asked for running in self._all.values() if running.asked is not None]
        if len(asked) < len(self._all) or not asked or now - max(asked) < LATE:
            return None
        steps = []
        for running in self._all.values():
            if not running.told:
                running.told = True
                steps.append(running.step)
        return Late(max(asked), tuple(steps)) if steps else None
