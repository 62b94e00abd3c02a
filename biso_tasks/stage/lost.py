"""A webroot that a killed swap has left nowhere. Without it there is no config.php to read, so no
database and perhaps no data dir is known: it is put back first, by the intent alone, and everything
else is found as ever.

The stage directory, where the intent lies, may be known by config.php only (it is beside the data
dir). So while a webroot is exchanged, a note beside the webroot says where it is.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from biso_tasks.config.model import Environment
from biso_tasks.errors import NeedsPerson, Refused
from biso_tasks.files.places import Slot, settle
from biso_tasks.host.command import Command
from biso_tasks.host.protocol import Host
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import Layout, inside
from biso_tasks.instance.lock import lock
from biso_tasks.instance.mounts import real_path
from biso_tasks.instance.state import State
from biso_tasks.stage.exchange import data_places, webroot_places
from biso_tasks.stage.model import access_to

__all__ = [
    "forget_stage_dir",
    "lost_webroot",
    "note_stage_dir",
    "put_webroot_back",
    "require_none_lost",
]

_NOTE = "elsewhere"


def note_stage_dir(instance: Instance) -> None:
    """Write down, beside the webroot, where the stage directory is, unless that is its place."""
    beside = _beside(instance.environment, instance.layout.webroot)
    if beside != instance.layout.stage_dir:
        state = _state(instance, beside)
        state.prepare()
        state.write(_NOTE, {"stage_dir": instance.layout.stage_dir})


def forget_stage_dir(instance: Instance) -> None:
    """Take the note away. It does no harm where a kill leaves it: it is read only while the webroot
    is away."""
    beside = _beside(instance.environment, instance.layout.webroot)
    if beside != instance.layout.stage_dir:
        state = _state(instance, beside)
        state.remove(_NOTE)
        state.tidy()


def put_webroot_back(host: Host, environment: Environment, owner: dict[str, str]) -> bool:
    """Where a swap was killed between two renames and the live webroot is away, put it back, and
    the data dir inside it, as they stood before the swap; the caller then recovers as ever. Gives
    whether that was so. `owner` is told to others while it lasts.

    Raises Locked where the swap is alive, and NeedsPerson where the intent does not fit."""
    layout = lost_webroot(host, environment)
    if layout is None:
        return False
    state = State(host, environment, layout)
    with lock(host, environment, layout, owner):
        document = state.read("intent")
        if document is None:
            return False
        slots = _slots(environment, layout, document)
        rollback = bool(document.get("rollback"))
        settle(access_to(host, environment), slots, after=False, rollback=rollback)
    return True


def lost_webroot(host: Host, environment: Environment) -> Layout | None:
    """What is known of the layout where a killed swap has left the live webroot nowhere, else None.
    Nothing is changed."""
    webroot = real_path(host, environment.webroot)
    # Not the folder: Docker makes an empty one where the source of a bind mount is missing.
    config = f"{webroot}/{environment.config}"
    there = Command(("test", "-e", config)).as_user(environment.host_user)
    if host.run(there, ok=(0, 1)).code == 0:
        return None
    layout = _found(host, environment, webroot)
    return None if State(host, environment, layout).read("intent") is None else layout


def require_none_lost(host: Host, environment: Environment) -> None:
    """Asked where the live webroot is away: raises Refused where a swap that was killed has left it
    somewhere."""
    layout = _found(host, environment, real_path(host, environment.webroot))
    intent = State(host, environment, layout).read("intent")
    if intent is not None:
        raise Refused(
            f"{environment.name}: a swap of run {intent.get('run')} was interrupted at "
            f"{intent.get('at')}, and left the webroot in {layout.stage_dir}",
            hint="run `biso recover` first; it finishes or takes back what was begun",
        )


def _found(host: Host, environment: Environment, webroot: str) -> Layout:
    """Nothing but the webroot's path and the stage directory is known of this layout: the lock and
    the documents need the directory alone."""
    layout = Layout(webroot, "", "", "", False, frozenset(), "", "", _beside(environment, webroot))
    note = State(host, environment, layout).read(_NOTE)
    return layout if note is None else replace(layout, stage_dir=str(note.get("stage_dir")))


def _slots(
    environment: Environment, layout: Layout, document: Mapping[str, Any]
) -> tuple[Slot, ...]:
    """The webroot, and what lies inside it: nothing else is in the way of reading config.php."""
    try:
        named = [Slot.from_dict(entry) for entry in document["slots"]]
        slots = [one for one in named if one.live == layout.webroot]
        if not slots:
            raise ValueError(f"it does not name {layout.webroot}")
        slots += [one for one in named if inside(one.live, layout.webroot)]
        data = data_places(layout)[1:]
        for one in slots:
            own = webroot_places(layout)[1:] if one.live == layout.webroot else data
            found = (one.stage, one.previous, one.moving)
            if found not in (own, ("", "", data[-1])) or posixpath.normpath(one.live) != one.live:
                raise ValueError(f"it names {one.live}")
    except (KeyError, TypeError, ValueError) as error:
        raise NeedsPerson(
            f"{environment.name}: the webroot {layout.webroot} is not there, and "
            f"{layout.stage_dir}/intent.json does not say where it went ({error})",
            hint=f"look into {layout.stage_dir}: put the webroot back by hand, then run "
            "`biso recover`",
        ) from error
    return tuple(slots)


def _beside(environment: Environment, webroot: str) -> str:
    """Where the stage directory is looked for without a config.php."""
    if environment.stage_dir:
        return environment.stage_dir.rstrip("/")
    folder, name = posixpath.split(webroot)
    return f"{folder}/.biso-tasks-{name}"


def _state(instance: Instance, directory: str) -> State:
    layout = replace(instance.layout, stage_dir=directory)
    return State(instance.host, instance.environment, layout)
