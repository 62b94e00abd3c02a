from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from biso_tasks.flow.interrupt import AGAIN, FIRST, interruptible, raising


def wait_for(said: list[str], count: int) -> None:
    end = time.monotonic() + 5
    while len(said) < count and time.monotonic() < end:
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_stop_and_the_second_to_wait(number: int) -> None:
    cancel = threading.Event()
    said: list[str] = []
    before = signal.getsignal(number)
    with interruptible(cancel, said.append):
        os.kill(os.getpid(), number)
        wait_for(said, 1)
        assert cancel.is_set()
        os.kill(os.getpid(), number)
        wait_for(said, 2)
    assert said == [FIRST, AGAIN]
    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    cancel = threading.Event()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interruptible(cancel, lambda text: None):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.02)
            assert not cancel.is_set()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    seen: list[object] = []

    def work() -> None:
        with interruptible(threading.Event(), lambda text: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_signal_while_the_event_is_locked_does_not_deadlock() -> None:
    # Setting the event in the handler itself would wait for the lock that the main thread holds.
    code = """
import os, signal, threading
from biso_tasks.flow.interrupt import interruptible
cancel = threading.Event()
with interruptible(cancel, lambda text: None):
    with cancel._cond:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
    assert cancel.wait(5)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    naive = code.replace(
        "with interruptible(cancel, lambda text: None):",
        "signal.signal(signal.SIGINT, lambda *a: cancel.set())\nif True:",
    )
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", naive], timeout=2, capture_output=True)


def struck(number: int, done: bool) -> None:
    with raising(lambda: done):
        os.kill(os.getpid(), number)
        time.sleep(0.1 if done else 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_around_the_steps_a_signal_raises_until_all_is_done(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        struck(number, done=False)
    struck(number, done=True)
    assert signal.getsignal(number) == before
