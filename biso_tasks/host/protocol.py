"""What every host can do, whether it is this machine or one behind SSH.

Control plane: `run`, for small commands and small outputs. Data plane: `start`, a local child
process (OpenSSH, or the command itself) whose stdin and stdout are file descriptors, so that bulk
data never passes through Python. `tunnel` makes a TCP port or a socket of the host reachable.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from biso_tasks.errors import StepFailed
from biso_tasks.host.command import Command, Result

__all__ = ["CommandFailed", "Endpoint", "Host", "HostError", "Unreachable"]


class HostError(StepFailed):
    """Something about a host: the message names it."""

    usual = "`biso doctor` looks at that host"


class Unreachable(HostError):
    """The host does not answer, or does not let us in."""


class CommandFailed(HostError):
    """A command ended with a code that was not expected."""

    usual = "run it there by hand to see all that it says; `biso doctor` looks at that host"

    def __init__(self, message: str, *, result: Result, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.result = result


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where psycopg connects: a TCP host and port, or a directory with a socket and its port."""

    host: str
    port: int


class Host(Protocol):
    @property
    def name(self) -> str:
        """How messages and plans call it: the environment's name."""

    @property
    def address(self) -> str:
        """ "" for this machine, else user@host:port as `ssh -G` resolves it. Equal for two
        environments on one host."""

    @property
    def login(self) -> str:
        """The user that commands run as."""

    def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float | None = 60,
        ok: Sequence[int] | None = (0,),
    ) -> Result:
        """Run to the end. Raises CommandFailed unless the code is in `ok` (None: any), and after
        `timeout` seconds, when the process is ended on the host as well. More than 64 MiB of
        output is an error, not a memory problem."""

    def start(
        self,
        command: Command,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        """Start on the data plane with these descriptors (or subprocess.DEVNULL/PIPE), in a
        process group of its own. The caller waits for it, or ends the group."""

    def tunnel(self, host: str, port: int) -> AbstractContextManager[Endpoint]:
        """Reach a database of this host. `host` is a name, an address, or a socket directory
        (starts with "/"). On this machine: the same place. Raises HostError."""

    def require_forwarding(self, host: str, port: int) -> None:
        """For whoever got no connection through a tunnel there: raises HostError where the SSH
        server carries none, which looks like a database that closes the connection."""

    def reachable_from(self, other: Host) -> bool:
        """Whether `other` can open a batch-mode SSH connection to this host with a known key."""

    def ssh_words(self) -> tuple[str, ...]:
        """The `ssh …` words that reach this host from this machine, destination last, strict host
        keys included; empty for this machine. For rsync's -e and for direct transfers."""

    def close(self) -> None: ...
