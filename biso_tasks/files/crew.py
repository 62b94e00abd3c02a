"""The processes of one transfer: started together, watched together, ended together."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import IO, Final

from biso_tasks.errors import Interrupted
from biso_tasks.files.listing import FilesError
from biso_tasks.host.command import Command
from biso_tasks.host.process import end_group
from biso_tasks.host.protocol import Host

__all__ = ["Crew", "Messages", "Progress"]

Progress = Callable[[int], None]

_GRACE: Final = 5.0  # seconds in which the others end by themselves once one has failed
_ANSWER: Final = 120.0  # seconds in which a started process must say its first word
# What else rsync has to say may follow in the same line.
_PROGRESS: Final = re.compile(r"\s*([\d,.]+)\s+\d+%(?:\s+\S+/s\s+[\d:?]+)?(?:\s+\([^)]*\))?")
# What tar says at a checkpoint, as `tartree` asks for it, and the bytes of one.
_RECORDS: Final = re.compile(r"tar: (\d+) records")
_RECORD: Final = 10_240


class Messages:
    """Drains a process's messages in a thread: keeps the last lines, tells rsync's progress, or
    tar's."""

    def __init__(self, pipe: IO[bytes] | FileIO | None, progress: Progress | None = None) -> None:
        self._lines: deque[str] = deque(maxlen=400)
        self._progress = progress
        self._thread = threading.Thread(target=self._drain, args=(pipe,), daemon=True)
        self._thread.start()

    def _drain(self, pipe: IO[bytes] | FileIO | None) -> None:
        if pipe is None:
            return
        rest = b""
        with pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                *lines, rest = re.split(rb"[\r\n]", rest + chunk[-65536:])
                self._take(lines)
        self._take([rest])

    def _take(self, lines: Sequence[bytes]) -> None:
        sent: int | None = None
        for line in lines:
            text = line.decode("utf-8", "replace")
            if told := _PROGRESS.match(text):
                sent, text = int(re.sub(r"\D", "", told[1])), text[told.end() :].lstrip()
            elif told := _RECORDS.fullmatch(text):
                sent, text = int(told[1]) * _RECORD, ""
            if text.strip():
                self._lines.append(text.rstrip())
        # The newest alone: rsync says it after every file, and a listener may be slow.
        if sent is not None and self._progress is not None:
            self._progress(sent)

    def lines(self, wait: float = 2.0) -> list[str]:
        self._thread.join(wait)
        return list(self._lines)


@dataclass(frozen=True, slots=True)
class _Member:
    host: Host
    child: subprocess.Popen[bytes]
    messages: Messages


class Crew:
    """A context: whatever happens inside, none of its processes and descriptors outlives it.

    A process on another host ends because its pipes do; one behind sudo on this machine does too,
    where a signal of ours would be forbidden."""

    def __init__(self, cancel: threading.Event | None, what: str) -> None:
        self._cancel = cancel
        self._what = what
        self._members: dict[str, _Member] = {}
        self._open: set[int] = set()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for number in tuple(self._open):
            self.close(number)
        for member in self._members.values():
            if member.child.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    member.child.wait(0.2)
            end_group(member.child)

    def pipe(self) -> tuple[int, int]:
        """A pipe, read end first, that this crew closes."""
        ends = os.pipe()
        self._open.update(ends)
        return ends

    def close(self, number: int) -> None:
        if number in self._open:
            self._open.discard(number)
            os.close(number)

    def start(
        self,
        who: str,
        host: Host,
        command: Command,
        *,
        stdin: int,
        stdout: int,
        progress: Progress | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one process. Our own copies of its pipe ends are closed, so that the others notice
        its end."""
        self.check()
        child = host.start(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        self._members[who] = _Member(host, child, Messages(child.stderr, progress))
        self.close(stdin)
        self.close(stdout)
        return child

    def listen(self, number: int, progress: Progress | None = None) -> Messages:
        """Drain a pipe's read end as messages; the descriptor is theirs from now on."""
        self._open.discard(number)
        return Messages(os.fdopen(number, "rb", buffering=0), progress)

    def check(self) -> None:
        """Raises Interrupted once `cancel` is set."""
        if self._cancel is not None and self._cancel.is_set():
            raise Interrupted(f"{self._what} was cancelled and stopped")

    def feed(self, number: int, chunks: Iterable[bytes]) -> bool:
        """Write everything into a pipe; False when its reader has ended (its exit code says why).
        The descriptor stays open and blocking."""
        os.set_blocking(number, False)
        try:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    self.check()
                    if select.select((), (number,), (), 0.2)[1]:
                        with contextlib.suppress(BlockingIOError):
                            view = view[os.write(number, view) :]
        except BrokenPipeError:
            return False
        finally:
            os.set_blocking(number, True)
        return True

    def read_byte(self, number: int, deadline: float) -> bytes:
        """One byte, b"" at the end. Raises FilesError at the deadline (time.monotonic())."""
        while not select.select((number,), (), (), 0.2)[0]:
            self.check()
            if time.monotonic() > deadline:
                raise FilesError(
                    f"{self._what}: nothing was heard for {_ANSWER:g} s",
                    hint="the host or the link may be overloaded; run the task again",
                )
        return os.read(number, 1)

    @staticmethod
    def patience() -> float:
        return time.monotonic() + _ANSWER

    def wait(self) -> dict[str, int]:
        """Exit codes when all have ended. When one fails, the others get some seconds."""
        give_up: float | None = None
        while any(member.child.poll() is None for member in self._members.values()):
            self.check()
            now = time.monotonic()
            if give_up is None and any(m.child.poll() for m in self._members.values()):
                give_up = now + _GRACE
            if give_up is not None and now > give_up:
                break
            time.sleep(0.02)
        for member in self._members.values():
            end_group(member.child)
        codes = {who: member.child.poll() for who, member in self._members.items()}
        return {who: -1 if code is None else code for who, code in codes.items()}

    def messages(self, who: str) -> list[str]:
        return self._members[who].messages.lines()

    def lost(self, codes: dict[str, int]) -> FilesError | None:
        """The error for a connection that was lost or never made, if that is what happened."""
        for who, code in codes.items():
            host = self._members[who].host
            if host.address and code in (255, -9, -15):
                said = [line for line in self.messages(who) if not line.startswith("rsync")]
                return FilesError(
                    f"{host.name}: the connection was lost during {self._what}"
                    + (f": {said[-1]}" if said else ""),
                    hint="run the task again; only what is missing will travel",
                )
        return None
