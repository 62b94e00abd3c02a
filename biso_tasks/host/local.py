"""This machine as a host: the same verbs, without a network."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, final

from biso_tasks.host.command import Command, Result
from biso_tasks.host.endable import endable
from biso_tasks.host.explain import command_failed, title
from biso_tasks.host.process import OUTPUT_LIMIT, Child, Gather, Lifeline, end_group
from biso_tasks.host.protocol import CommandFailed, Endpoint, Host, HostError

__all__ = ["LocalHost"]


@final
class LocalHost:
    """Runs commands as child processes in groups of their own, which end when we do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._login = pwd.getpwuid(os.geteuid()).pw_name
        self._lock = threading.Lock()
        self._line: Lifeline | None = None

    def __repr__(self) -> str:
        return f"LocalHost({self._name!r})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> str:
        return ""

    @property
    def login(self) -> str:
        return self._login

    def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float | None = 60,
        ok: Sequence[int] | None = (0,),
    ) -> Result:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            child = self._start(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError:
            result = Result(127, b"", f"{command.words(self._login)[0]}: not found".encode())
            return self._checked(command, result, ok)
        result = self._collect(command, child, stdin, timeout, deadline)
        return self._checked(command, result, ok)

    def _collect(
        self,
        command: Command,
        child: Child,
        stdin: bytes,
        timeout: float | None,
        deadline: float | None,
    ) -> Result:
        assert child.stdout is not None
        assert child.stderr is not None
        out, err = _gather(child, child.stdout), _gather(child, child.stderr)
        feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
        if stdin:
            feeder.start()
        ended = True
        try:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            with endable(lambda: end_group(child, grace=1.0)):
                child.wait(left)
        except subprocess.TimeoutExpired:
            ended = False
        except BaseException:  # Ctrl-C: nothing of ours goes on behind the prompt
            end_group(child, grace=1.0)
            raise
        if not ended:
            gone = end_group(child)
            raise CommandFailed(
                f"{self._name}: `{title(command)}` did not end within {timeout:g} s"
                + (" and was stopped" if gone else ", and this user may not stop it"),
                result=Result(-9 if child.returncode is None else child.returncode, b"", b""),
                hint="" if gone else f"end process {child.pid} by hand; it runs behind sudo",
            )
        # A daemon that it left behind may hold the pipes: what it says is not waited for
        grace = time.monotonic() + 2
        out.wait(grace)
        err.wait(grace)
        if out.overflow or err.overflow:
            raise HostError(
                f"{self._name}: `{title(command)}` printed more than {OUTPUT_LIMIT // 1024**2} MiB",
                hint="bulk data belongs on the data plane (Host.start)",
            )
        return Result(child.returncode, out.bytes(), err.bytes())

    def start(
        self,
        command: Command,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        try:
            return self._start(command, stdin=stdin, stdout=stdout, stderr=stderr)
        except FileNotFoundError as error:
            missing = Result(127, b"", b"")
            raise command_failed(self._name, self._login, command, missing) from error

    def tunnel(self, host: str, port: int) -> AbstractContextManager[Endpoint]:
        return contextlib.nullcontext(Endpoint(host, port))

    def require_forwarding(self, host: str, port: int) -> None:
        """Nothing is forwarded on this machine."""

    def reachable_from(self, other: Host) -> bool:
        """Only from itself: nothing says that this machine runs an SSH server."""
        return other.address == ""

    def ssh_words(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def _start(self, command: Command, *, stdin: Any, stdout: Any, stderr: Any) -> Child:
        with self._lock:
            if self._line is None:
                self._line = Lifeline()
            line = self._line
        return line.start(command.words(self._login), stdin=stdin, stdout=stdout, stderr=stderr)

    def _checked(self, command: Command, result: Result, ok: Sequence[int] | None) -> Result:
        if ok is None or result.code in ok:
            return result
        raise command_failed(self._name, self._login, command, result, _locate)


def _gather(child: Child, pipe: IO[bytes]) -> Gather:
    number = pipe.fileno()
    return Gather(
        lambda size: os.read(number, size), OUTPUT_LIMIT, lambda: _kill(child), pipe.close
    )


def _kill(child: Child) -> None:
    if child.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)


def _locate(program: str) -> str:
    return shutil.which(program) or ""


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    # A command may end without reading its input; that is its own affair
    if pipe is not None:
        with contextlib.suppress(OSError, ValueError):
            pipe.write(data)
        with contextlib.suppress(OSError, ValueError):
            pipe.close()
