"""Shows a run while it goes on, on stderr: redrawn on a terminal, one line a step elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self, TextIO, final

from biso_tasks.errors import BisoError
from biso_tasks.flow.listen import Listener, Status
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.ui.live import Live
from biso_tasks.ui.meter import Meter
from biso_tasks.ui.steplines import StepLines
from biso_tasks.ui.terminal import Line, Stream, can_colour, can_redraw, line
from biso_tasks.ui.text import clean_lines

__all__ = ["Plain", "Progress", "choose"]

HEARTBEAT: Final = 30.0  # seconds after which a step that reports progress gets a line in a log


class Progress(Listener, Protocol):
    """A listener that is entered around the run: `with choose(...) as progress`."""

    def say(self, text: str) -> None:
        """Show a line that is no step's, e.g. that an interrupt was noticed. From any thread."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def choose(
    stream: TextIO,
    verbose: bool = False,
    json: bool = False,
    *,
    plan: Plan | None = None,
    env: Mapping[str, str] | None = None,
) -> Progress:
    """The listener that fits the stream: redrawn on a terminal, plain lines in a log, with
    TERM=dumb, and with `json`, where other things are written to the same terminal unasked.

    `plan` aligns the lines and tells how many steps are left. `verbose` shows starts and facts.
    """
    colour = can_colour(stream, env)
    if can_redraw(stream, env) and not json:
        return Live(Stream(stream), plan=plan, verbose=verbose, colour=colour)
    return Plain(Stream(stream), plan=plan, verbose=verbose, colour=colour)


@final
class Plain:
    """One line when a step ends, its notes when they come, and now and then how far a step is."""

    def __init__(
        self,
        stream: Stream,
        *,
        plan: Plan | None = None,
        verbose: bool = False,
        colour: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._lines = StepLines(plan, verbose=verbose)
        self._colour = colour
        self._clock = clock
        self._lock = threading.Lock()
        self._meters: dict[str, Meter] = {}
        self._told: dict[str, float] = {}

    def say(self, text: str) -> None:
        self._put([line(one) for one in clean_lines(text)])

    def step_started(self, step: Step) -> None:
        self._meters[step.name] = Meter(self._clock)
        self._told[step.name] = self._clock()
        self._put(self._lines.started(step))

    def step_progress(self, step: Step, done: int, total: int | None, unit: str) -> None:
        if step.name not in self._meters:  # its undo reports
            return
        meter = self._meters[step.name]
        meter.update(done, total, unit)
        now = self._clock()
        if now - self._told[step.name] >= HEARTBEAT:
            self._told[step.name] = now
            self._put(self._lines.busy(step, meter.elapsed, meter.text()))

    def step_note(self, step: Step, text: str) -> None:
        self._put(self._lines.note(step, text))

    def step_finished(
        self,
        step: Step,
        status: Status,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
    ) -> None:
        meter = self._meters.pop(step.name, None)
        moved = meter.amount() if meter else ""
        self._put(self._lines.finished(step, status, seconds, facts, error, moved))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def _put(self, lines: list[Line]) -> None:
        if lines:
            with self._lock:
                self._stream.put(lines, colour=self._colour)
