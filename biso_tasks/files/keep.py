"""Files and folders that stay the test instance's own, whatever production has."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence

from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.host.answer import fields
from biso_tasks.host.command import Command, command, script
from biso_tasks.host.protocol import CommandFailed

__all__ = ["is_kept", "keep_files", "not_there"]

_THERE = '[ -e "$1" ] || [ -L "$1" ]'
# The folders on the way to $2 below $1: one that is a link is printed as "l", one that is missing
# as "m". A link from production leads where nothing of ours may be written or removed.
_WAY = r"""
at=$1 rest=$2 part=
while [ "${rest#*/}" != "$rest" ]; do
  part=$part${part:+/}${rest%%/*} rest=${rest#*/}
  if [ -L "$at/$part" ]; then printf 'l%s\0' "$part"
  elif [ ! -d "$at/$part" ]; then printf 'm%s\0' "$part"
  fi
done
printf 'end\0'
"""


def is_kept(path: str, names: Collection[str]) -> bool:
    """Whether `path` is one of `names`, or lies in one of them."""
    return any(path == name or path.startswith(f"{name}/") for name in names)


def keep_files(access: Access, live: str, stage: str, names: Sequence[str]) -> tuple[str, ...]:
    """Copy `names` (relative to the data dir) from the live tree into the stage, each in the place
    of what came there, folders whole; returns those that the live tree has. Copies, never links.
    Raises FilesError."""
    kept = []
    for name in (name.rstrip("/") for name in names):
        if access.host.run(access.reader(script(_THERE, f"{live}/{name}")), ok=(0, 1)).code != 0:
            continue
        try:
            _keep(access, live, stage, name)
        except CommandFailed as error:
            raise FilesError(
                f"{access.host.name}: {live}/{name} could not be kept: "
                f"{error.result.error or error.message}",
                hint=error.hint or "correct keep_files in [refresh], or the rights of that file",
            ) from error
        kept.append(name)
    return tuple(kept)


def not_there(names: Sequence[str], kept: Collection[str]) -> tuple[str, ...]:
    """What to say of names that the live tree does not have."""
    missing = [name for name in names if name.rstrip("/") not in kept]
    return tuple(
        f"keep_files: the data dir has no {name!r}"
        + ("; these are names, no patterns" if any(mark in name for mark in "*?[") else "")
        for name in missing
    )


def _keep(access: Access, live: str, stage: str, name: str) -> None:
    target = f"{stage}/{name}"
    said = access.host.run(access.reader(script(_WAY, stage, name))).out
    for part in fields(access.host.name, f"the way to {name}", said, end=True):
        folder = part[1:]
        if part[0] == "l":
            raise FilesError(
                f"{access.host.name}: {name!r} cannot be kept: {folder!r} is a link in what came",
                hint="name what the link leads to in keep_files, or leave it out",
            )
        access.host.run(access.writer(command("mkdir", "--", f"{stage}/{folder}")))
        _like(access, f"{live}/{folder}", f"{stage}/{folder}")
    access.host.run(access.writer(command("rm", "-rf", "--one-file-system", "--", target)))
    copy = Command(("rsync", "-aH", "--", f"{live}/{name}", f"{posixpath.dirname(target)}/"))
    if not access.root:
        # rsync may be missing here; cp is not on the list of what root may run.
        copy = Command(("cp", "-a", "-T", "--", f"{live}/{name}", target))
    access.host.run(access.writer(copy), timeout=3600)


def _like(access: Access, reference: str, path: str) -> None:
    access.host.run(access.writer(command("chmod", f"--reference={reference}", "--", path)))
    if access.gives_away:
        access.host.run(access.writer(command("chown", f"--reference={reference}", "--", path)))
