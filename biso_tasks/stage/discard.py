"""Throwing away what stands beside the live instance: a stage, or the previous one."""

from __future__ import annotations

from collections.abc import Sequence

from biso_tasks.database.admin import admin
from biso_tasks.database.create import drop
from biso_tasks.files.discard import discard
from biso_tasks.host.command import Command
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import StagedDatabase, access

__all__ = ["discard_previous", "discard_stage"]


def discard_stage(instance: Instance, databases: Sequence[StagedDatabase]) -> tuple[str, ...]:
    """Drop the stage's databases and directories, and what a swap left in their place. Returns what
    was there. The caller holds the lock and knows that no intent is open."""
    gone = []
    for database in databases:
        with admin(database.server) as role:
            if drop(role, database.server, database.stage):
                gone.append(f"database {database.stage}")
    layout = instance.layout
    for path in (layout.stage, f"{layout.stage_dir}/moving", layout.in_place):
        there = Command(("test", "-e", path)).as_user(instance.environment.host_user)
        if instance.host.run(there, ok=(0, 1)).code == 0:
            discard(access(instance), path, inside=layout.stage_dir)
            gone.append(path)
    # Made for a swap that did not come about; a previous instance in it stays.
    folders = (layout.previous_datadir,) if layout.datadir_is_mount else ()
    empty = Command(("rmdir", "--", *folders, layout.previous))
    instance.host.run(empty.as_user(instance.environment.host_user), ok=None)
    instance.state.sweep()
    return tuple(gone)


def discard_previous(instance: Instance, databases: Sequence[StagedDatabase]) -> None:
    """Drop the previous instance: after this there is no rollback."""
    for database in databases:
        with admin(database.server) as role:
            drop(role, database.server, database.previous)
    layout = instance.layout
    discard(access(instance), layout.previous, inside=layout.stage_dir)
