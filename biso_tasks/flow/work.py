"""What happens in a worker thread: one step, with its retries, told to journal and listeners."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from biso_tasks.errors import BisoError, Defect, Interrupted, plain
from biso_tasks.flow.journal import EventLog
from biso_tasks.flow.listen import Listeners, attempt
from biso_tasks.flow.plan import Scope, Step

__all__ = ["Ended", "Worker", "place"]

LONGEST_PAUSE: Final = 30.0  # seconds between two tries


@dataclass(slots=True)
class Ended:
    """What a worker reports: `error` is None for a step that did its work, or had nothing to do.
    `ran` is False where `done` said so, or failed: then there is nothing to undo."""

    step: Step
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    ran: bool = True


class Worker:
    """Runs steps; holds nothing of their state, so that threads may share it."""

    def __init__(self, journal: EventLog, listeners: Listeners, backoff: float) -> None:
        self._journal = journal
        self._listeners = listeners
        self._backoff = backoff

    def run(self, step: Step, cancel: threading.Event) -> Ended:
        """Run the step to its end, tries included; never raises."""
        if step.done is not None:
            already, error = attempt(step.done)
            if already or error is not None:
                return Ended(step, error=error, ran=False)
        self._listeners.started(step)
        scope = self.scope(step, cancel)
        for tries in range(step.retries + 1):
            facts, error = attempt(lambda: step.run(scope))
            if error is None:
                return Ended(step, facts or {})
            # A guard's refusal, a lock, a defect: trying again would not change the answer.
            again = isinstance(error, BisoError) and error.exit_code == 1
            if not again or tries == step.retries or cancel.is_set():
                break
            if not self._wait_to_retry(step, tries, str(error).splitlines()[0], cancel):
                break
        return Ended(step, error=error)

    def scope(self, step: Step, cancel: threading.Event) -> Scope:
        def note(text: str) -> None:
            text = plain(text)
            # A full disk must not keep a clean-up from its work: notes are not worth it.
            attempt(lambda: self._journal.write("step_note", name=step.name, on=step.on, text=text))
            self._listeners.note(step, self._journal.redact(text))

        def progress(done: int, total: int | None, unit: str) -> None:
            self._listeners.progress(step, done, total, unit)

        return Scope(step, cancel, progress, note)

    def explain(self, step: Step, error: BaseException) -> BisoError:
        """A handled error keeps its kind; anything else is a defect, journaled with its traceback:
        frames and source lines, never the values of variables."""
        if isinstance(error, BisoError):
            return error
        if isinstance(error, KeyboardInterrupt):
            return Interrupted(f'step "{step.name}"{place(step)} was interrupted')
        trace = traceback.TracebackException.from_exception(error, capture_locals=False)
        text = "".join(trace.format())
        attempt(lambda: self._journal.write("defect", name=step.name, on=step.on, traceback=text))
        what = self._journal.redact(f"{type(error).__name__}: {error}")
        failed = Defect(
            f'step "{step.name}"{place(step)} stopped on {what}: this is a defect in biso-tasks',
            hint="the run's journal has the details: please report it with them",
        )
        failed.__cause__ = error
        return failed

    def _wait_to_retry(self, step: Step, tries: int, message: str, cancel: threading.Event) -> bool:
        """Whether to try again: not when asked to stop, or when the journal does not take it."""
        pause = min(self._backoff * 2.0**tries, LONGEST_PAUSE)
        message = self._journal.redact(message)
        _, trouble = attempt(
            lambda: self._journal.write(
                "step_retry", name=step.name, on=step.on, attempt=tries + 1, message=message
            )
        )
        self._listeners.note(step, f"{message}; trying again in {pause:g} s")
        return trouble is None and not cancel.wait(pause)


def place(step: Step) -> str:
    """` on <environment>`, or nothing."""
    return f" on {step.on}" if step.on else ""
