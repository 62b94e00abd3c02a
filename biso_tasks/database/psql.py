"""A psql that stays open: each start of it by sudo is PAM and Debian's Perl wrapper, a tenth of a
second, and a swap, or the settings of a database, are a dozen statements.

What it is told ends with a line to print, so that we know when all of it was done. It exits at the
first error (ON_ERROR_STOP), so that nothing is done after one.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import subprocess
import threading
import time
from typing import IO, Final, final

from biso_tasks.host.command import Command, Result
from biso_tasks.host.endable import endable
from biso_tasks.host.explain import ssh_failure, title, without_code
from biso_tasks.host.process import OUTPUT_LIMIT, Tail, end_group
from biso_tasks.host.protocol import CommandFailed, Host, HostError

__all__ = ["Psql"]

_TIMEOUT: Final = 3600.0  # seconds for what is asked at once
_LEAVE: Final = 10.0  # seconds to end in when it is told nothing more
_PIECE: Final = 65_536  # bytes that are read of a line at once
_PIECES: Final = 256  # that wait to be taken


@final
class Psql:
    """`command` as a process on the host, started when it is first asked, and anew after it ended.
    Use it as a context manager, or call `close`."""

    def __init__(self, host: Host, command: Command) -> None:
        self._host = host
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._said: queue.Queue[bytes] = queue.Queue()
        self._reader: threading.Thread | None = None
        self._err: Tail | None = None
        self._marker = secrets.token_hex(16)

    def ask(self, text: str) -> Result:
        """What `text` (SQL, ended by a newline) printed, with code 0; where it is an error, or psql
        cannot start, what psql said on stderr and the code that it ended with. Raises HostError
        where the link to the host broke, or it took an hour."""
        child = self._child
        if child is None or child.poll() is not None:
            self.close()
            try:
                child = self._start()
            except CommandFailed as error:  # there is no such program
                return Result(error.result.code, b"", error.message.encode())
        try:
            self._tell(child, text)
            with endable(lambda: end_group(child)):
                printed = self._printed()
        except BaseException:  # a Ctrl-C: the next answer would be taken for another one's
            self.close()
            raise
        return self._ended(child) if printed is None else Result(0, printed, b"")

    def close(self) -> None:
        """End it: when this returns it is gone from the host. Idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(OSError):
            if child.stdin is not None:
                child.stdin.close()
        end = time.monotonic() + _LEAVE
        self._drain(end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, end - time.monotonic()))
        end_group(child)
        self._drain(time.monotonic() + 1)

    def _drain(self, end: float) -> None:
        """Let the reader come to its end: it waits where nobody takes what it has read."""
        while self._reader is not None and self._reader.is_alive() and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self._said.get(timeout=0.02)

    def _start(self) -> subprocess.Popen[bytes]:
        child = self._host.start(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        # Bounded: it may print whatever it likes, asked or not.
        self._child, self._err, self._said = child, Tail(child.stderr), queue.Queue(_PIECES)
        self._reader = threading.Thread(target=_read, args=(child.stdout, self._said), daemon=True)
        self._reader.start()
        return child

    def _tell(self, child: subprocess.Popen[bytes], text: str) -> None:
        assert child.stdin is not None
        # It may have ended already; then what it said says why
        with contextlib.suppress(OSError):
            child.stdin.write(f"{text}\\echo {self._marker}\n".encode())
            child.stdin.flush()

    def _printed(self) -> bytes | None:
        """All lines before the marker; None where it ended without printing it."""
        lines: list[bytes] = []
        size, end = 0, time.monotonic() + _TIMEOUT
        try:
            while line := self._said.get(timeout=max(0.0, end - time.monotonic())):
                if line == self._marker.encode() + b"\n":
                    return b"".join(lines)
                lines.append(line)
                size += len(line)
                if size > OUTPUT_LIMIT:
                    raise self._given_up(f"printed more than {OUTPUT_LIMIT // 1024**2} MiB")
        except queue.Empty:
            raise self._given_up(f"did not answer within {_TIMEOUT:g} s") from None
        return None

    def _ended(self, child: subprocess.Popen[bytes]) -> Result:
        assert self._err is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_LEAVE)
        said = self._err.text()
        self.close()
        code = child.returncode if child.returncode is not None else -1
        if code == 255 and self._host.address:
            known = ssh_failure(self._host.name, self._host.address, said)
            raise known or without_code(self._host.name, self._command)
        return Result(code, b"", said.encode())

    def _given_up(self, what: str) -> HostError:
        return HostError(
            f"{self._host.name}: `{title(self._command)}` {what}",
            hint="look at pg_stat_activity there: what it was told may still go on",
        )


def _read(pipe: IO[bytes] | None, said: queue.Queue[bytes]) -> None:
    """Its lines, a long one in pieces, and b"" at the end."""
    assert pipe is not None
    with pipe, contextlib.suppress(OSError):
        while line := pipe.readline(_PIECE):
            said.put(line)
    said.put(b"")
