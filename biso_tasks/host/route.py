"""Which way bulk data takes between two hosts."""

from __future__ import annotations

from typing import Literal

from biso_tasks.errors import Refused
from biso_tasks.host.protocol import Host

__all__ = ["Route", "choose_route", "route_note"]

Route = Literal["local", "relay", "direct"]


def choose_route(source: Host, target: Host, wanted: str) -> Route:
    """ "local" on one host; "direct" where the target reaches the source by SSH, "relay" (through
    this machine) where it does not, or where `wanted` says so, or where this machine is one of the
    two. Raises Refused where `wanted` is "direct" and that does not work."""
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


def route_note(source: Host, target: Host, wanted: str) -> tuple[str, ...]:
    """What a plan says where `wanted` is another route than the one that is taken."""
    if wanted != "direct" or source.address == target.address:
        return ()
    if source.address and target.address:
        return ()
    here = target.name if source.address else source.name
    return (
        f'route = "direct": {here} is this machine, so its end of the way is here: that is the '
        "route relay, without a third machine in between",
    )
