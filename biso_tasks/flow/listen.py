"""Who watches a run: listeners are told one at a time, and cannot break what they watch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from biso_tasks.errors import BisoError
from biso_tasks.flow.plan import Step

__all__ = ["Listener", "ListenerError", "Listeners", "Status", "attempt"]

Status = Literal["ok", "failed", "skipped", "cancelled", "undone", "not run"]
T = TypeVar("T")


class Listener(Protocol):
    """`step_finished` comes once for each step that ran or was skipped, and a second time, as
    "undone" or "failed", when the step's undo ended."""

    def step_started(self, step: Step) -> None: ...
    def step_progress(self, step: Step, done: int, total: int | None, unit: str) -> None: ...
    def step_note(self, step: Step, text: str) -> None: ...
    def step_finished(
        self,
        step: Step,
        status: Status,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class ListenerError:
    """What a listener raised: the first of each listener and method."""

    listener: str
    method: str
    message: str


def attempt(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """The one place of this folder that catches everything: what comes back or what was raised.
    A step or a listener is foreign code, and clean-up must go on whatever it does, SystemExit
    included (in a thread of its own it would vanish without a trace)."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 (see above)
        return None, error


class Listeners:
    """Fans out to all listeners under one lock, and keeps what they raised."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._lock = threading.RLock()
        self._errors: dict[tuple[int, str], ListenerError] = {}

    @property
    def errors(self) -> tuple[ListenerError, ...]:
        with self._lock:
            return tuple(self._errors.values())

    def started(self, step: Step) -> None:
        self._tell("step_started", lambda one: one.step_started(step))

    def progress(self, step: Step, done: int, total: int | None, unit: str) -> None:
        self._tell("step_progress", lambda one: one.step_progress(step, done, total, unit))

    def note(self, step: Step, text: str) -> None:
        self._tell("step_note", lambda one: one.step_note(step, text))

    def finished(
        self,
        step: Step,
        status: Status,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
    ) -> None:
        self._tell(
            "step_finished", lambda one: one.step_finished(step, status, seconds, facts, error)
        )

    def _tell(self, method: str, tell: Callable[[Listener], None]) -> None:
        with self._lock:
            for number, listener in enumerate(self._listeners):
                _, error = attempt(lambda one=listener: tell(one))  # type: ignore[misc]
                if error is not None:
                    name = type(listener).__name__
                    message = f"{type(error).__name__}: {error}"
                    self._errors.setdefault((number, method), ListenerError(name, method, message))
