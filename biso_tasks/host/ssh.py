"""A host behind SSH: small commands by Fabric, bulk data and tunnels by the OpenSSH client.

Both planes use what `ssh -G` said, and the same known_hosts files. One ControlMaster connection
carries the data plane; it, and every other `ssh` of ours, ends when we do (see Lifeline).
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from biso_tasks.errors import BisoError
from biso_tasks.host.command import Command, Result, script
from biso_tasks.host.control import ControlPlane, TimedOut, announced
from biso_tasks.host.explain import command_failed, ssh_failure, title
from biso_tasks.host.forward import check_target, forward, require_carried
from biso_tasks.host.known_hosts import first_knowing
from biso_tasks.host.process import Child, Lifeline, Tail, end_group, private_directory
from biso_tasks.host.protocol import CommandFailed, Endpoint, Host, HostError
from biso_tasks.host.resolve import (
    Resolved,
    parse_destination,
    resolve,
    ssh_environment,
    write_config,
)
from biso_tasks.host.words import direct_words

__all__ = ["SshHost"]

_MASTER_TIMEOUT = 60.0  # seconds, for all hops together
_SHORT = 60.0  # seconds; what may take longer can be ended before


@dataclass(frozen=True, slots=True)
class _Opened:
    """What one host needs on this machine while it is in use."""

    directory: Path
    config: Path
    resolved: Resolved
    lifeline: Lifeline
    control: ControlPlane

    @property
    def socket(self) -> Path:
        return self.directory / "m"


@final
class SshHost:
    """`destination` is an ssh_config alias or user@host:port. Without `ssh_config` OpenSSH's own
    files count, without `known_hosts` what they say. Nothing is contacted before it is needed."""

    def __init__(
        self,
        name: str,
        destination: str,
        ssh_config: Path | None = None,
        known_hosts: Path | None = None,
    ) -> None:
        self._name = name
        self._destination = parse_destination(destination)
        self._ssh_config = ssh_config
        self._known_hosts = known_hosts
        self._lock = threading.Lock()
        self._master_lock = threading.Lock()
        self._opened: _Opened | None = None
        self._master: Child | None = None
        self._tunnel_lock = threading.Lock()
        self._tunnels: dict[tuple[str, int], tuple[Child, Endpoint, contextlib.ExitStack]] = {}

    def __repr__(self) -> str:
        return f"SshHost({self._name!r}, {self._destination.host!r})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> str:
        return self._open().resolved.address

    @property
    def login(self) -> str:
        return self._open().resolved.user

    def known_in(self) -> str:
        """The known_hosts file of the user's, not the machine's, that knows this host's key; ""
        where none does."""
        resolved = self._open().resolved
        file = first_knowing(resolved.lookup, resolved.known_hosts)
        return file if file in resolved.own_known_hosts else ""

    def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float | None = 60,
        ok: Sequence[int] | None = (0,),
    ) -> Result:
        opened = self._open()
        login = opened.resolved.user
        line = command.shell(login)
        if timeout is not None and timeout > _SHORT:
            line = announced(line, timeout)
        elif timeout is not None:
            # Without it, closing the channel leaves the process on the host running
            line = f"timeout -k 5 {timeout:g} {line}"
        try:
            result = opened.control.run(
                line.encode("utf-8", "surrogateescape"),
                stdin=stdin,
                timeout=timeout,
            )
        except TimedOut as late:
            raise CommandFailed(
                f"{self._name}: `{title(command)}` did not end within {timeout:g} s"
                + (" and was stopped" if late.ended else "; the host did not report its end"),
                result=late.result,
                hint=""
                if late.ended
                else "look for it there: behind sudo, the login may not stop it; "
                "or the connection is dead",
            ) from None
        if ok is None or result.code in ok:
            return result
        raise command_failed(self._name, login, command, result, self._locate)

    def start(
        self,
        command: Command,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        opened = self._open()
        self._ensure_master(opened)
        return opened.lifeline.start(
            (*self.ssh_words(), "--", command.shell(opened.resolved.user)),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=ssh_environment(),
        )

    @contextlib.contextmanager
    def tunnel(self, host: str, port: int) -> Iterator[Endpoint]:
        """The local end is a socket in a directory of mode 0700: a TCP port would be open to
        every user of this machine."""
        yield self._shared_tunnel(host, port)

    def require_forwarding(self, host: str, port: int) -> None:
        end = self._shared_tunnel(host, port)
        try:
            check_target(self, host, port)
        except HostError:
            return  # nothing is there: the tunnel is not at fault
        require_carried(self._name, end, host, port)

    def _shared_tunnel(self, host: str, port: int) -> Endpoint:
        """One tunnel a database, kept until `close`: each new one costs round trips, some of them
        in the seconds in which a site is away. It goes with the master that carries it."""
        opened = self._open()
        with self._tunnel_lock:
            known = self._tunnels.get((host, port))
            master = self._master
            if known is not None and master is not None and master.poll() is None:
                if known[0] is master:
                    return known[1]
                known[2].close()
            check_target(self, host, port)
            if not self._ensure_master(opened):
                raise HostError(
                    f"{self._name}: there is no shared connection that could carry a tunnel",
                    hint="`ssh -v` with the same destination shows why",
                )
            stack = contextlib.ExitStack()
            end = stack.enter_context(forward(self._name, opened.socket, host, port))
            assert self._master is not None
            self._tunnels[host, port] = (self._master, end, stack)
            return end

    def reachable_from(self, other: Host) -> bool:
        local = other.address == ""
        words = (*self.ssh_words(), "--") if local else direct_words(self.address)
        done = other.run(Command((*words, "true")), timeout=30, ok=None)
        return done.code == 0

    def ssh_words(self) -> tuple[str, ...]:
        opened = self._open()
        return (
            *("ssh", "-F", str(opened.config), "-S", str(opened.socket)),
            *self._destination.words,
        )

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
            self._master = None
            # They end with the master; what is left of them lies in its directory.
            self._tunnels.clear()
        if opened is not None:
            opened.control.close()
            opened.lifeline.close()

    def _open(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                directory = private_directory()
                try:
                    config = write_config(directory, self._ssh_config, self._known_hosts)
                    resolved = resolve(self._name, config, self._destination, self._known_hosts)
                except BisoError:
                    shutil.rmtree(directory, ignore_errors=True)
                    raise
                lifeline = Lifeline(directory)
                control = ControlPlane(self._name, resolved, config, lifeline)
                self._opened = _Opened(directory, config, resolved, lifeline, control)
            return self._opened

    def _locate(self, program: str) -> str:
        found = self.run(script('command -v -- "$1"', program), timeout=20, ok=None)
        return found.text if found.code == 0 and found.text.startswith("/") else ""

    def _ensure_master(self, opened: _Opened) -> bool:
        """Whether the shared connection is up. Where it cannot be, for a reason that is not the
        connection's own, `ssh` connects by itself each time; raises Refused or Unreachable where
        a single connection would fail in the same way."""
        with self._master_lock:
            if self._master is not None and self._master.poll() is None:
                return opened.socket.exists()
            opened.socket.unlink(missing_ok=True)
            words = ("ssh", "-F", str(opened.config), "-S", str(opened.socket))
            master = opened.lifeline.start(
                (*words, "-o", "ControlMaster=yes", "-N", *self._destination.words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=ssh_environment(),
            )
            said = Tail(master.stderr)
            patience = time.monotonic() + _MASTER_TIMEOUT
            while not opened.socket.exists():  # it appears after authentication
                if master.poll() is not None:
                    self._explain(said.text())
                    return False
                if time.monotonic() > patience:
                    end_group(master)
                    return False
                time.sleep(0.01)
            self._master = master
            return True

    def _explain(self, said: str) -> None:
        resolved = self._open().resolved
        failure = ssh_failure(
            self._name, resolved.address, said, resolved.known_hosts, resolved.lookup
        )
        if failure is not None:
            raise failure
