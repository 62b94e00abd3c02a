"""Opens the control plane's connection: socket or proxy, host key, keys, and clear errors.

Fabric would read its own files, take any host key and know half of ssh_config; here it is handed
what `ssh -G` said, and a policy that refuses.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from biso_tasks.errors import BisoError
from biso_tasks.host.alive import Heard, watch
from biso_tasks.host.explain import no_authentication, no_connection, ssh_failure
from biso_tasks.host.known_hosts import judge, look_up
from biso_tasks.host.process import Child, Lifeline, Tail, end_group
from biso_tasks.host.resolve import CONNECT_TIMEOUT, Resolved, ssh_environment

if TYPE_CHECKING:
    import paramiko

__all__ = ["Line", "dial"]


@dataclass(frozen=True, slots=True)
class Line:
    """An open connection (`fabric.Connection`) and the proxy process that carries it, if any."""

    connection: Any
    proxy: Child | None

    @property
    def transport(self) -> paramiko.Transport:
        transport: paramiko.Transport = self.connection.transport
        return transport

    def close(self) -> None:
        self.connection.client.close()  # Fabric's close() leaves a dead transport as it is
        if self.proxy is not None:
            end_group(self.proxy, grace=0.5)


@final
class _KnownHosts:
    """The host key policy: everything that `judge` does not accept is refused. The client's own
    key store stays empty, so every key comes here."""

    def __init__(self, name: str, resolved: Resolved) -> None:
        self._name = name
        self._resolved = resolved

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        where, files = self._resolved.address, self._resolved.known_hosts
        judge(self._name, where, self._resolved.lookup, files, key.get_name(), key.asbytes())


def dial(name: str, resolved: Resolved, config: Path, lifeline: Lifeline) -> Line:
    """Connect and log in. Raises Refused (host key) or Unreachable."""
    logger = logging.getLogger("paramiko")
    if not logger.handlers:  # or tracebacks of its thread go to our stderr
        logger.addHandler(logging.NullHandler())
    with contextlib.ExitStack() as stack:
        return _dial(name, resolved, config, lifeline, stack)


def _dial(
    name: str,
    resolved: Resolved,
    config: Path,
    lifeline: Lifeline,
    stack: contextlib.ExitStack,
) -> Line:
    import fabric
    import paramiko

    where, files = resolved.address, resolved.known_hosts
    known = look_up(resolved.lookup, files)
    sock, proxy, said = _socket(name, resolved, config, lifeline)
    keys, tried = _keys(resolved, stack)

    def transport_factory(sock: Any, **options: Any) -> paramiko.Transport:
        transport = paramiko.Transport(sock, **options)
        security = transport.get_security_options()
        # Ask for a kind of key that we know, as OpenSSH does, or a host with an ed25519 and an
        # RSA key is "unknown" when known_hosts holds the RSA key alone
        kinds = {key.kind for key in known if not key.marker}
        security.key_types = sorted(security.key_types, key=lambda kind: _base(kind) not in kinds)
        return transport

    # No ssh_config and no fabric.yml of the user: everything was resolved by `ssh -G`
    connection: Any = fabric.Connection(
        host=resolved.hostname,
        user=resolved.user,
        port=resolved.port,
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=False,
        forward_agent=False,
        connect_timeout=CONNECT_TIMEOUT,
        inline_ssh_env=False,
        connect_kwargs={  # a fresh dict each time: Fabric changes it
            "sock": sock,
            "transport_factory": transport_factory,
            "look_for_keys": False,
            "banner_timeout": CONNECT_TIMEOUT,
            "auth_timeout": 30,
            **keys,
        },
    )
    # Fabric has set AutoAddPolicy: any key, a wrong one included, would be accepted
    connection.client.set_missing_host_key_policy(_KnownHosts(name, resolved))
    line = Line(connection, proxy)
    opened = False
    try:
        connection.open()
        watch(connection.transport, sock)
        opened = True
    except BisoError:
        raise
    except paramiko.AuthenticationException as error:
        raise no_authentication(name, where, tried, str(error).rstrip(".")) from error
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        proxied = said()
        failure = ssh_failure(name, where, proxied, files)
        if failure is not None:
            raise failure from error
        if "No authentication methods" in str(error) or "encrypted" in str(error):
            raise no_authentication(name, where, tried, str(error).rstrip(".")) from error
        reason = proxied or str(error) or type(error).__name__
        raise no_connection(name, where, reason) from error
    finally:
        if not opened:
            line.close()
            sock.close()
    return line


def _socket(
    name: str, resolved: Resolved, config: Path, lifeline: Lifeline
) -> tuple[Heard, Child | None, Callable[[], str]]:
    """A connected socket, its proxy if there is one, and what that said on its stderr."""
    if resolved.jump:
        *before, last = resolved.jump.split(",")
        words: Sequence[str] = (
            *("ssh", "-F", str(config), f"-oConnectTimeout={CONNECT_TIMEOUT}"),
            *(("-J", ",".join(before)) if before else ()),
            *("-W", f"[{resolved.hostname}]:{resolved.port}"),
            last if "://" in last else f"ssh://{last}",
        )
        return _proxied(words, lifeline)
    if resolved.proxy_command:
        shell = os.environ.get("SHELL") or "/bin/sh"
        return _proxied((shell, "-c", f"exec {resolved.proxy_command}"), lifeline)
    where = f"{resolved.hostname} port {resolved.port}"
    families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
    family = families.get(resolved.family, socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(resolved.hostname, resolved.port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = f"could not resolve the name: {_reason(error)}"
        raise no_connection(name, where, reason) from error
    failure: OSError | None = None
    for kind, _, _, _, place in found:
        sock = Heard(kind, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
            continue
        sock.settimeout(None)
        # Each command is several small packets in both directions. Held back until the one before
        # is acknowledged (Nagle), they made every command 40 ms longer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, None, str
    reason = _reason(failure) if failure is not None else "it has no address"
    raise no_connection(name, where, reason) from failure


def _proxied(
    words: Sequence[str], lifeline: Lifeline
) -> tuple[Heard, Child | None, Callable[[], str]]:
    # A socket pair, not paramiko.ProxyCommand: that one spins when the proxy ends, loses bytes of
    # a short write, and never reads its stderr
    ours, theirs = socket.socketpair()
    with theirs:
        proxy = lifeline.start(
            words,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            env=ssh_environment(),
        )
    return Heard(fileno=ours.detach()), proxy, Tail(proxy.stderr).text


def _keys(resolved: Resolved, stack: contextlib.ExitStack) -> tuple[dict[str, Any], list[str]]:
    """Arguments for paramiko, and how to name them in an error. With IdentitiesOnly, the agent is
    asked for the keys that the configuration names, and for no other; `stack` lets go of it."""
    import paramiko

    files = [file for file in resolved.identity_files if os.access(file, os.R_OK)]
    private = [file for file in files if not file.endswith(".pub")]
    tried = [f"user {resolved.user}", *(f"key {file}" for file in private)]
    keys: dict[str, Any] = {"key_filename": private, "allow_agent": False}
    if not resolved.use_agent or not os.environ.get("SSH_AUTH_SOCK"):
        return keys, tried
    tried.append("the agent's keys")
    if not resolved.identities_only:
        keys["allow_agent"] = True
        return keys, tried
    wanted = {_public(file) for file in resolved.identity_files}
    with contextlib.suppress(paramiko.SSHException, OSError):
        agent = paramiko.Agent()
        stack.callback(agent.close)
        for key in agent.get_keys():
            if key.asbytes() in wanted:
                keys["pkey"] = key
                break
    return keys, tried


def _base(kind: str) -> str:
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"timed out after {CONNECT_TIMEOUT} s"
    return getattr(error, "strerror", None) or str(error)


def _public(file: str) -> bytes:
    with contextlib.suppress(OSError, ValueError, IndexError):
        path = Path(file if file.endswith(".pub") else file + ".pub")
        return base64.b64decode(path.read_text(encoding="utf-8").split()[1], validate=True)
    return b""
