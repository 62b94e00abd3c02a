"""Whether there is room, asked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.host.command import script

__all__ = ["Space", "free_space", "human", "require_space"]

# The nearest directory that exists: a stage's own does not yet.
_DF = """
at=$1
while [ ! -d "$at" ] && [ "$at" != / ] && [ "$at" != . ]; do at=$(dirname -- "$at"); done
LC_ALL=C df --output=avail,iavail,target -B1 -- "$at" | tail -n 1
"""


@dataclass(frozen=True, slots=True)
class Space:
    """What is free for an ordinary user. `inodes` is None where the filesystem has no fixed
    number of them. `filesystem` is its mount point."""

    bytes: int
    inodes: int | None
    filesystem: str


def free_space(access: Access, path: str) -> Space:
    """Free space of the filesystem that `path` is on, or will be on."""
    text = access.host.run(access.reader(script(_DF, path))).text
    fields = text.split(None, 2)
    if len(fields) != 3 or not fields[0].isdigit():
        raise FilesError(f"{access.host.name}: df says {text!r} about {path}")
    inodes = int(fields[1]) if fields[1].isdigit() and int(fields[1]) else None
    return Space(int(fields[0]), inodes, fields[2])


def require_space(
    access: Access, path: str, *, bytes_needed: int, inodes_needed: int = 0, purpose: str
) -> Space:
    """Raises Refused, with the numbers, when `purpose` does not fit. Gives what is free."""
    space = free_space(access, path)
    where = f"{access.host.name}: {space.filesystem}"
    if space.bytes < bytes_needed:
        raise Refused(
            f"{where} has {human(space.bytes)} free; {purpose} needs {human(bytes_needed)}",
            hint=f"free {human(bytes_needed - space.bytes)} there (`prune` removes a previous "
            "instance), or set `stage_dir` to a larger filesystem",
        )
    if space.inodes is not None and space.inodes < inodes_needed:
        raise Refused(
            f"{where} has {space.inodes} inodes free; {purpose} needs {inodes_needed}",
            hint="many small files use them up: `df -i` and `du --inodes` show where",
        )
    return space


def human(size: int) -> str:
    """Bytes for people: 1.5 GB is 1 500 000 000 bytes."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
