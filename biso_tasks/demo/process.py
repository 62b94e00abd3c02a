"""Daemons that outlive the command that started them; how to find and end exactly those again."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from biso_tasks.errors import StepFailed

__all__ = [
    "DemoError",
    "Owner",
    "Running",
    "daemon",
    "descendants",
    "end",
    "find_owner",
    "is_alive",
    "run",
]


class DemoError(StepFailed):
    """A part of the demo could not be built, started or removed."""

    usual = "`biso demo --clean` removes what there is of it; then start again"


@dataclass(frozen=True, slots=True)
class Owner:
    """The system user that a server runs as where we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Running:
    """A process by its id and the moment it began: an id alone may be another's by now."""

    pid: int
    began: str


def find_owner(*names: str) -> Owner | None:
    """The first of these users that exists, where we are root; None for an ordinary user."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Owner(name, entry.pw_uid, entry.pw_gid)
    raise DemoError(
        f"no user to run a server as: none of {', '.join(names)} exists",
        hint="run the demo as an ordinary user, or create one of these users",
    )


def run(
    argv: Sequence[str | Path],
    *,
    owner: Owner | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    check: bool = True,
    cwd: Path | str = "/",
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end in `cwd` (the caller's own may be closed to `owner`). Raises DemoError with
    what the program said, unless `check` is off."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            env=dict(env) if env is not None else None,
            timeout=timeout,
            cwd=cwd,
            check=False,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )
    except OSError as error:
        if not check:
            return subprocess.CompletedProcess(words, 127, b"", str(error).encode())
        raise DemoError(f"{words[0]} could not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"{words[0]} did not end within {timeout:.0f} seconds") from error
    if check and done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DemoError(
            f"{Path(words[0]).name} ended with code {done.returncode}: {' · '.join(said[-3:])}"
        )
    return done


def daemon(
    argv: Sequence[str | Path],
    *,
    log: Path,
    owner: Owner | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = "/",
) -> Running:
    """Start in a session of its own, so that neither Ctrl-C nor the end of this command reaches it;
    output is appended to `log`, a file that `owner` need not be able to open."""
    with log.open("ab") as out:
        done = subprocess.run(
            # the shell leaves at once: the daemon is nobody's child here, hence no zombie of ours
            ["/bin/sh", "-c", 'exec "$@" >&2 & echo $!', "daemon", *[str(word) for word in argv]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            check=True,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            start_new_session=True,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )
    pid = int(done.stdout)
    return Running(pid, _began(pid) or "")


def is_alive(process: Running) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    began = _began(process.pid)
    return began is not None and began == process.began


def end(
    process: Running,
    *,
    ladder: Sequence[tuple[signal.Signals, float]] = (
        (signal.SIGTERM, 5.0),
        (signal.SIGKILL, 5.0),
    ),
) -> None:
    """Signal after signal, each with its seconds, until it is gone. DemoError when it stays."""
    for number, seconds in ladder:
        if not is_alive(process):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_alive(process):
                return
            time.sleep(0.01)
    if is_alive(process):
        raise DemoError(f"process {process.pid} does not end", hint=f"kill -9 {process.pid}")


def descendants(process: Running) -> tuple[Running, ...]:
    """The processes below this one, children first."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[Running] = []
    queue = list(children.get(process.pid, ()))
    while queue:
        pid = queue.pop(0)
        found.append(Running(pid, _began(pid) or ""))
        queue += children.get(pid, ())
    return tuple(found)


def _parents() -> list[tuple[int, int]]:
    if Path("/proc/self/stat").exists():
        pairs = []
        # Not by a glob of */stat: that raises for a process that ends meanwhile.
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                pairs.append((int(entry.name), int(fields[1])))
        return pairs
    done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=False)
    lines = (line.split() for line in done.stdout.splitlines())
    return [(int(pid), int(parent)) for pid, parent in lines]


def _began(pid: int) -> str | None:
    """When the process began, in whatever unit the system has; None when it is gone or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # the name in parentheses may hold spaces and parentheses: what counts is after the last
            fields = stat.read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, began = done.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else began.strip()
