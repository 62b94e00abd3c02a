"""Whether a stage can stand where it would, and take the data dir's place from there: asked before
anything is staged, since the swap would be a late moment to find out.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from biso_tasks.errors import Refused
from biso_tasks.files.access import ROOT_PROGRAMS
from biso_tasks.files.mounts import read_mounts
from biso_tasks.host.answer import answered
from biso_tasks.host.command import script
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside
from biso_tasks.stage.model import REFRESHED, Area, access

__all__ = ["require_place"]

# $1 the stage directory, $2 the data dir, then programs. A directory that gets another parent is
# written to as well, since its ".." changes; in a sticky folder only an owner renames.
_LOOK = r"""
at=$1
while [ ! -d "$at" ]; do at=$(dirname -- "$at"); done
parent=$(dirname -- "$2")
say() { if "$@"; then printf '1\0'; else printf '0\0'; fi; }
mine() { [ -w "$1" ] && [ -x "$1" ]; }
sticky() { [ -k "$parent" ] && [ ! -O "$parent" ] && [ ! -O "$2" ] && [ "$(id -u)" != 0 ]; }
printf '%s\0%s\0' "$at" "$(realpath -- "$at")"
say mine "$at"; say [ -O "$at" ]; say mine "$parent"; say mine "$2"; say sticky "$@"
printf '%s\0%s\0' "$(stat -c %d -- "$at")" "$(stat -c %d -- "$2")"
shift 2
for program; do type -P -- "$program" || true; done
"""


@dataclass(frozen=True, slots=True)
class _Seen:
    """`at` is the stage directory or the nearest folder above it that exists, `real` without
    links."""

    at: str
    real: str
    writable: bool
    own: bool
    parent_writable: bool
    data_writable: bool
    sticky: bool
    same_device: bool
    programs: str


def require_place(
    instance: Instance,
    areas: Collection[Area] = REFRESHED,
    *,
    webroots: Sequence[tuple[str, str]] = (),
) -> bool:
    """Whether the stage directory is there already. Raises Refused, with the remedy, where it could
    not be made, or the data dir (where it is among `areas`) could not be exchanged with what
    stands in it. `webroots` are those of the site on this host, with their environments' names."""
    layout, environment = instance.layout, instance.environment
    key = f"environments.{instance.name}"
    elsewhere = (
        f"set {key}.stage_dir to a directory on the filesystem of the data dir, outside every "
        "document root"
    )
    for name, webroot in webroots:
        root = webroot.rstrip("/")
        if layout.stage_dir == root or inside(layout.stage_dir, root):
            raise Refused(
                f"{layout.stage_dir} lies in the webroot of {name}, so that the web server "
                "would serve data that is not anonymised yet",
                hint=elsewhere,
            )
    seen = _look(instance)
    exchanged = "data" in areas
    mounts = read_mounts(access(instance))
    place = layout.datadir if layout.datadir_is_mount else posixpath.dirname(layout.datadir)
    if exchanged and not (seen.same_device and mounts.of(seen.real) == mounts.of(place)):
        raise Refused(
            f"{instance.name}: {seen.at} is on another filesystem than {layout.datadir}, so that "
            "one cannot take the other's place",
            hint=elsewhere,
        )
    there = seen.at == layout.stage_dir
    if not environment.sudo:
        _require_rights(instance, seen, there=there, exchanged=exchanged)
    return there


def _look(instance: Instance) -> _Seen:
    layout = instance.layout
    look = script(_LOOK, layout.stage_dir, layout.datadir, *ROOT_PROGRAMS)
    answer = instance.host.run(look.as_user(instance.environment.host_user)).out
    fields = answer.decode("utf-8", "surrogateescape").split("\0")
    with answered(instance.host.name, "the stage directory"):
        at, real, *flags, device, data_device, programs = fields
        writable, own, parent_writable, data_writable, sticky = (flag == "1" for flag in flags)
    return _Seen(
        at,
        real,
        writable,
        own,
        parent_writable,
        data_writable,
        sticky,
        same_device=device == data_device,
        programs=", ".join(programs.split()),
    )


def _require_rights(instance: Instance, seen: _Seen, *, there: bool, exchanged: bool) -> None:
    """Without root: each folder that would have to be written to, and what helps."""
    layout, user = instance.layout, instance.layout.user
    parent = posixpath.dirname(layout.datadir)
    closed: list[str] = []
    remedies: list[str] = []
    make = shlex.join(("install", "-d", "-m", "0700", "-o", user, "--", layout.stage_dir))
    if there and not (seen.own and seen.writable):
        closed.append(f"{layout.stage_dir} belongs to somebody else")
        remedies.append(f"`chown {shlex.join((user, layout.stage_dir))}`")
    elif not there and not seen.writable:
        closed.append(f"{user} may not make {layout.stage_dir}, since {seen.at} is closed to it")
        remedies.append(f"`{make}` as root")
        if exchanged and seen.parent_writable and not layout.datadir_is_mount:
            near = f"{parent.rstrip('/')}/.biso-tasks"
            remedies.append(
                f'environments.{instance.name}.stage_dir = "{near}", if no web server serves it'
            )
    fixed = []
    if exchanged and not layout.datadir_is_mount and not seen.parent_writable:
        fixed.append(parent)
    if exchanged and not seen.data_writable:
        fixed.append(layout.datadir)
    if fixed:
        closed.append(
            f"{user} may not write into {' and '.join(fixed)}, so that the data dir cannot be "
            "exchanged by a rename"
        )
        remedies.append(f"`chown {shlex.join((user, *fixed))}`")
    elif exchanged and seen.sticky and not layout.datadir_is_mount:
        closed.append(f"{parent} is sticky, and {layout.datadir} not {user}'s to rename")
        remedies.append(f"`chown {shlex.join((user, layout.datadir))}`")
    if not closed:
        return
    login = instance.host.login
    remedies.append(
        f"environments.{instance.name}.sudo = true, with the line `{login} ALL=(root) NOPASSWD: "
        f"{seen.programs}` in sudoers"
    )
    raise Refused(f"{instance.name}: {'; '.join(closed)}", hint=" or ".join(remedies))
