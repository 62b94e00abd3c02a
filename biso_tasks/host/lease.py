"""A process on a host that lives as long as we do: what holds a lock there, or ends a maintenance
when we are gone.

Its stdin is the lease: a line every 5 s. A script that reads with `read -t 60` ends at once when
we end, `kill -9` included, and within 60 s when the link is silent. We notice a silent link
earlier (40 s), so nobody believes in a lease that has run out.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from typing import IO, Final, final

from biso_tasks.errors import BisoError
from biso_tasks.host.command import Command, Result
from biso_tasks.host.explain import command_failed, ssh_failure, title, without_code
from biso_tasks.host.process import TAIL_LIMIT, Tail, end_group
from biso_tasks.host.protocol import Host, HostError

__all__ = ["HEARTBEAT", "Held", "hold"]

HEARTBEAT = 5.0  # seconds
_PIECE: Final = 4096  # bytes that are read of a line at once: a host may print one that never ends


@final
class Held:
    """A holder that was started. Use it as a context manager, or call `close`."""

    def __init__(self, host: Host, command: Command, child: subprocess.Popen[bytes]) -> None:
        self._host = host
        self._command = command
        self._child = child
        self._err = Tail(child.stderr)
        self._out = bytearray()
        self._news = threading.Condition()
        self._ended = False  # its stdout
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(child.stdout,), daemon=True),
            threading.Thread(target=self._beat, args=(child.stdin,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def line(self, timeout: float = 30.0, number: int = 0) -> str:
        """The line that it printed first (`number` counts from 0), without its newline; "" if it
        ended without one. Raises HostError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._news:
            while self._out.count(b"\n") <= number and not self._ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise HostError(
                        f"{self._host.name}: `{title(self._command)}` said nothing in "
                        f"{timeout:g} s",
                        hint="the host or the link may be overloaded; run the task again",
                    )
                self._news.wait(left)
        lines = self.output.split("\n")
        return lines[number] if number < len(lines) else ""

    def tell(self, text: str) -> None:
        """Write it one line. Nothing is raised where it has ended: `alive` says so."""
        pipe = self._child.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            pipe.write(f"{text}\n".encode())
            pipe.flush()

    @property
    def output(self) -> str:
        """All that it printed so far (the first 64 KiB)."""
        with self._news:
            return self._out.decode("utf-8", "surrogateescape")

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code, None while it is alive."""
        return self._child.poll()

    def wait(self, timeout: float) -> int | None:
        """The exit code, None if it is still alive after `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout)
        return None

    def failure(self) -> BisoError:
        """The error to raise for a holder that ended unexpectedly."""
        code = self._child.poll()
        said = self._err.text()
        if code == 255 and self._host.address:
            known = ssh_failure(self._host.name, self._host.address, said)
            if known is not None or not said:
                return known or without_code(self._host.name, self._command)
        result = Result(code if code is not None else -1, b"", said.encode())
        return command_failed(self._host.name, self._host.login, self._command, result)

    def close(self) -> None:
        """End it: its stdin is closed, and what does not end by itself in 5 s is stopped. When
        this returns after an orderly end, the process on the host is gone. Idempotent."""
        self._stop.set()
        self._threads[1].join(5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        end_group(self._child)
        self._threads[0].join(1)

    def _read(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        with pipe:
            while line := pipe.readline(_PIECE):
                with self._news:
                    if len(self._out) < TAIL_LIMIT:
                        self._out += line
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _beat(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        try:
            while True:
                pipe.write(b"\n")
                pipe.flush()
                if self._stop.wait(HEARTBEAT):
                    return
        except OSError:
            return  # it has ended; `alive` says so
        finally:
            with contextlib.suppress(OSError):
                pipe.close()


def hold(host: Host, command: Command) -> Held:
    """Start a holder, for example a script with
    `exec 9>>"$1"; flock -n 9 || exit 75; echo held; while read -r -t 60 _; do :; done`.
    Raises HostError if the host cannot be reached."""
    child = host.start(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    return Held(host, command, child)
