"""How far a step is: from what it reports, the amount, the rate, and the time that is left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, final

from biso_tasks.ui.text import amount, duration

__all__ = ["Meter"]

WINDOW: Final = 10.0  # seconds over which the rate is taken
SAMPLE: Final = 0.2  # seconds between two samples: reports may come thousands of times a second


@final
class Meter:
    """Takes reports of one step. `clock` gives seconds. Times and rates are of the last ten
    seconds, so that a stall shows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.started = clock()
        self.done = 0
        self.total: int | None = None
        self.unit = ""
        self._reported = False
        self._samples: deque[tuple[float, int]] = deque([(self.started, 0)])

    @property
    def elapsed(self) -> float:
        return self._clock() - self.started

    @property
    def fraction(self) -> float | None:
        """0 to 1, or None where the total is not known."""
        return min(1.0, self.done / self.total) if self._reported and self.total else None

    def update(self, done: int, total: int | None, unit: str) -> None:
        now = self._clock()
        if done < self.done or unit != self.unit:  # a new try, or its next part: begins afresh
            self._samples = deque([(now, done)])
        self.done, self.total, self.unit = done, total, unit
        self._reported = True
        if now - self._samples[-1][0] >= SAMPLE:
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
                self._samples.popleft()

    def rate(self) -> float | None:
        """Units a second, None in the first second."""
        since, before = self._samples[0]
        span = self._clock() - since
        return (self.done - before) / span if self._reported and span >= 1 else None

    def amount(self) -> str:
        """`1.2 GB`; "" for a step that reported nothing."""
        return amount(self.done, self.unit) if self._reported else ""

    def text(self) -> str:
        """`1.2 GB of 4.0 GB, 85.0 MB/s, 33.0 s left`, as far as it is known."""
        if not self._reported:
            return ""
        parts = [self.amount()]
        if self.total:
            parts[0] += f" of {amount(self.total, self.unit)}"
        rate = self.rate()
        if rate is not None:
            parts.append(f"{amount(rate, self.unit)}/s")
            if self.total and rate > 0 and self.total > self.done:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)
