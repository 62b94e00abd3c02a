"""Removing a tree that lies in a stage directory, and nothing else in the world."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Final

from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.mounts import read_mounts
from biso_tasks.host.answer import fields
from biso_tasks.host.command import command, script

__all__ = ["discard"]

_KIND: Final = """if [ -L "$1" ]; then echo l; elif [ -e "$1" ]; then echo e; fi"""
_RESOLVE: Final = """
for path; do
  printf '%s/%s\\0' "$(realpath -m -- "$(dirname -- "$path")")" "$(basename -- "$path")"
done
"""


def discard(access: Access, path: str, *, inside: str) -> None:
    """Remove a tree that lies strictly inside the stage directory `inside`; nothing there is no
    error. Raises Refused for anything else: `inside` itself, a link, a mount point, a tree with
    mounts in it."""
    inside = posixpath.normpath(inside)
    if ".." in path.split("/") or not path.startswith("/") or inside == "/":
        raise Refused(
            f"{access.host.name}: {path} is not removed: its place is not certain",
            hint="look at it there, and remove it by hand",
        )
    folder, real = _resolved(access, (inside, path))
    if not real.startswith(folder + "/"):
        raise Refused(
            f"{access.host.name}: {path} is not removed: it is not inside {inside}",
            hint="only what lies in the stage directory is ever removed",
        )
    kind = access.host.run(access.reader(script(_KIND, real))).text
    if not kind:
        return
    mounts = read_mounts(access)
    if kind == "l" or mounts.is_point(real) or mounts.below(real):
        what = "a symbolic link" if kind == "l" else "a mount point, or holds one"
        raise Refused(
            f"{access.host.name}: {path} is not removed: it is {what}",
            hint="unmount or remove it by hand",
        )
    remove = command("rm", "-rf", "--one-file-system", "--", real)
    access.host.run(access.writer(remove), timeout=None)


def _resolved(access: Access, paths: Sequence[str]) -> list[str]:
    """Each path with its directory resolved and its own name kept; it need not exist."""
    said = access.host.run(access.reader(script(_RESOLVE, *paths))).out
    found = fields(access.host.name, "what is to be removed", said, len(paths))
    return [posixpath.normpath("/" + path.lstrip("/")) for path in found]
