"""Ctrl-C, SIGTERM and SIGHUP become a request to stop, so that clean-up runs to its end."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["interruptible"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FIRST: Final = "Stopping: what was begun is being cleaned up."
AGAIN: Final = "The clean-up is running. Please wait: ending it now would leave things half done."


@contextmanager
def interruptible(cancel: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """While inside, the first signal sets `cancel` and says so; further ones ask to wait.

    A signal that is ignored (nohup, a background job of a script) stays ignored. Outside the main
    thread nothing is installed. Not meant around a question to a person: `input()` would not end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
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

    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, old in before.items() if old not in (signal.SIG_IGN, None)]
    try:
        for number in ours:
            signal.signal(number, handler)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
