from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from biso_tasks.errors import BisoError
from biso_tasks.flow.journal import Null
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.flow.run import Outcome, execute


class Watcher:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.inside = threading.Lock()

    def step_started(self, step: Step) -> None:
        self._note("started", step.name)

    def step_progress(self, step: Step, done: int, total: int | None, unit: str) -> None:
        self._note("progress", step.name, done, total, unit)

    def step_note(self, step: Step, text: str) -> None:
        self._note("note", step.name, text)

    def step_finished(
        self,
        step: Step,
        status: str,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
    ) -> None:
        self._note("finished", step.name, status)

    def _note(self, *event: Any) -> None:
        assert self.inside.acquire(blocking=False), "two listeners' calls at once"
        try:
            self.events.append(event)
        finally:
            self.inside.release()


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def go() -> Callable[..., Outcome]:
    """Execute steps; short backoff, no journal unless given."""

    def run(
        steps: Sequence[Step],
        *,
        listeners: Sequence[Any] = (),
        journal: Any = None,
        parallel: int = 4,
        cancel: threading.Event | None = None,
        late: Callable[[float], object] = lambda moment: None,
    ) -> Outcome:
        plan = Plan("try", "20250101_000000-try-0000", tuple(steps))
        return execute(
            plan,
            journal or Null(),
            listeners,
            parallel=parallel,
            cancel=cancel or threading.Event(),
            backoff=0.001,
            late=late,
        )

    return run
