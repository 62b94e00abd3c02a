"""Many short commands over one connection: what ends one channel must not reach another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from biso_tasks.host import command, script

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

EOF = 96  # SSH_MSG_CHANNEL_EOF


@pytest.fixture
def slow_end(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As on a machine with other work: the thread that runs a command is interrupted between what
    it knows of the channel and what it sends there. The connection's own thread is not."""
    import paramiko

    send: Callable[..., Any] = paramiko.Transport._send_user_message
    told: list[str] = []

    def late(self: Any, message: Any) -> Any:
        if message.asbytes()[0] == EOF and threading.current_thread() is not self:
            told.append("late")
            time.sleep(0.5)
        return send(self, message)

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", late)
    return told


def test_the_end_of_a_command_s_input_never_comes_after_the_command(
    start_sshd: Any, connect_to: Any, slow_end: list[str]
) -> None:
    """sshd ends the whole connection for an EOF of a channel that is not there any more."""
    server = start_sshd(extra="SetEnv SHLVL=1")  # or bash reads the bashrc, which takes its time
    host = connect_to(server)
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: host.run(command("true")).code, range(12)))
    assert codes == [0] * 12
    assert slow_end, "or nothing was tried"
    assert "nonexistent" not in server.log
    assert host.run(script("cat"), stdin=b"read to its end").out == b"read to its end"


def test_a_command_without_input_finds_an_empty_one(sshd: Any, connect_to: Any) -> None:
    host = connect_to(sshd)
    assert host.run(command("cat")).out == b""
    assert host.run(script("read -r line && echo it reads || echo nothing")).text == "nothing"
