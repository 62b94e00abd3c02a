"""Notices that the other side of a connection does not answer any more.

The kernel notices a dead link (`dial`), but not a host whose kernel is up and whose sshd is not:
one that thrashes, that waits for its disk, that was stopped. A command without a time of its own
would wait for it for ever; OpenSSH asks for the same reason (ServerAliveInterval).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    import paramiko

__all__ = ["Heard", "watch"]

INTERVAL: Final = 10.0
SILENCE: Final = 45.0


@final
class Heard(socket.socket):
    """A socket that knows when something came from the other side, of time.monotonic()."""

    heard = 0.0

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        self.heard = time.monotonic()
        return data


def watch(transport: paramiko.Transport, sock: Heard) -> None:
    """Until it is closed, ask the other side every 10 s for a sign of life (any server answers a
    request that it does not know by saying so), and close it where nothing at all comes for 45 s:
    whoever waits for something on it finds the connection lost."""
    threading.Thread(target=_ask, args=(transport, sock), daemon=True).start()


def _ask(transport: paramiko.Transport, sock: Heard) -> None:
    import paramiko

    while transport.is_active():
        answered = threading.Event()
        words = (transport, sock, answered)
        threading.Thread(target=_listen, args=words, daemon=True).start()
        # Closed meanwhile, by us or by the other side: then nobody waits for an answer.
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            transport.global_request("keepalive@biso-tasks", wait=True)
        answered.set()
        time.sleep(INTERVAL)


def _listen(transport: paramiko.Transport, sock: Heard, answered: threading.Event) -> None:
    """On a slow link the answer may be far behind what a command prints: that counts as well."""
    asked = time.monotonic()
    while not answered.is_set() and transport.is_active():
        left = max(asked, sock.heard) + SILENCE - time.monotonic()
        if left <= 0:
            transport.close()
        else:
            answered.wait(left)
