"""The view of a run on a terminal: what has ended scrolls by as in a log, what is running is drawn
below it with its rate and the time that is left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast, final

from biso_tasks.errors import BisoError
from biso_tasks.flow.listen import Status
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.ui.meter import Meter
from biso_tasks.ui.steplines import StepLines
from biso_tasks.ui.terminal import Line, Stream, Style, can_redraw, line
from biso_tasks.ui.text import clean_lines, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive

__all__ = ["Live"]

REDRAWS: Final = 8  # a second
BAR: Final = 20  # columns
FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAMES_ASCII: Final = "|/-\\"
RICH: Final[Mapping[Style, str]] = {
    "": "",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "dim": "dim",
    "strong": "bold",
}


@final
class Live:
    """Draws only while it is entered; outside, lines are written and nothing is redrawn."""

    def __init__(
        self, stream: Stream, *, plan: Plan | None = None, verbose: bool = False, colour: bool
    ) -> None:
        self._stream = stream
        self._lines = StepLines(plan, verbose=verbose)
        self._colour = colour
        self._total = len(plan.steps) if plan else None
        self._ended: set[str] = set()
        self._running: dict[str, tuple[Step, Meter]] = {}
        # Held for moments, never while printing: rich's own lock is taken there, and the thread
        # that redraws takes the two in the other order.
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._console: Console | None = None
        self._live: RichLive | None = None

    def say(self, text: str) -> None:
        self._put([line(one) for one in clean_lines(text)])

    def step_started(self, step: Step) -> None:
        with self._lock:
            self._running[step.name] = (step, Meter())
        self._put(self._lines.started(step))

    def step_progress(self, step: Step, done: int, total: int | None, unit: str) -> None:
        with self._lock:
            # A step that is not running is being undone, and is shown again.
            _, meter = self._running.setdefault(step.name, (step, Meter()))
            meter.update(done, total, unit)

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
        with self._lock:
            _, meter = self._running.pop(step.name, (step, None))
            self._ended.add(step.name)
        moved = meter.amount() if meter else ""
        self._put(self._lines.finished(step, status, seconds, facts, error, moved))

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._began = time.monotonic()
        self._console = Console(
            file=cast(IO[str], self._stream),
            force_terminal=True,
            no_color=not self._colour,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = RichLive(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=REDRAWS,
            transient=True,
            # What others print would tear the drawing, unless it goes to a file or a pipe.
            redirect_stdout=can_redraw(sys.stdout),
            redirect_stderr=can_redraw(sys.stderr),
        )
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._console = None

    def _put(self, lines: list[Line]) -> None:
        if self._console is None:
            self._stream.put(lines, colour=self._colour)
        elif lines:
            from rich.text import Text

            texts = [Text.assemble(*((text, RICH[style]) for text, style in one)) for one in lines]
            # soft_wrap: the terminal breaks a long line, so that a path can be copied whole.
            for text in texts:
                text.rstrip()
            self._console.print(Text("\n").join(texts), soft_wrap=True)
            if self._live is not None:  # else what has just ended is drawn once more
                self._live.refresh()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        elapsed = time.monotonic() - self._began
        with self._lock:
            rows = [
                (step, meter.elapsed, meter.fraction, meter.text())
                for step, meter in self._running.values()
            ]
            ended = len(self._ended)
        frames = FRAMES if self._stream.encoding.lower().startswith("utf") else FRAMES_ASCII
        spinner = frames[int(elapsed * REDRAWS) % len(frames)]
        table = Table.grid(padding=(0, 1), expand=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True, min_width=6)
        table.add_column(width=BAR, no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for step, seconds, fraction, how_far in rows:
            bar: RenderableType = (
                "" if fraction is None else ProgressBar(total=1.0, completed=fraction, width=BAR)
            )
            table.add_row(
                Text(spinner, RICH["strong"]),
                Text(self._lines.head(step)),
                Text(duration(seconds)),
                bar,
                Text(how_far, RICH["dim"]),
            )
        of = f" of {self._total}" if self._total else ""
        return Group(table, Text(f"  {ended}{of} steps, {duration(elapsed)}", RICH["dim"]))
