"""Notices that the other side of a connection does not answer any more.

The kernel notices a dead link (`dial`), but not a host whose kernel is up and whose sshd is not:
one that thrashes, that waits for its disk, that was stopped. A command without a time of its own
would wait for it for ever; OpenSSH asks for the same reason (ServerAliveInterval).
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import paramiko

__all__ = ["watch"]

INTERVAL: Final = 10.0
SILENCE: Final = 45.0


def watch(transport: paramiko.Transport) -> None:
    """Until it is closed, ask the other side every 10 s for a sign of life (any server answers a
    request that it does not know by saying so), and close it where none comes for 45 s: whoever
    waits for something on it finds the connection lost."""
    threading.Thread(target=_ask, args=(transport,), daemon=True).start()


def _ask(transport: paramiko.Transport) -> None:
    import paramiko

    while transport.is_active():
        late = threading.Timer(SILENCE, transport.close)
        late.daemon = True
        late.start()
        # Closed meanwhile, by us or by the other side: then nobody waits for an answer.
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            transport.global_request("keepalive@biso-tasks", wait=True)
        late.cancel()
        time.sleep(INTERVAL)
