"""Tunnels over the shared connection: a private local socket that leads to a database of a host."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from biso_tasks.host.alive import SILENCE
from biso_tasks.host.command import script
from biso_tasks.host.explain import LOST
from biso_tasks.host.protocol import Endpoint, Host, HostError
from biso_tasks.host.resolve import CONNECT_TIMEOUT, ssh_environment

__all__ = ["check_target", "forward", "require_carried"]

_PROBE = 0.25  # seconds in which a server that forbids forwarding says so


def check_target(on: Host, host: str, port: int) -> None:
    """Ask on the host itself whether there is something to reach; raises HostError if not. Through
    a tunnel, a wrong port looks like a server that closes the connection. Nothing is sent, and
    PostgreSQL does not log that."""
    if host.startswith("/"):
        found = on.run(script('test -S "$1"', _place(host, port)), ok=None)
        reason = "there is no such socket"
    else:
        text = 'exec 3<>"/dev/tcp/$1/$2"'
        found = on.run(script(text, host, str(port)), timeout=SILENCE, ok=None)
        reason = found.error.rpartition(": ")[2] or "no connection"
    if found.code != 0:
        raise HostError(
            f"{on.name}: the database's {_place(host, port)} cannot be reached there: {reason}",
            hint="check host and port of the database in config.php, and that it runs",
        )


@contextlib.contextmanager
def forward(name: str, control: Path, host: str, port: int) -> Iterator[Endpoint]:
    """A forward of the master that listens on `control`. Whether the server carries anything
    through it is asked by `require_carried`, where its use failed: asking takes longer than
    connecting."""
    # in the master's own directory, which the lifeline removes if we cannot
    directory = Path(tempfile.mkdtemp(prefix="t", dir=control.parent))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        local = directory / f".s.PGSQL.{port}"
        spec = f"{_field(str(local))}:{_remote(host, port)}"
        said = _ask(control, "forward", spec)
        if said is not None:
            raise HostError(
                f"{name}: the tunnel to {_place(host, port)} did not open: {said}", hint=LOST
            )
        stack.callback(_ask, control, "cancel", spec)
        yield Endpoint(str(directory), port)


def _ask(control: Path, what: str, spec: str) -> str | None:
    """Ask the master to begin (or cancel) a forward; it answers when the socket listens, so there
    is no race. None, or what went wrong. No config is read here: the user's own LocalForward lines
    would be asked for as well."""
    words = ("ssh", "-F", "none", "-S", str(control), "-O", what, "-L", spec, "biso")
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ssh_environment(),
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer in 20 s"
    return None if done.returncode == 0 else done.stderr.decode("utf-8", "replace").strip()


def require_carried(name: str, end: Endpoint, host: str, port: int) -> None:
    """Raises HostError where the server took the forward `end` and lets nothing through. Takes a
    quarter of a second where all is well."""
    local = Path(end.host, f".s.PGSQL.{port}")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_TIMEOUT)
        try:
            probe.connect(str(local))
            ready, _, _ = select.select([probe], [], [], _PROBE)
            closed = bool(ready) and probe.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            closed = True
    if closed:
        raise HostError(
            f"{name}: the SSH server does not forward to {_place(host, port)}",
            hint="its sshd_config needs AllowTcpForwarding (for a port) or "
            "AllowStreamLocalForwarding (for a socket), and the login access to the socket",
        )


def _place(host: str, port: int) -> str:
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host} port {port}"


def _remote(host: str, port: int) -> str:
    if host.startswith("/"):
        return _field(_place(host, port))
    return f"[{host}]:{port}" if ":" in host else f"{_field(host)}:{port}"


def _field(text: str) -> str:
    """One field of a -L argument, where ":" separates and a backslash escapes."""
    return text.replace("\\", "\\\\").replace(":", "\\:")
