"""A program run to its end, seen from outside: its seconds, the most memory its process held, and
what it printed as JSON. Whatever happens here, nothing of it is left running.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from biso_tasks.errors import StepFailed
from biso_tasks.flow.interrupt import interruptible

__all__ = ["Ended", "run"]

# Not SIGINT: what was started by nohup or in the background inherits that it is ignored.
_LADDER: Final = ((signal.SIGTERM, 60.0), (signal.SIGKILL, 10.0))


@dataclass(frozen=True, slots=True)
class Ended:
    """`document` is what it printed as JSON, {} without; `memory` is in bytes, 0 where the system
    does not say."""

    seconds: float
    memory: int
    document: dict[str, Any]

    def step(self, name: str) -> float:
        """The seconds of a step of that run; 0 where it had none of that name."""
        steps = self.document.get("steps", ())
        return sum(float(one["seconds"]) for one in steps if one["name"] == name)


def run(
    words: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    limit: float = 7200,
) -> Ended:
    """Run it in a process group of its own. Raises StepFailed with the end of what it said where it
    fails or takes longer than `limit` seconds."""
    argv = [str(word) for word in words]
    with log.open("ab") as said:
        begin = time.monotonic()
        printed: list[bytes] = []
        memory = 0
        child: subprocess.Popen[bytes] | None = None
        stop = threading.Event()
        try:
            # a Ctrl-C while it is started would find nothing to end
            with interruptible(stop, lambda text: None):
                child = subprocess.Popen(
                    argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=said, start_new_session=True,
                )  # fmt: skip
                assert child.stdout is not None
                reader = threading.Thread(target=_drain, args=(child.stdout, printed), daemon=True)
                reader.start()
            while (code := child.poll()) is None:
                if stop.is_set():
                    raise KeyboardInterrupt
                memory = max(memory, _peak(child.pid))
                if time.monotonic() - begin > limit:
                    raise StepFailed(f"{_shown(argv)} did not end within {limit:.0f} seconds")
                time.sleep(0.01)
            seconds = time.monotonic() - begin
        finally:
            # a second Ctrl-C must not keep the first one from ending it
            with interruptible(threading.Event(), lambda text: None):
                if child is not None and child.stdout is not None:
                    _end(child)
                    reader.join(10)
                    child.stdout.close()
    if code != 0:
        end = log.read_text("utf-8", "replace").strip().splitlines()[-4:]
        raise StepFailed(f"{_shown(argv)} ended with code {code}: {' · '.join(end)}")
    text = b"".join(printed).decode("utf-8", "replace").strip()
    document: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    return Ended(seconds, memory, document)


def _shown(argv: Sequence[str]) -> str:
    return " ".join(Path(word).name for word in argv)


def _drain(pipe: IO[bytes], into: list[bytes]) -> None:
    while data := pipe.read(65536):
        into.append(data)


def _peak(pid: int) -> int:
    """The most memory that this process has held so far, in bytes."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(found[1]) * 1024
    return 0


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, so that ours cleans up; then make it."""
    for number, seconds in _LADDER:
        if child.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
    if child.returncode != 0:
        with suppress(ProcessLookupError):  # what a shell that died first has left behind
            os.killpg(child.pid, signal.SIGKILL)
