"""Notices that the other side of a connection does not answer any more.

A dead link the kernel would notice after a quarter of an hour; a host whose kernel is up and whose
sshd is not (it thrashes, it waits for its disk, it was stopped) never. A command without a time of
its own would wait as long; OpenSSH asks for the same reason (ServerAliveInterval).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    import paramiko

__all__ = ["SILENCE", "Heard", "watch"]

INTERVAL: Final = 10.0
SILENCE: Final = 45
"""Seconds after which a host that says nothing is lost."""


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
    for work in (_ask, _listen):
        threading.Thread(target=work, args=(transport, sock), daemon=True).start()


def _ask(transport: paramiko.Transport, sock: Heard) -> None:
    import paramiko

    while transport.is_active():
        # Closed meanwhile, by us or by the other side: then nobody waits for an answer.
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            transport.global_request("keepalive@biso-tasks", wait=True)
        time.sleep(INTERVAL)


def _listen(transport: paramiko.Transport, sock: Heard) -> None:
    """On a slow link the answer may be far behind what a command prints: that counts as well."""
    while transport.is_active():
        left = sock.heard + SILENCE - time.monotonic()
        if left <= 0:
            transport.close()
        else:
            time.sleep(min(left, INTERVAL))
