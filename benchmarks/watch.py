"""Both instances watched from outside while something runs: production by its maintenance flag,
test by flag, data dir and a client of its database that asks over and over. Every 10 ms or less.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import psycopg

__all__ = ["Client", "Watch", "flagged", "together"]

_EVERY: Final = 0.005
_ASKS: Final = 0.010

Span = tuple[float, float]


@dataclass(slots=True)
class Client:
    """A client of the test instance, logged in like the application; it connects anew where it
    must."""

    settings: Mapping[str, Any] = field(repr=False)
    _line: psycopg.Connection[Any] | None = field(default=None, repr=False)

    def refused(self) -> bool:
        """Whether its database gives no answer now."""
        try:
            if self._line is None:
                self._line = psycopg.connect(**self.settings, autocommit=True, connect_timeout=5)
            self._line.execute("SELECT 1 FROM params LIMIT 1")
        except psycopg.Error:
            self.close()
            return True
        return False

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def flagged(datadir: Path) -> bool:
    """Whether an instance with that data dir turns its users away."""
    try:
        return not datadir.is_dir() or (datadir / "maintenance.on").exists()
    except OSError:
        return True


def together(*seen: Sequence[Span]) -> float:
    """The seconds that are covered by any of the spans."""
    whole, until = 0.0, float("-inf")
    for begin, end in sorted(span for spans in seen for span in spans):
        whole += max(0.0, end - max(begin, until))
        until = max(until, end)
    return whole


class Watch:
    """While inside, looks; afterwards `production` and `test` are the seconds that each was away.
    A span begins when it was first seen away and ends when it was seen back."""

    def __init__(self, production: Path, test: Path, client: Client | None) -> None:
        self._over = threading.Event()
        self._seen: list[list[Span]] = [[], [], []]
        self._client = client
        looks: list[tuple[Callable[[], bool], float]] = [
            (lambda: flagged(production), _EVERY),
            (lambda: flagged(test), _EVERY),
        ]
        if client is not None:
            looks.append((client.refused, _ASKS))
        self._threads = [
            threading.Thread(target=self._look, args=(away, every, spans), daemon=True)
            for (away, every), spans in zip(looks, self._seen, strict=False)
        ]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        if self._client is not None:
            self._client.close()

    @property
    def production(self) -> float:
        return together(self._seen[0])

    @property
    def test(self) -> float:
        return together(self._seen[1], self._seen[2])

    def _look(self, away: Callable[[], bool], every: float, spans: list[Span]) -> None:
        since: float | None = None
        while not self._over.is_set():
            gone = away()
            now = time.monotonic()
            if gone and since is None:
                since = now
            elif not gone and since is not None:
                spans.append((since, now))
                since = None
            self._over.wait(every)
        if since is not None:
            spans.append((since, time.monotonic()))
