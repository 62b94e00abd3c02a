"""Which way bulk data takes between two hosts."""

from __future__ import annotations

from typing import Literal

from biso_tasks.errors import Refused
from biso_tasks.host.protocol import Host

__all__ = ["Route", "choose_route"]

Route = Literal["local", "relay", "direct"]


def choose_route(source: Host, target: Host, wanted: str) -> Route:
    """ "local" on one host; "direct" where the target reaches the source by SSH, "relay" (through
    this machine) where it does not, or where `wanted` says so. Raises Refused where `wanted` is
    "direct" and that does not work."""
    if source.address == target.address:
        return "local"
    if wanted == "relay" or not source.address or not target.address:
        return "relay"
    if source.reachable_from(target):
        return "direct"
    if wanted == "direct":
        raise Refused(
            f'route = "direct", but {target.name}\'s host cannot open an SSH connection to '
            f"{source.name}'s ({source.address})",
            hint='give it a key and the host key, or use route = "relay" (through this machine)',
        )
    return "relay"
