"""A host whose sshd does not answer any more, although its kernel does."""

from __future__ import annotations

import threading
import time
from typing import Any

import paramiko
import pytest

from biso_tasks.host import HostError, alive, script

pytestmark = [pytest.mark.real, pytest.mark.needs("sshd", "ssh")]


def test_a_command_without_a_time_does_not_wait_for_ever(
    start_sshd: Any, connect_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "INTERVAL", 0.2)
    monkeypatch.setattr(alive, "SILENCE", 2)
    server = start_sshd()
    host = connect_to(server)
    host.run(script("true"))
    began = time.monotonic()
    with (
        server.silent_after(0.5),
        pytest.raises(HostError, match="connection to the host was lost"),
    ):
        host.run(script("sleep 100"), timeout=None)
    assert time.monotonic() - began < 30
    assert host.run(script("echo again")).text == "again"


def test_a_link_that_stands_still_for_a_moment_delays_the_next_command(
    start_sshd: Any, connect_to: Any
) -> None:
    """Longer than a first contact is waited for, and shorter than what makes a host lost."""
    server = start_sshd()
    host = connect_to(server)
    host.run(script("true"))
    connected = host._opened.control._transport()
    with server.silent_after(0):
        timer = threading.Timer(13, server.wake)
        timer.start()
        while not server.asleep:
            time.sleep(0.02)
        began = time.monotonic()
        assert host.run(script("echo on")).text == "on"
        assert time.monotonic() - began > 11
        timer.join()
    assert host._opened.control._transport() is connected


def test_a_command_that_says_nothing_for_long_is_no_silence(
    remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "INTERVAL", 0.1)
    monkeypatch.setattr(alive, "SILENCE", 3)
    assert remote.run(script("sleep 6; echo done"), timeout=None).text == "done"


def test_what_a_command_prints_is_a_sign_of_life(
    remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is behind all of it on a slow link: here there is none at all."""
    monkeypatch.setattr(alive, "SILENCE", 2)
    monkeypatch.setattr(paramiko.Transport, "_parse_request_failure", lambda self, message: None)
    text = "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done"
    assert remote.run(script(text), timeout=None).text.endswith("6")
    with pytest.raises(HostError, match="connection to the host was lost"):
        remote.run(script("sleep 20"), timeout=None)
