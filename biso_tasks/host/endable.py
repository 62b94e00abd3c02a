"""What this process waits for and another thread of it can end: commands on hosts, what reads their
output, statements on servers. A run that was asked to stop must not wait for one that hangs.

One command of a person is one process, so there is one list of them.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["end_older", "endable"]

_lock = threading.Lock()
_numbers = itertools.count()
_waited_for: dict[int, tuple[float, Callable[[], object]]] = {}


@contextmanager
def endable(end: Callable[[], object]) -> Iterator[None]:
    """While inside, `end` ends what is waited for, from another thread; it may take seconds."""
    with _lock:
        number = next(_numbers)
        _waited_for[number] = (time.monotonic(), end)
    try:
        yield
    finally:
        with _lock:
            del _waited_for[number]


def end_older(moment: float) -> int:
    """Ends whatever began before `moment` (of time.monotonic()) and is still waited for; gives how
    many. What began since is a clean-up, and is left alone. Does not wait for their end."""
    with _lock:
        old = [end for began, end in _waited_for.values() if began < moment]
    for end in old:
        threading.Thread(target=_end, args=(end,), daemon=True).start()
    return len(old)


def _end(end: Callable[[], object]) -> None:
    # It may have ended meanwhile, or the way to it is gone: whoever waits finds out.
    with suppress(Exception):
        end()
