"""Child processes: each in a group of its own, its output bounded, and none of them outlives us.

`Lifeline` is what makes the last point true even for `kill -9`: a small shell that holds the read
end of a pipe of ours, and ends every registered group when that pipe closes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from biso_tasks.host.protocol import HostError

__all__ = [
    "OUTPUT_LIMIT",
    "TAIL_LIMIT",
    "Child",
    "Gather",
    "Lifeline",
    "Tail",
    "end_group",
    "private_directory",
]

OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes a command may print on the control plane
TAIL_LIMIT = 64 * 1024  # bytes of stderr that are kept on the data plane

# Reads "+ GROUP" and "- GROUP" until we are gone, however we went. Signals are ignored, or a
# Ctrl-C in the terminal would end the guardian before those it guards.
_LIFELINE = """
trap '' HUP INT TERM QUIT
groups=' '
while read -r what group; do
  case $what in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group"; done
left=$2
while [ "$left" -gt 0 ] && [ "$groups" != ' ' ]; do
  sleep 1
  left=$((left - 1))
  for group in $groups; do
    kill -s 0 -- "-$group" 2>/dev/null || groups="${groups%% $group *} ${groups#* $group }"
  done
done
for group in $groups; do kill -s KILL -- "-$group"; done
[ -z "$1" ] || rm -rf -- "$1"
"""


class Child(subprocess.Popen[bytes]):
    """A Popen that tells once that its process was reaped, so that a lifeline forgets its group
    before the number can belong to somebody else."""

    on_reaped: Callable[[], None] | None = None

    def poll(self) -> int | None:
        code = super().poll()
        self._told(code)
        return code

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        self._told(code)
        return code

    def _told(self, code: int | None) -> None:
        if code is not None and self.on_reaped is not None:
            told, self.on_reaped = self.on_reaped, None
            told()


class Lifeline:
    """Starts processes that end when this object is closed or when this program is gone, `kill -9`
    included. `directory`, if any, is removed then as well.

    PR_SET_PDEATHSIG is no substitute: it is Linux only, and it fires when the *thread* that
    started the process ends. Who is gone leaves `grace` whole seconds to what it has started.
    """

    def __init__(self, directory: Path | None = None, *, grace: int = 4) -> None:
        self._lock = threading.Lock()
        self._directory = directory
        self._shell = subprocess.Popen(
            ("sh", "-c", _LIFELINE, "biso-lifeline", str(directory or ""), str(grace)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        self._children: dict[int, Child] = {}

    def start(
        self,
        words: Sequence[str],
        *,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start in a new session (so a new process group). Raises OSError if it cannot start,
        HostError if the lifeline itself is gone."""
        child = Child(
            list(words),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            start_new_session=True,
        )
        try:
            with self._lock:
                self._children[child.pid] = child
                self._tell("+", child.pid)
        except OSError as error:
            end_group(child)
            raise HostError("the shell that guards our child processes was ended") from error
        child.on_reaped = lambda: self._forget(child.pid)
        return child

    def _tell(self, what: str, group: int) -> None:
        pipe = self._shell.stdin
        if pipe is None or pipe.closed:
            raise BrokenPipeError
        pipe.write(f"{what} {group}\n".encode())
        pipe.flush()

    def _forget(self, group: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._children.pop(group, None)
            self._tell("-", group)

    def close(self) -> None:
        """End and reap what still runs, bounded in time; remove the directory. Idempotent."""
        with self._lock:
            children = tuple(self._children.values())
        for child in children:
            end_group(child, grace=1.0)
        pipe = self._shell.stdin
        if pipe is not None:
            with self._lock, contextlib.suppress(OSError):
                pipe.close()
        try:
            self._shell.wait(5)
        except subprocess.TimeoutExpired:  # a stopped or starved machine
            self._shell.kill()
            self._shell.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


def end_group(child: subprocess.Popen[bytes], grace: float = 2.0) -> bool:
    """Terminate the child's process group, kill it after `grace` seconds, reap the child.

    False when that was not possible: a process behind sudo belongs to another user, and the
    system forbids us to signal it."""
    if child.poll() is not None:
        return True  # reaped: the number may be another group's by now
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(OSError):
            os.killpg(child.pid, number)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            continue
        with contextlib.suppress(OSError):  # members that outlive their leader
            os.killpg(child.pid, signal.SIGKILL)
        return True
    return False


class Tail:
    """Drains a pipe in a thread and keeps its last 64 KiB: a full stderr pipe stops its writer."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._drain, args=(pipe,), daemon=True)
        self._thread.start()

    def _drain(self, pipe: IO[bytes] | None) -> None:
        if pipe is None:
            return
        with pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                with self._lock:
                    self._kept += chunk
                    del self._kept[:-TAIL_LIMIT]

    def bytes(self, wait: float = 1.0) -> bytes:
        """What is kept, after waiting at most `wait` seconds for the end: a grandchild that stays
        behind can hold the pipe open for ever."""
        self._thread.join(wait)
        with self._lock:
            return bytes(self._kept)

    def text(self, wait: float = 1.0) -> str:
        return self.bytes(wait).decode("utf-8", "replace").strip()


class Gather:
    """Reads a stream to its end in a thread, up to a limit; linear in what is read.

    `read` gives the next chunk, b"" at the end. `overflow` is set when there was more than
    `limit`; reading stops then, and `on_overflow` is called to end the writer. `close` is called
    by the thread itself: closed under a blocked read, the descriptor's number could belong to
    another file when that read returns."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        limit: int,
        on_overflow: Callable[[], object],
        close: Callable[[], object] | None = None,
    ) -> None:
        self._read = read
        self._limit = limit
        self._on_overflow = on_overflow
        self._close = close
        self.size = 0
        self._chunks: list[bytes] = []
        self.overflow = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):
                while chunk := self._read(65536):
                    self.size += len(chunk)
                    if self.size > self._limit:
                        self.overflow = True
                        self._on_overflow()
                        return
                    self._chunks.append(chunk)
        finally:
            if self._close is not None:
                self._close()

    def wait(self, deadline: float | None) -> bool:
        """Whether the end was reached by `deadline` (time.monotonic(); None: wait for ever)."""
        self._thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def bytes(self) -> bytes:
        return b"".join(self._chunks)


def private_directory() -> Path:
    """A new directory, mode 0700, whose path is short: a socket's path may have some 100 bytes,
    and OpenSSH adds 17 of its own while it creates one."""
    base = tempfile.gettempdir()
    if len(base) > 30 and os.access("/tmp", os.W_OK | os.X_OK):
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix="biso-", dir=base))
