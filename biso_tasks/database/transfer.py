"""How a dump gets from the source's process into the target's: through this machine, or straight.

`local` and `relay` are one pipe between two processes that this machine started; nothing lands on
its disk. `direct`: the target's host opens the connection to the source's host itself, and both
passwords travel to it over one stdin.
"""

from __future__ import annotations

import re
import threading
from typing import Literal

from biso_tasks.database.connect import unquoted
from biso_tasks.errors import StepFailed
from biso_tasks.host.command import command, script
from biso_tasks.host.protocol import CommandFailed
from biso_tasks.host.stream import Leg, PipeResult, pipe, remote_words

__all__ = ["Leg", "Route", "transfer"]

Route = Literal["local", "relay", "direct"]


def transfer(
    source: Leg,
    target: Leg,
    what: str,
    *,
    route: Route,
    cancel: threading.Event,
    timeout: float | None = None,
) -> PipeResult:
    """Run both to their ends, the first one's output being the second one's input, and give what
    they said (`direct`: both in `source_err`). Each leg's `prefix`
    is one line (see `client.password_line`). Raises StepFailed ("`what`: …") where either ended
    badly or `timeout` (seconds) passed, Interrupted when cancelled, HostError for a host that
    cannot be reached."""
    if route == "direct":
        source, target = _straight(source, target)
    try:
        return pipe(source, target, cancel=cancel, timeout=timeout)
    except CommandFailed as error:
        raise StepFailed(f"{what}: {_reason(error)}", hint=error.hint or _REMEDY) from error


_REMEDY = "nothing was taken over; put right what the server names, in the source or on the target"

# $1 how many words the source's command has. `printf` is built in: no password in an argv. The
# loader reads its own password first, then the dump, all from one pipe and without a `cat`.
_STRAIGHT = """IFS= read -r first
IFS= read -r second
n=$1
shift
{ printf '%s\\n' "$second"; printf '%s\\n' "$first" | "${@:1:n}"; } | "${@:n+1}"
"""


def _straight(source: Leg, target: Leg) -> tuple[Leg, Leg]:
    """One process on the target's host that runs both, and one that reads its (empty) output."""
    there = (*remote_words(source.host), source.command.shell(source.host.login))
    here = target.command.words(target.host.login)
    both = script(_STRAIGHT, str(len(there)), *there, *here)
    return Leg(target.host, both, source.prefix + target.prefix), Leg(target.host, command("cat"))


def _reason(error: CommandFailed) -> str:
    """The one line of a program's stderr that says why."""
    said = [line.strip() for line in error.result.error.splitlines() if line.strip()]
    for line in said:
        missing = re.search(
            r"(\S+): (?:command )?not found$|(\S+): No such file or directory$", line
        )
        if missing and error.result.code in (126, 127):
            return f"the program {missing[1] or missing[2]} was not found on the host"
    for line in said:
        if re.search(r"\b(error|ERROR|FATAL|FEHLER|fatal):", line):
            return unquoted(line)
    if error.result.code == -1 and "did not end within" in error.message:
        return "did " + error.message.partition("` did ")[2]
    return said[-1] if said else re.sub(r"`[^`]*`", "a client program", error.message)
