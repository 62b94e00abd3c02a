"""The control plane of an SSH host: one Fabric connection, and a session channel for each command.

Fabric's own `run` is not used: it decodes in chunks (binary is destroyed) and is quadratic.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from biso_tasks.host.alive import SILENCE
from biso_tasks.host.command import Result
from biso_tasks.host.dial import Line, dial
from biso_tasks.host.endable import endable
from biso_tasks.host.explain import LOST
from biso_tasks.host.process import OUTPUT_LIMIT, Gather, Lifeline
from biso_tasks.host.protocol import HostError
from biso_tasks.host.resolve import Resolved

if TYPE_CHECKING:
    import paramiko

__all__ = ["ControlPlane", "TimedOut", "announced"]

_CHANNELS = 8  # at once; sshd allows 10 sessions on a connection unless told otherwise
_KILL_AFTER = 5  # seconds between TERM and KILL on the host
_GRACE = 5.0  # seconds after that, before we stop believing the host
_SAYS = b"biso-tasks: process "
_ANNOUNCED = re.compile(rb"^" + _SAYS + rb"(\d+)\r?\n", re.MULTILINE)
# The number is that of `timeout`, which leads the group of what it started.
_END = (
    b"sh -c 'kill -s TERM -- -%(pid)s || kill -s TERM %(pid)s; sleep 2; kill -s KILL -- -%(pid)s' "
    b"2>/dev/null"
)


def announced(line: str, timeout: float) -> str:
    """`line`, shell words, so that it says its process's number and can be ended by it, which
    happens on the host after `timeout` seconds at the latest."""
    say = f'echo "{_SAYS.decode()}$$" >&2; exec "$@"'
    return f"sh -c '{say}' sh timeout -k {_KILL_AFTER} {timeout:g} {line}"


class TimedOut(Exception):
    """The command's time was up; `ended` says whether the host reported its end."""

    def __init__(self, result: Result, ended: bool) -> None:
        super().__init__()
        self.result = result
        self.ended = ended


@final
class ControlPlane:
    """Runs commands on one host. Safe to use from several threads; reconnects when it has to."""

    def __init__(self, name: str, resolved: Resolved, config: Path, lifeline: Lifeline) -> None:
        self._name = name
        self._resolved = resolved
        self._config = config
        self._lifeline = lifeline
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._slots = threading.BoundedSemaphore(_CHANNELS)
        self._line: Line | None = None

    def run(self, line: bytes, *, stdin: bytes, timeout: float | None) -> Result:
        """Give `line` to the login shell, `stdin` to the command. Raises HostError if the
        connection is lost or more than 64 MiB come back, TimedOut some seconds after `timeout`
        (the line itself is expected to stop the command on the host in time)."""
        with self._slots:
            channel = self._open_channel()
            try:
                return self._execute(channel, line, stdin, timeout)
            finally:
                channel.close()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _execute(
        self, channel: paramiko.Channel, line: bytes, stdin: bytes, timeout: float | None
    ) -> Result:
        import paramiko

        started = time.monotonic()
        deadline = None if timeout is None else started + timeout + _KILL_AFTER + _GRACE
        try:
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error
        out = Gather(channel.recv, OUTPUT_LIMIT, channel.close)
        err = Gather(channel.recv_stderr, OUTPUT_LIMIT, channel.close)
        if stdin:
            # a thread: the host may print more than a window before it reads all of its input
            threading.Thread(target=_send, args=(channel, stdin), daemon=True).start()
        else:
            _shut(channel)
        let_go = threading.Event()
        announces = _SAYS in line
        with endable(lambda: self._end(channel, err, let_go, announces=announces)):
            ended = _finished(channel, out, err, deadline)
        if out.overflow or err.overflow:
            raise HostError(
                f"{self._name}: the command printed more than {OUTPUT_LIMIT // 1024**2} MiB",
                hint="bulk data belongs on the data plane (Host.start)",
            )
        if ended:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ended = channel.status_event.wait(left)
        code = channel.exit_status if ended else -1
        # Without an end of file the channel did not end: the connection did
        if ended and code == -1 and not channel.eof_received and not let_go.is_set():
            raise self._lost("it closed the channel without an exit status")
        said = _ANNOUNCED.sub(b"", err.bytes(), 1) if ended else b""
        result = Result(code, out.bytes() if ended else b"", said)
        late = timeout is not None and time.monotonic() - started >= timeout
        if not ended or (late and code in (124, 137, 143, -1)):
            raise TimedOut(result, ended)
        return result

    def _end(
        self,
        channel: paramiko.Channel,
        err: Gather,
        let_go: threading.Event,
        *,
        announces: bool,
    ) -> None:
        """End the command on the host, by the number that it announced. One that runs behind sudo
        may not be ours to end: then we go without its end, and `let_go` says so. SSH has a signal
        for this, which sshd takes from nobody who logged in as root."""
        announced = _announcement(channel, err) if announces else None
        if announced is not None:
            beside = self._open_channel()
            try:
                beside.exec_command(_END % {b"pid": announced[1]})
                channel.status_event.wait(_KILL_AFTER)
            finally:
                beside.close()
        if not channel.status_event.wait(1):
            let_go.set()
            channel.close()

    def _lost(self, why: object) -> HostError:
        reason = str(why).rstrip(".") or type(why).__name__
        message = f"{self._name}: the connection to the host was lost: {reason}"
        return HostError(message, hint=LOST)

    def _open_channel(self) -> paramiko.Channel:
        import paramiko

        patience = time.monotonic() + 30
        reconnected = False
        while True:
            transport = self._transport()
            try:
                # one at a time: paramiko keeps the failure of an opening on the transport, where
                # another thread that opens would find it in place of its own
                with self._opening:
                    # until whoever watches the connection gives it up
                    return transport.open_session(timeout=SILENCE)
            except paramiko.ChannelException as error:
                # MaxSessions of the server, shared with nobody but our own parallel steps: wait
                if time.monotonic() > patience:
                    raise HostError(
                        f"{self._name}: the SSH server opens no further session: {error}",
                        hint="raise MaxSessions in its sshd_config",
                    ) from error
                time.sleep(0.1)
            except (paramiko.SSHException, OSError, EOFError) as error:
                # the link was cut while nobody looked; nothing was started, so try once more
                transport.close()
                if reconnected:
                    raise self._lost(error) from error
                reconnected = True

    def _transport(self) -> paramiko.Transport:
        with self._lock:
            if self._line is not None and not self._line.transport.is_active():
                self._disconnect()
            if self._line is None:
                self._line = dial(self._name, self._resolved, self._config, self._lifeline)
            return self._line.transport

    def _disconnect(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def _announcement(channel: paramiko.Channel, err: Gather) -> re.Match[bytes] | None:
    """It comes with the command's start, which a busy host may not have come to yet."""
    until = time.monotonic() + _KILL_AFTER
    while (found := _ANNOUNCED.search(err.bytes())) is None and time.monotonic() < until:
        if channel.status_event.wait(0.1):
            break
    return found


def _finished(channel: paramiko.Channel, out: Gather, err: Gather, deadline: float | None) -> bool:
    """Wait for both streams; False when the deadline came first. A daemon that the command left
    behind may hold them open: after the exit status, two seconds without a byte are the end."""
    size, since = -1, 0.0
    while True:
        now = time.monotonic()
        if deadline is not None and now > deadline:
            return False
        if out.wait(now + 0.25) and err.wait(now + 0.25):
            return True
        if not channel.status_event.is_set() or size != out.size + err.size:
            size, since = out.size + err.size, time.monotonic()
        elif time.monotonic() - since > 2:
            return True


def _send(channel: paramiko.Channel, data: bytes) -> None:
    # A command may end without reading its input; that is its own affair
    with contextlib.suppress(OSError, EOFError):
        channel.sendall(data)
    _shut(channel)


def _shut(channel: paramiko.Channel) -> None:
    """End the command's input. Under the channel's lock, which paramiko's own `shutdown_write` lets
    go before it sends: a command that had ended by then was closed in between, and for an end of
    file of a channel that is gone sshd ends the whole connection, and all that runs over it."""
    import paramiko

    inner: Any = channel
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException), channel.lock:
        message = inner._send_eof()
        if message is not None:
            inner.transport._send_user_message(message)
