"""Ctrl-C, SIGTERM and SIGHUP: a request to stop while steps run, so that clean-up runs to its end;
one and the same exception before them, and nothing once all is done.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["interruptible", "raising"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FIRST: Final = "Stopping: what was begun is being cleaned up."
AGAIN: Final = "The clean-up is running. Please wait: ending it now would leave things half done."


@contextmanager
def interruptible(cancel: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """While inside, the first signal sets `cancel` and says so; further ones ask to wait.

    A signal that is ignored (nohup, a background job of a script) stays ignored. Outside the main
    thread nothing is installed. Not meant around a question to a person: `input()` would not end.
    """
    count = 0

    def tell(number: int) -> None:
        cancel.set()
        say(FIRST if number == 1 else AGAIN)

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        # A handler interrupts the main thread anywhere, perhaps while it holds the event's lock or
        # stderr's buffer: setting and saying here would deadlock or raise. Starting this thread
        # takes no lock.
        _thread.start_new_thread(tell, (count,))

    with _handled(handler):
        yield


@contextmanager
def raising(done: Callable[[], bool]) -> Iterator[None]:
    """While inside, a signal raises KeyboardInterrupt, until `done`: then it is too late to stop,
    and what is left (a report, closing connections) goes on. For what is around `interruptible`."""

    def handler(signum: int, frame: FrameType | None) -> None:
        if not done():
            raise KeyboardInterrupt

    with _handled(handler):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A signal that is ignored stays ignored; outside the main thread nothing can be installed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, old in before.items() if old not in (signal.SIG_IGN, None)]
    try:
        for number in ours:
            signal.signal(number, handler)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
