"""The `ssh …` words by which one host reaches another, without this machine in between."""

from __future__ import annotations

from biso_tasks.host.resolve import STRICT

__all__ = ["direct_words"]

# What the other host's own ssh_config may not change. It uses its own known_hosts: a key that it
# does not know is refused. ControlPath and ControlMaster are left to it.
_KEPT = (
    "BatchMode",
    "StrictHostKeyChecking",
    "NoHostAuthenticationForLocalhost",
    "ServerAliveInterval",
    "ServerAliveCountMax",
    "ForwardAgent",
    "ClearAllForwardings",
    "RequestTTY",
    "LogLevel",
)


def direct_words(address: str) -> tuple[str, ...]:
    """For `address` (user@host:port): ssh, its options, the destination, and "--". One word of
    shell text follows (`Command.shell`)."""
    user, _, place = address.rpartition("@")
    host, _, port = place.rpartition(":")
    options = tuple(f"-o{key}={value}" for key, value in STRICT if key in _KEPT)
    return ("ssh", *options, "-oConnectTimeout=5", "-p", port, f"{user}@{host}", "--")
