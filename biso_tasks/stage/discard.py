"""Throwing away what stands beside the live instance: a stage, or the previous one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from biso_tasks.database.admin import admin
from biso_tasks.database.create import drop, exists
from biso_tasks.database.stage_role import drop_role, left_role
from biso_tasks.database.template import drop_template, unfinished_template
from biso_tasks.files.discard import discard
from biso_tasks.host.answer import fields
from biso_tasks.host.command import Command, script
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import Layout
from biso_tasks.stage.exchange import data_places, previous_webroot, webroot_places
from biso_tasks.stage.kept import NAME
from biso_tasks.stage.model import AREAS, Area, StagedDatabase, access
from biso_tasks.stage.record import areas_of

__all__ = ["discard_previous", "discard_stage", "left_of_stage"]


def discard_stage(instance: Instance, databases: Sequence[StagedDatabase]) -> tuple[str, ...]:
    """Drop the stage's databases and directories, and what a swap left in their place; and what an
    earlier swap kept of areas that the last one did not exchange, since there is no way back to it.
    Returns what was there. The caller holds the lock and knows that no intent is open."""
    gone = []
    kept = _kept(instance)
    for database in databases:
        with admin(database.server) as role:
            gone += [
                f"database {one}"
                for one in _names(database, kept)
                if drop(role, database.server, one)
            ]
            half = drop_template(role, database.server, unfinished=True)
            gone += [f"database {half}"] if half else []
            # It owned the stage's, which are gone.
            left = drop_role(role, database.server)
            gone += [f"role {left}"] if left else []
    layout = instance.layout
    for path in _there(instance, _paths(instance, kept)):
        discard(access(instance), path, inside=layout.stage_dir)
        gone.append(path)
    # Made for a swap that did not come about; a previous instance in it stays.
    folders = (layout.previous_datadir,) if layout.datadir_is_mount else ()
    empty = Command(("rmdir", "--", *folders, layout.previous))
    instance.host.run(empty.as_user(instance.environment.host_user), ok=None)
    instance.state.remove(NAME)
    instance.state.sweep()
    return tuple(gone)


def left_of_stage(instance: Instance, databases: Sequence[StagedDatabase]) -> tuple[str, ...]:
    """What `discard_stage` would drop and remove. Nothing is changed."""
    kept = _kept(instance)
    found = []
    for database in databases:
        with admin(database.server) as role:
            names = [one for one in _names(database, kept) if exists(role, one)]
            half = unfinished_template(role, database.server)
            found += [f"database {one}" for one in (*names, *([half] if half else []))]
            left = left_role(role, database.server)
            found += [f"role {left}"] if left else []
    return (*found, *_there(instance, _paths(instance, kept)))


def _names(database: StagedDatabase, kept: Collection[Area]) -> tuple[str, ...]:
    return (database.stage,) if "database" in kept else (database.stage, database.previous)


def _paths(instance: Instance, kept: Collection[Area]) -> tuple[str, ...]:
    layout = instance.layout
    moving = (data_places(layout)[-1], webroot_places(layout)[-1])
    return (layout.stage, *moving, layout.in_place, *_outdated(layout, kept))


def _there(instance: Instance, paths: Sequence[str]) -> list[str]:
    text = r"""for path; do [ ! -e "$path" ] || printf '%s\0' "$path"; done"""
    look = script(text, *paths).as_user(instance.environment.host_user)
    return fields(instance.host.name, "what is left there", instance.host.run(look).out)


def _kept(instance: Instance) -> frozenset[Area]:
    """What the previous instance consists of; everything where nobody wrote that down. "None": what
    the last swap put aside was only a bare host's shell."""
    record = instance.state.read("instance") or {}
    previous = record.get("previous")
    if isinstance(previous, dict):
        return areas_of(previous)
    return frozenset() if "previous" in record else frozenset(AREAS)


def _outdated(layout: Layout, kept: Collection[Area]) -> tuple[str, ...]:
    places: dict[Area, str] = {"webroot": previous_webroot(layout), "data": layout.previous_datadir}
    return tuple(path for area, path in places.items() if area not in kept)


def discard_previous(instance: Instance, databases: Sequence[StagedDatabase]) -> None:
    """Drop the previous instance: after this there is no rollback."""
    for database in databases:
        with admin(database.server) as role:
            drop(role, database.server, database.previous)
    layout = instance.layout
    discard(access(instance), layout.previous, inside=layout.stage_dir)
