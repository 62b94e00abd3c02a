"""The directory half of a swap: who stands where is told by identity (inode and birth), so that
putting things in place can be done again after a kill anywhere, and finishes what was begun.

A slot has four paths on one filesystem. Before a swap its live tree stands at `live`, the new one
at `stage`, and the one of last time, if any, at `previous`; afterwards the new one is `live`, the
old one `previous`, and the one of last time has gone to `stage`, from where it is discarded. A
rollback is the same between `live` and `previous`. `moving` is only used on the way.

Normally the data dir is one slot. A data dir that is a mount point cannot be renamed: then each
top-level entry of it is a slot of its own, and stage and previous lie inside the mount.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biso_tasks.errors import NeedsPerson, Refused, StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.files.mounts import read_mounts
from biso_tasks.host.command import Command, script
from biso_tasks.host.protocol import CommandFailed

__all__ = ["Slot", "entry_slots", "identities", "settle", "slot", "standing"]

# A device number may change when a host restarts, so it is no part of an identity; a birth time
# tells an inode from a later one with the same number.
_IDENTIFY = r"""
while IFS= read -r -d '' path; do
  LC_ALL=C stat --printf='%i:%W\0' -- "$path" 2>/dev/null || {
    [ ! -e "$path" ] && [ ! -L "$path" ] && printf -- '-\0' || printf '?\0'
  }
done
"""
# -T: into the name itself, never into a directory of that name. -n: never over something.
_MOVE = r"""
while IFS= read -r -d '' from && IFS= read -r -d '' to; do
  # An empty folder that is nobody's: Docker makes one where the source of a bind mount is missing.
  if [ -d "$to" ] && [ ! -L "$to" ] && [ -z "$(ls -A -- "$to")" ]; then "$@" rm -d -- "$to"; fi
  "$@" mv -T -n -v -- "$from" "$to"
done
"""
_ENTRIES = r"""
for folder in "$@"; do
  [ -d "$folder" ] || continue
  find "$folder" -mindepth 1 -maxdepth 1 -printf '%f\0'
done
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """Four paths and the identities that stood there before ("" where there was nothing)."""

    live: str
    stage: str
    previous: str
    moving: str
    live_id: str
    stage_id: str
    previous_id: str

    def wanted(self, *, after: bool, rollback: bool) -> dict[str, str]:
        """Where each identity belongs before or after the exchange."""
        if not after:
            places = {self.live_id: self.live, self.stage_id: self.stage}
            places[self.previous_id] = self.previous
        elif rollback:
            places = {self.live_id: self.previous, self.previous_id: self.live}
            places[self.stage_id] = self.stage
        else:
            places = {self.live_id: self.previous, self.stage_id: self.live}
            places[self.previous_id] = self.stage
        return {identity: path for identity, path in places.items() if identity}

    def as_dict(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Slot:
        return Slot(**{name: str(document[name]) for name in Slot.__slots__})


def identities(access: Access, paths: Sequence[str]) -> list[str]:
    """Inode and birth of what is at each path, not following links; "" where there is nothing.
    Raises FilesError where that cannot be told: a folder that may not be entered is not absent."""
    if not paths:
        return []
    result = access.host.run(access.reader(script(_IDENTIFY)), stdin=_joined(paths), timeout=None)
    found = result.text.split("\0")[: len(paths)]
    for path, identity in zip(paths, found, strict=True):
        if identity == "?":
            raise FilesError(f"{access.host.name}: {path} cannot be looked at")
    return ["" if identity == "-" else identity for identity in found]


def slot(access: Access, live: str, stage: str, previous: str, moving: str) -> Slot:
    """One slot as it stands now. Raises Refused where a rename could not do it: the directories
    are on different filesystems."""
    mounts = read_mounts(access)
    if len({mounts.of(posixpath.dirname(path)) for path in (live, stage, previous)}) > 1:
        raise Refused(
            f"{access.host.name}: {live} and {posixpath.dirname(stage)} are on different "
            "filesystems, so that one cannot take the other's place",
            hint="set stage_dir to a directory on the filesystem of the data dir",
        )
    return Slot(live, stage, previous, moving, *identities(access, [live, stage, previous]))


def entry_slots(
    access: Access, live: str, stage: str, previous: str, moving: str, *, without: str
) -> tuple[Slot, ...]:
    """A slot for each top-level entry of a mount point, except the one named `without` (the stage
    directory itself) and `lost+found`."""
    listed = access.host.run(access.reader(script(_ENTRIES, live, stage, previous))).out
    names = {one.decode("utf-8", "surrogateescape") for one in listed.split(b"\0") if one}
    names -= {without, "lost+found"}
    ordered = sorted(names)
    mounts = read_mounts(access)
    inside = [name for name in ordered if mounts.is_point(f"{live}/{name}")]
    if inside:
        raise Refused(
            f"{access.host.name}: {live}/{inside[0]} is a mount point and cannot be renamed",
            hint='strategy = "in-place" works there',
        )
    paths = [f"{folder}/{name}" for name in ordered for folder in (live, stage, previous)]
    found = identities(access, paths)
    return tuple(
        Slot(
            f"{live}/{name}",
            f"{stage}/{name}",
            f"{previous}/{name}",
            f"{moving}/{name}",
            *found[3 * number : 3 * number + 3],
        )
        for number, name in enumerate(ordered)
    )


def standing(access: Access, slots: Sequence[Slot], *, rollback: bool) -> str:
    """ "before", "after" or "between" (an exchange that was interrupted)."""
    where = _where(access, slots)
    for name, after in (("before", False), ("after", True)):
        if all(
            where.get((number, identity)) == path
            for number, one in enumerate(slots)
            for identity, path in one.wanted(after=after, rollback=rollback).items()
        ):
            return name
    return "between"


def settle(
    access: Access,
    slots: Sequence[Slot],
    *,
    after: bool,
    rollback: bool = False,
    fresh: bool = False,
) -> None:
    """Put everything where it belongs before, or after, the exchange; idempotent, from whatever a
    kill has left. `fresh` says that the slots were looked at a moment ago and nothing has moved:
    then nothing is asked, since a site waits. Raises NeedsPerson where something that must be there
    is gone, and StepFailed where a rename fails."""
    where = _before(slots) if fresh else _where(access, slots)
    plans: list[list[tuple[str, str]]] = []
    for number, one in enumerate(slots):
        wanted = one.wanted(after=after, rollback=rollback)
        at = {identity: where.get((number, identity), "") for identity in wanted}
        missing = [wanted[identity] for identity, path in at.items() if not path]
        if missing:
            raise NeedsPerson(
                f"{access.host.name}: what belongs to {missing[0]} is no longer there (nor at "
                f"{one.live}, {one.stage}, {one.previous}, {one.moving})",
                hint="somebody moved it since; put it back by hand and run `biso recover`",
            )
        plans.append(_renames(at, wanted, one.moving))
    moves = [move for plan in plans for move in plan]
    if not moves:
        return
    # One round trip for all of them: nothing is served between two renames.
    sudo = access.writer(Command(())).words(access.host.login)
    try:
        said = access.host.run(
            script(_MOVE, *sudo),
            stdin=_joined([path for move in moves for path in move]),
            timeout=None,
        )
    except CommandFailed as error:
        raise StepFailed(
            f"{access.host.name}: a rename failed: {error.result.error}",
            hint=error.hint
            or "does the user that runs it own the folder? `sudo = true` moves as root",
        ) from error
    # mv says a line for each rename, and nothing where -n kept it from one.
    done = len(said.text.splitlines()) == len(moves)
    if not fresh:
        done = standing(access, slots, rollback=rollback) == ("after" if after else "before")
    if not done:
        raise StepFailed(f"{access.host.name}: {moves[0][0]} did not move to {moves[0][1]}")


def _renames(at: dict[str, str], wanted: Mapping[str, str], moving: str) -> list[tuple[str, str]]:
    """Renames in an order in which every target is free; a circle is opened by way of `moving`."""
    moves = []
    while left := [one for one in at if at[one] != wanted[one]]:
        free = [one for one in left if wanted[one] not in at.values()]
        who = free[0] if free else left[-1]
        target = wanted[who] if free else moving
        moves.append((at[who], target))
        at[who] = target
    return moves


def _joined(paths: Sequence[str]) -> bytes:
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)


def _before(slots: Sequence[Slot]) -> dict[tuple[int, str], str]:
    """Where everything stands when nothing has moved yet."""
    return {
        (number, identity): path
        for number, one in enumerate(slots)
        for identity, path in one.wanted(after=False, rollback=False).items()
    }


def _where(access: Access, slots: Sequence[Slot]) -> dict[tuple[int, str], str]:
    paths = [path for one in slots for path in (one.live, one.stage, one.previous, one.moving)]
    found = identities(access, paths)
    return {
        (number // 4, identity): path
        for number, (path, identity) in enumerate(zip(paths, found, strict=True))
        if identity
    }
