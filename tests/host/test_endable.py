"""What hangs is ended from another thread: here, on a host, in a server."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biso_tasks.host import CommandFailed, Host, control, script
from biso_tasks.host.endable import end_older, endable
from biso_tasks.host.ssh import SshHost

pytestmark = pytest.mark.real


@contextlib.contextmanager
def _after(seconds: float) -> Iterator[None]:
    """What has begun by then is ended after so many seconds; on a busy machine, once it has."""

    def end() -> None:
        until = time.monotonic() + 60
        while end_older(time.monotonic()) == 0 and time.monotonic() < until:
            time.sleep(0.05)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("seconds", [0.5, 0.0])
def test_a_command_that_hangs_is_ended_on_its_host(
    host: Host, tmp_path: Path, seconds: float
) -> None:
    """Also one that its host has not begun yet."""
    said = tmp_path / "pid"
    said.write_text("0")
    began = time.monotonic()
    with _after(seconds), pytest.raises(CommandFailed):
        host.run(script('echo "$$" >"$1"; sleep 300; echo no', str(said)), timeout=600)
    assert time.monotonic() - began < 20
    until = time.monotonic() + 10
    place = Path("/proc", said.read_text().strip())
    while place.exists() and b"sleep" in (place / "cmdline").read_bytes():
        assert time.monotonic() < until, "it still runs on the host"
        time.sleep(0.05)


def test_one_that_is_not_ours_to_end_is_let_go(
    remote: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but this process went away: the connection is not called lost."""
    monkeypatch.setattr(control, "_END", b"true %(pid)s")
    began = time.monotonic()
    with _after(0.5), pytest.raises(CommandFailed):
        remote.run(script("sleep 12"), timeout=600)
    assert time.monotonic() - began < 11


def test_what_a_long_command_says_is_its_own(host: Host) -> None:
    """It announces itself on stderr, which nobody gets to see."""
    result = host.run(script("echo out; echo err >&2"), timeout=600)
    assert (result.out, result.err) == (b"out\n", b"err\n")


def test_what_began_since_is_left_alone(host: Host) -> None:
    before = time.monotonic()
    timer = threading.Timer(0.3, lambda: end_older(before))
    timer.start()
    assert host.run(script("sleep 1; echo done")).text == "done"
    timer.join()


def test_what_is_over_is_not_ended() -> None:
    called = threading.Event()
    with endable(called.set):
        pass
    assert end_older(time.monotonic()) == 0
    with endable(called.set):
        assert end_older(time.monotonic()) == 1
        assert called.wait(5)
