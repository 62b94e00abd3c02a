"""Runs one `biso` command with a fault at an exact point; started by the tests, never imported.

    python fault_driver.py SPEC.json refresh-test --yes --json

The product knows nothing of this: its verbs (commands on hosts, SQL, files of the host's record,
the steps of a plan) are wrapped from outside. A point is the k-th verb of a scope: `run` (all of
the command's), `exchange` (from writing the intent to removing it), a step's name, or that with
" (in maintenance)" behind it: those of the step that begin while the site is kept out.
"""

from __future__ import annotations

import contextlib
import datetime as module_of_datetime
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from biso_tasks.cli import call as cli_call
from biso_tasks.cli import main as cli_main
from biso_tasks.database import admin as database_admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.demo.process import Running, descendants
from biso_tasks.errors import StepFailed
from biso_tasks.host.command import Result
from biso_tasks.host.local import LocalHost
from biso_tasks.host.protocol import CommandFailed, Unreachable
from biso_tasks.host.ssh import SshHost
from biso_tasks.instance.state import State

BECOMES_SERVED = ("swap", "swap-previous", "in-place-online")

SPEC: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text("utf-8"))


class Faults:
    """Counts the verbs of each scope, and does the spec's act at its point."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.counts: dict[str, int] = {}
        self.names: dict[str, list[str]] = {}
        self.in_swap = False
        self.down = False
        self.step = threading.local()
        self.done = False

    def scopes(self, kept_out: str) -> list[str]:
        found = ["run"]
        if self.in_swap:
            found.append("exchange")
        name = getattr(self.step, "name", "")
        if name:
            found.append(name)
        if name and kept_out:
            found.append(name + kept_out)
        return found

    def around(
        self, what: str, verb: Callable[[], Any], failure: Callable[[str], Exception]
    ) -> Any:
        kept_out = in_maintenance()
        with self.lock:
            here = False
            for scope in self.scopes(kept_out):
                number = self.counts[scope] = self.counts.get(scope, 0) + 1
                self.names.setdefault(scope, []).append(what)
                here = here or (scope == SPEC.get("scope") and number == SPEC.get("call"))
            down = self.down
        if down:
            raise Unreachable(f"injected: the link is down ({what})")
        if not here:
            return verb()
        side, act = SPEC["side"], SPEC["act"]
        if side == "during":
            threading.Timer(SPEC.get("delay", 0.02), self.act).start()
            return verb()
        if side == "before":
            self.act()
            if act == "fail":
                raise failure(f"injected before {what}")
            if act == "down":
                self.down = True
                raise Unreachable(f"injected: the link is down ({what})")
            return verb()
        given = verb()
        if act == "truncate":
            return self.truncated(given)
        self.act()
        if act == "fail":
            if hasattr(given, "kill"):
                given.kill()
                given.wait()
            raise failure(f"injected after {what}")
        if act == "down":
            self.down = True
            raise Unreachable(f"injected: the link is down ({what})")
        return given

    def truncated(self, given: Result) -> Result:
        """What a command printed up to its middle, as if that were all; it says that it ended
        well. One that prints nothing is none to cut short."""
        if not given.out:
            return given
        self.note("truncate")
        return replace(given, out=given.out[: len(given.out) // 2])

    def act(self) -> None:
        act = SPEC["act"]
        if act != "hang":  # that is only reached where there is a program to stop
            self.note(act)
        if act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(5)
        elif act == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        elif act == "int2":
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
        elif act == "cut":
            cut(SPEC["sshd"])
        elif act in ("silent", "stall"):
            silence(SPEC["sshd"], 20 if act == "stall" else None)
        elif act == "hang":
            before = set(running())
            later(lambda: hang(before))
        elif act == "full":
            fill(Path(SPEC["fill"]), SPEC["leave"])
        elif act == "clock":
            Path(SPEC["clock"]).touch()
            set_back()
        elif act == "pause":
            while Path(SPEC["resume"]).exists():
                time.sleep(0.02)
        elif act in ("restart", "rights", "reboot"):
            asked = Path(SPEC["asked"])
            asked.write_text(act, "utf-8")
            while asked.exists():
                time.sleep(0.02)

    def note(self, act: str) -> None:
        """What was reached, for the test: a point that is never reached tests nothing."""
        self.done = True
        Path(SPEC["reached"]).write_text(act + in_maintenance(), "utf-8")


def in_maintenance() -> str:
    return " (in maintenance)" if SPEC.get("flag") and Path(SPEC["flag"]).exists() else ""


def sessions(pids: list[int]) -> list[Running]:
    return [one for pid in pids for one in descendants(Running(pid, ""))]


def cut(pids: list[int], how: signal.Signals = signal.SIGKILL) -> None:
    """What a pulled cable leaves: the sessions are gone, the servers still listen."""
    for session in sessions(pids):
        name = Path(f"/proc/{session.pid}/comm")
        with contextlib.suppress(OSError, ProcessLookupError):
            if name.read_text().startswith("sshd"):
                os.kill(session.pid, how)


def silence(pids: list[int], seconds: float | None) -> None:
    """Nothing answers any more, on no session and on no new one; for good without `seconds`."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    cut(pids, signal.SIGSTOP)

    def speak() -> None:
        time.sleep(seconds or 0)
        cut(pids, signal.SIGCONT)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    if seconds is not None:
        later(speak)


def running() -> list[int]:
    """Programs that this run has started, here and on the hosts, but for what carries them."""
    found = []
    for pid in [os.getpid(), *SPEC["sshd"]]:
        for one in descendants(Running(pid, "")):
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{one.pid}/comm").read_text().strip()
                line = Path(f"/proc/{one.pid}/cmdline").read_bytes()
                if not name.startswith(("ssh", "sleep")) and b"biso-lifeline" not in line:
                    found.append(one.pid)
    return found


def hang(before: set[int]) -> None:
    """The next program that does its work does nothing any more: it is stopped, and not those that
    wait for it. After a while somebody presses Ctrl-C."""
    until = time.monotonic() + 3
    stopped: list[int] = []
    while not stopped and time.monotonic() < until:
        for pid in set(running()) - before:
            with contextlib.suppress(OSError):
                if not Path(f"/proc/{pid}/task/{pid}/children").read_text():
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
        time.sleep(0.002)
    Path(SPEC["stopped"]).write_text(json.dumps(stopped), "utf-8")
    if stopped:
        FAULTS.note("hang")
        time.sleep(4)
        os.kill(os.getpid(), signal.SIGINT)


def later(work: Callable[[], None]) -> None:
    """In a thread that is no step's, and that the program does not wait for."""
    _start(threading.Thread(target=work, daemon=True))


class Back(datetime):
    """An hour ago."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Back:  # type: ignore[override]
        return super().now(tz) - timedelta(hours=1)  # type: ignore[return-value]


def set_back() -> None:
    """The clock of this machine is set back by an hour, for all that has read it so far."""
    real = time.time
    time.time = lambda: real() - 3600
    module_of_datetime.datetime = Back  # type: ignore[misc]
    for name, module in list(sys.modules.items()):
        if name.startswith("biso_tasks") and getattr(module, "datetime", None) is datetime:
            module.datetime = Back  # type: ignore[attr-defined]


def fill(place: Path, leave: int) -> None:
    """Leave so many bytes of the filesystem that `place` is the filler of."""
    free = os.statvfs(place.parent)
    # a step beside this one may take some of it
    with contextlib.suppress(OSError), place.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(0, free.f_bavail * free.f_frsize - leave))


FAULTS = Faults()
_start = threading.Thread.start


def start(self: threading.Thread) -> None:
    """What a step does in threads of its own is the step's as well."""
    name, work = getattr(FAULTS.step, "name", ""), self.run

    def run() -> None:
        FAULTS.step.name = name
        work()

    self.run = run  # type: ignore[method-assign]
    _start(self)


threading.Thread.start = start  # type: ignore[method-assign]


def command_failed(text: str) -> Exception:
    return CommandFailed(text, result=Result(1, b"", text.encode()))


def wrap(cls: type, name: str, kind: str, failure: Callable[[str], Exception]) -> None:
    original = getattr(cls, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        # of SQL every statement, of a command the first argument
        texts = [one for one in args if isinstance(one, str)] or [str(one) for one in args[:1]]
        what = f"{kind} {'; '.join(texts)}"[:240].replace("\n", " ")
        return FAULTS.around(what, lambda: original(self, *args, **kwargs), failure)

    setattr(cls, name, wrapped)


for host in (SshHost, LocalHost):
    wrap(host, "run", "run", command_failed)
    wrap(host, "start", "start", command_failed)
for road in (database_admin._ByConnection, database_admin._ByPsql):
    wrap(road, "execute", "sql", DatabaseFailed)
    wrap(road, "rows", "rows", DatabaseFailed)
_write, _remove, _bind = State.write, State.remove, cli_call.bind_recipe


def write(self: State, name: str, document: Any) -> None:
    if name == "intent":
        FAULTS.in_swap = True
    _write(self, name, document)


def remove(self: State, name: str) -> None:
    try:
        _remove(self, name)
    finally:
        if name == "intent":
            FAULTS.in_swap = False


def bind(*args: Any, **kwargs: Any) -> Any:
    """The plan, its steps wrapped: the point "step" is before or after a step's own work."""
    plan = _bind(*args, **kwargs)
    return replace(plan, steps=tuple(map(faulty, plan.steps)))


def faulty(step: Any) -> Any:
    under_way = Path(SPEC["steps"], step.name)

    def run(scope: Any) -> Any:
        FAULTS.step.name = step.name
        under_way.touch()
        at = SPEC.get("step") == step.name
        try:
            if at and SPEC["side"] == "before":
                FAULTS.act()
                if SPEC["act"] == "fail":
                    raise StepFailed("injected before the step")
            if step.uses in BECOMES_SERVED and SPEC.get("capture"):
                capture()
            given = step.run(scope)
            if at and SPEC["side"] == "after":
                FAULTS.act()
                if SPEC["act"] == "fail":
                    raise StepFailed("injected after the step")
            return given
        finally:
            FAULTS.step.name = ""
            under_way.unlink(missing_ok=True)

    return step if step.skip else replace(step, run=run)


def capture() -> None:
    """Ask the test for a picture of the stage as it is, before it is served."""
    flag = Path(SPEC["capture"])
    flag.write_text("now", "utf-8")
    while flag.exists():
        time.sleep(0.01)


State.write, State.remove, cli_call.bind_recipe = write, remove, bind  # type: ignore[method-assign]
sys.argv = ["biso", *sys.argv[2:]]
try:
    cli_main.main()
finally:
    if SPEC.get("trace"):
        Path(SPEC["trace"]).write_text(json.dumps(FAULTS.names), "utf-8")
