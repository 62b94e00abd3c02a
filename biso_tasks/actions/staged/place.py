"""The place for a stage, asked of whatever would make or exchange one."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from biso_tasks.errors import BisoError
from biso_tasks.instance.instance import Instance
from biso_tasks.session import Session
from biso_tasks.stage.model import REFRESHED, Area
from biso_tasks.stage.place import require_place

__all__ = ["require_stage_place"]


def require_stage_place(
    session: Session, target: Instance, areas: Collection[Area] = REFRESHED
) -> bool:
    """As `require_place`, with the webroots of all environments on the target's host. With no
    `areas` only the stage directory itself is looked at."""
    webroots = []
    for other in session.site.environments:
        if other.name == target.name and target.layout.datadir_is_mount:
            continue  # a mount inside the webroot holds its own stage, behind an .htaccess
        same = other.ssh == target.environment.ssh
        # One whose alias nobody can resolve is on no host of ours.
        with suppress(BisoError):
            same = same or session.host(other.name).address == target.host.address
        if same:
            webroots.append((other.name, other.webroot))
    return require_place(target, areas, webroots=webroots)
