"""The journal: what a run did, one JSON object a line, on disk before the run goes on.

A run's journal is `<state>/runs/<run id>/journal.jsonl`; reports of the run may lie beside it. The
runner writes run_started (task, run, steps), step_started, step_retry, step_note, step_finished
(name, on, status, seconds, facts, error), undo_started, undo_finished, listener_failed and
run_finished (ok, status, seconds, error); callers add events of their own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, final

from biso_tasks.errors import StepFailed, UsageError

__all__ = [
    "EventLog",
    "Journal",
    "JournalError",
    "Null",
    "RunInfo",
    "find",
    "journals",
    "new_run_id",
    "read",
    "runs",
]

RUN_ID: Final = re.compile(r"\d{8}_\d{6}-(?P<task>[a-z][a-z0-9_-]*)-[0-9a-f]{4}")
FILE: Final = "journal.jsonl"


class JournalError(StepFailed):
    """The journal cannot be written or read; the message names the file."""


class EventLog(Protocol):
    """What the runner needs of a journal."""

    def write(self, event: str, **fields: Any) -> None: ...
    def redact(self, text: str) -> str: ...


def new_run_id(task: str, now: datetime | None = None) -> str:
    """A run's id, e.g. 20250301_142530-refresh-test-9f3c: UTC, and sorts by time."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", task):
        raise UsageError(
            f'"{task}" cannot be part of a run id',
            hint='a task is called with lower-case letters, digits, "-" and "_"',
        )
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%d_%H%M%S}-{task}-{secrets.token_hex(2)}"


@final
class Journal:
    """Append-only; a line is fsynced before `write` returns. Safe to share between threads."""

    def __init__(self, path: Path, fd: int, redact: Callable[[str], str]) -> None:
        self.path = path
        self._fd = fd
        self._redact = redact
        self._lock = threading.Lock()
        self._start = time.monotonic()

    @classmethod
    def open(
        cls, state: Path, run_id: str, *, redact: Callable[[str], str] = lambda text: text
    ) -> Self:
        """A new journal below `state`. `redact` sees each text before it is written. Raises
        JournalError where it cannot be made, or exists."""
        if not RUN_ID.fullmatch(run_id):
            raise UsageError(f'"{run_id}" is no run id', hint="`invoke runs` lists them")
        folder = state / "runs" / run_id
        path = folder / FILE
        try:
            for one in (state, state / "runs", folder):
                one.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            _sync_folder(folder)
            _sync_folder(state / "runs")
        except OSError as error:
            raise _unwritable(path, error) from error
        # Held until the process ends, however it ends: tells a live run from one cut off. On a
        # filesystem without locks a live run is shown as unfinished.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, fd, redact)

    @property
    def folder(self) -> Path:
        """Where the run's reports may lie."""
        return self.path.parent

    def write(self, event: str, **fields: Any) -> None:
        """Append one event. Raises TypeError for a value that is a Secret or not JSON (nothing is
        written then), JournalError where the disk does not take it."""
        clash = {"at", "t", "event"} & fields.keys()
        if clash:
            raise TypeError(f"an event has these itself: {', '.join(sorted(clash))}")
        cleaned = {key: _clean(value, key, self._redact) for key, value in fields.items()}
        with self._lock:
            head = {
                "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "t": round(time.monotonic() - self._start, 3),
                "event": event,
            }
            line = (json.dumps({**head, **cleaned}) + "\n").encode("ascii")
            written = 0
            try:
                while written < len(line):
                    written += os.write(self._fd, line[written:])
                os.fsync(self._fd)
            except OSError as error:
                # A full disk takes half a line: the next event would be glued to it.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise _unwritable(self.path, error) from error

    def redact(self, text: str) -> str:
        return self._redact(text)

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@final
class Null:
    """Writes nothing: for --plan."""

    def write(self, event: str, **fields: Any) -> None:
        return None

    def redact(self, text: str) -> str:
        return text


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a journal. A last line that was cut off (power, kill) is left out. Raises
    JournalError where another line is damaged or the file cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(
            f"{path}: cannot be read: {error.strerror}", hint="`biso runs` lists those that can"
        ) from error
    # What follows the last newline is empty, or a line that was never finished.
    events: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            if number == len(lines) - 1:
                break
            raise JournalError(
                f"{path}:{number}: this line is no journal event",
                hint="the journal is damaged; a copy of it from a backup can be put in its place",
            )
        events.append(event)
    return events


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One line of the history. `status` is ok, failed, interrupted, running, unfinished (the
    process ended without saying so: `recover` helps) or unreadable. `seconds` is None where not
    known."""

    run: str
    task: str
    started: datetime
    status: str
    seconds: float | None
    path: Path


def runs(state: Path) -> list[RunInfo]:
    """The runs below `state`, newest first. A damaged journal is listed as unreadable."""
    return [_info(path) for path in journals(state)]


def journals(state: Path, task: str = "") -> Iterator[Path]:
    """The journals below `state`, of all tasks or of one, newest first; none is opened."""
    folder = state / "runs"
    found = [RUN_ID.fullmatch(one.name) for one in folder.iterdir()] if folder.is_dir() else []
    names = [one[0] for one in found if one is not None and task in ("", one["task"])]
    for name in sorted(names, reverse=True):
        if (folder / name / FILE).is_file():
            yield folder / name / FILE


def find(state: Path, run: str = "latest") -> Path:
    """The journal of a run, named by its id or the end of it; "latest" is the newest. Raises
    UsageError where there is none, or more than one."""
    known = runs(state)
    fits = known[:1] if run == "latest" else [one for one in known if one.run == run]
    fits = fits or [one for one in known if run and one.run.endswith(run)]
    if len(fits) == 1:
        return fits[0].path
    if not known:
        raise UsageError(f"{state}: there are no runs yet", hint="a refresh or a backup is one")
    what = "more than one run ends with" if fits else "there is no run"
    raise UsageError(f'{state}: {what} "{run}"', hint="`invoke runs` lists them")


def _info(path: Path) -> RunInfo:
    run = path.parent.name
    match = RUN_ID.fullmatch(run)
    task = match["task"] if match else run
    started = datetime.strptime(run[:15], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    try:
        events = read(path)
    except JournalError:
        return RunInfo(run, task, started, "unreadable", None, path)
    ends = [event for event in events if event["event"] == "run_finished"]
    if ends:
        return RunInfo(run, task, started, str(ends[-1].get("status")), ends[-1]["seconds"], path)
    return RunInfo(run, task, started, "running" if _held(path) else "unfinished", None, path)


def _held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _clean(value: Any, where: str, redact: Callable[[str], str]) -> Any:
    """The value with every text redacted. Anything that is not plain JSON is refused by type only:
    the message never shows the value."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return redact(value)
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [_clean(one, where, redact) for one in value]
        case Mapping() if all(isinstance(key, str) for key in value):
            return {
                redact(key): _clean(one, f"{where}.{key}", redact) for key, one in value.items()
            }
        case _:
            raise TypeError(f"{where}: a {type(value).__name__} cannot be written into the journal")


def _unwritable(path: Path, error: OSError) -> JournalError:
    """A run whose journal is not written stops: nobody could recover it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = (
            "make room on this machine's disk, or set `site.state` in biso.toml to a folder on "
            "another one; then run it again"
        )
    else:
        hint = "make the folder writable, or set `site.state` in biso.toml"
    return JournalError(f"{path}: the journal cannot be written: {error.strerror}", hint=hint)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
