"""One installation's command, as a process of its own: what ends it, ends nobody else, and what it
holds in memory is gone with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from biso_tasks.cli.call import SHOWN
from biso_tasks.cli.declare import flag
from biso_tasks.cli.fleet.members import Member
from biso_tasks.cli.together import said
from biso_tasks.errors import BisoError, Interrupted, StepFailed
from biso_tasks.flow.plan import Scope
from biso_tasks.host.process import Lifeline
from biso_tasks.ui.errors import as_json

__all__ = ["GRACE", "Ended", "end", "words"]

GRACE: Final = 120  # seconds that an installation has to clean up where this command is killed
_LOOK: Final = 0.2  # seconds until the end of a process, or a signal, is noticed
_LAST: Final = 3  # lines of what it said that are told where it gave no answer


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: its exit code, and the document that it printed."""

    code: int
    document: Mapping[str, Any]

    @property
    def error(self) -> BisoError | None:
        """What its command raised; None where all was done."""
        told = self.document.get("error")
        return said(told) if isinstance(told, Mapping) else None

    @property
    def report(self) -> str | None:
        """Where its own report lies, where a run of its own was begun."""
        path = self.document.get("report")
        return path if isinstance(path, str) else None


def words(task: str, option: str, member: Member, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of the member's own command: those that were given, but for the pattern."""
    given = {**arguments, option: member.environment}
    found = [task, "--json"]
    for name, value in given.items():
        if value is True:
            found.append(flag(name))
        elif isinstance(value, str) and value:
            found.append(f"{flag(name)}={value}")
    return tuple(found)


def end(
    lifeline: Lifeline,
    member: Member,
    own: tuple[str, ...],
    folder: Path,
    scope: Scope,
    *,
    shown: str = "",
) -> Ended:
    """Run a member's command to its end; what it prints goes to files of its own in `folder`, which
    is there. Where the step shall stop, it is asked to, and waited for. `shown` is the fingerprint
    of the plan that somebody agreed to. That it gave no answer is its error. Raises Interrupted."""
    name = _file_name(member.name)
    answer, log = folder / f"{name}.json", folder / f"{name}.log"
    environ = {**os.environ, "BISO_CONFIG": str(member.file), SHOWN: shown}
    with _private(answer) as out, _private(log) as lines:
        child = lifeline.start(
            (sys.executable, "-P", "-m", "biso_tasks.cli.main", *own),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=lines,
            env=environ,
        )
        while (code := child.poll()) is None:
            if scope.cancel.wait(_LOOK):
                # It cleans up as it does after Ctrl-C, however long that takes.
                child.terminate()
                code = child.wait()
                break
    document = _read(answer)
    if scope.cancel.is_set():
        raise Interrupted(f"{member.name} was interrupted: it has cleaned up")
    if document is None:
        last = " ".join(log.read_text("utf-8", "replace").strip().splitlines()[-_LAST:])
        silent = StepFailed(
            f"{member.name}: its command ended with {code} and gave no answer: {last}",
            hint=f"all that it said is in {log}; `biso recover` puts right what it has begun",
        )
        return Ended(silent.exit_code, {"error": as_json(silent)})
    return Ended(int(document.get("exit_code", code)), document)


def _file_name(name: str) -> str:
    """Folders may be called anything; two that look alike as files stay two."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
