"""Which directories a swap exchanges: the areas of an instance as slots, and what can be known
beforehand of whether renames will do it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence

from biso_tasks.errors import Refused, StepFailed
from biso_tasks.files.places import Slot, carried, entry_slots, require_renamable, slot
from biso_tasks.host.command import script
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import Layout, inside
from biso_tasks.instance.mounts import require_fresh_binds
from biso_tasks.stage.model import Area, access

__all__ = [
    "Places",
    "data_places",
    "find_slots",
    "previous_webroot",
    "replaced_dir",
    "require_exchangeable",
    "require_own",
    "require_vacant",
    "webroot_places",
]

Places = tuple[str, str, str, str]
"""Where a directory is while it is live, staged, previous, and on its way."""

# An empty folder is nothing: a rename into its place removes it.
_VACANT = r"""
if [ -d "$1" ] && [ ! -L "$1" ]; then
  [ -z "$(ls -A -- "$1")" ]
else
  [ ! -e "$1" ] && [ ! -L "$1" ]
fi
"""


def previous_webroot(layout: Layout) -> str:
    """Where the webroot is kept that served before the last swap that exchanged it."""
    return f"{layout.previous}/webroot"


def replaced_dir(layout: Layout) -> str:
    """Where `restore --path` keeps what it replaced, a folder for each run."""
    return f"{layout.stage_dir}/replaced"


def data_places(layout: Layout) -> Places:
    moving = f"{layout.stage_dir}/moving"
    return (layout.datadir, layout.stage_datadir, layout.previous_datadir, moving)


def webroot_places(layout: Layout) -> Places:
    moving = f"{layout.stage_dir}/moving-webroot"
    return (layout.webroot, layout.stage_webroot, previous_webroot(layout), moving)


def require_exchangeable(instance: Instance, areas: Collection[Area]) -> None:
    """Asked while planning: raises Refused, with the remedy, where a rename could not put a webroot
    in the place of the live one, or a service would go on with the old one."""
    if "webroot" not in areas:
        return
    layout = instance.layout
    if inside(layout.webroot, layout.datadir):
        raise Refused(
            f"{instance.name}: the webroot {layout.webroot} lies inside the data dir "
            f"{layout.datadir}, so that neither can be exchanged without the other",
            hint="restore data and database (--only), and the webroot by hand",
        )
    require_renamable(access(instance), layout.webroot, layout.stage_dir, what="webroot")
    require_fresh_binds(instance.host, instance.environment, layout, webroot=True)


def find_slots(instance: Instance, areas: Collection[Area], *, rollback: bool) -> tuple[Slot, ...]:
    """The directories of `areas` as they stand now. A data dir inside a webroot that is exchanged
    is a slot as well where it is not exchanged itself: it is lifted over. Raises Refused where a
    rename could not do it, and StepFailed where what must come in is not there."""
    layout, files = instance.layout, access(instance)
    found: list[Slot] = []
    if "webroot" in areas:
        found.append(slot(files, *webroot_places(layout), what="webroot"))
        _require_incoming(instance, found[0], rollback)
        require_vacant(instance, found[0].previous if rollback else found[0].stage)
    if "data" in areas and layout.datadir_is_mount:
        own = layout.stage_dir.removeprefix(layout.datadir).lstrip("/").partition("/")[0]
        found += entry_slots(files, *data_places(layout), without=own)
    elif "data" in areas:
        found.append(slot(files, *data_places(layout)))
        _require_incoming(instance, found[-1], rollback)
    elif found and layout.datadir_in_webroot:
        live, _, _, moving = data_places(layout)
        found.append(carried(files, live, moving))
    return tuple(found)


def require_vacant(instance: Instance, webroot: str) -> None:
    """Raises Refused where the webroot that comes in holds something in the place of the data dir:
    that would be in its way, or be served as data."""
    below = instance.layout.datadir_in_webroot
    place = f"{webroot}/{below}"
    look = access(instance).reader(script(_VACANT, place))
    if below and instance.host.run(look, ok=(0, 1)).code != 0:
        raise Refused(
            f"{instance.name}: {place} is in the way: the data dir {instance.layout.datadir} "
            "belongs there, and the webroot that comes in brings something of that name",
            hint="let the set's webroot leave that folder out (backup.exclude), or put the data "
            "dir of this environment elsewhere",
        )


def require_own(instance: Instance, slots: Sequence[Slot]) -> None:
    """Raises ValueError for a slot with other paths than this environment's: a document that names
    one is not followed."""
    data = data_places(instance.layout)
    lifted = (data[0], "", "", data[3])
    for one in slots:
        found = (one.live, one.stage, one.previous, one.moving)
        if found in (data, lifted, webroot_places(instance.layout)):
            continue
        name = posixpath.basename(one.live)
        if found != tuple(f"{place}/{name}" for place in data) or name in ("", ".", ".."):
            raise ValueError(f"it names {one.live}")


def _require_incoming(instance: Instance, one: Slot, rollback: bool) -> None:
    path, identity = (one.previous, one.previous_id) if rollback else (one.stage, one.stage_id)
    if not identity:
        raise StepFailed(
            f"{instance.name}: there is no {path} to take the place of {one.live}",
            hint="was it removed by hand? nothing was touched",
        )
