"""Hosts: this machine or one behind SSH, behind one protocol, with commands as types."""

from __future__ import annotations

from pathlib import Path

from biso_tasks.host.command import Command, Result, command, script
from biso_tasks.host.lease import Held, hold
from biso_tasks.host.local import LocalHost
from biso_tasks.host.protocol import CommandFailed, Endpoint, Host, HostError, Unreachable
from biso_tasks.host.ssh import SshHost
from biso_tasks.host.stream import Leg, PipeResult, pipe, remote_words

__all__ = [
    "Command",
    "CommandFailed",
    "Endpoint",
    "Held",
    "Host",
    "HostError",
    "Leg",
    "LocalHost",
    "PipeResult",
    "Result",
    "SshHost",
    "Unreachable",
    "command",
    "connect",
    "hold",
    "pipe",
    "remote_words",
    "script",
]


def connect(
    environment_name: str,
    ssh: str | None,
    *,
    ssh_config: Path | None = None,
    known_hosts: Path | None = None,
) -> Host:
    """The host of an environment: this machine without `ssh`, else an ssh_config alias or
    user@host:port. Nothing is contacted yet. Raises ConfigError if `ssh` is neither."""
    if ssh is None:
        return LocalHost(environment_name)
    return SshHost(environment_name, ssh, ssh_config, known_hosts)
