"""The directory half of a swap: who stands where is told by identity (inode and birth), so that
putting things in place can be done again after a kill anywhere, and finishes what was begun.

Normally the data dir is one slot. A data dir that is a mount point cannot be renamed: then each
top-level entry of it is a slot of its own, and stage and previous lie inside the mount.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from biso_tasks.errors import NeedsPerson, Refused, StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.files.mounts import read_mounts
from biso_tasks.files.slots import Slot, outer_slots, places_inside, renames
from biso_tasks.host.answer import fields
from biso_tasks.host.command import Command, script
from biso_tasks.host.protocol import CommandFailed

__all__ = [
    "Slot",
    "carried",
    "entry_slots",
    "identities",
    "require_renamable",
    "settle",
    "slot",
    "standing",
]

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
  # Some versions of mv end well where -n kept them from it; what follows rests on this rename.
  if [ -e "$from" ] || [ -L "$from" ]; then printf '%s is in the way\n' "$to" >&2; exit 9; fi
done
"""
_ENTRIES = r"""
for folder in "$@"; do
  [ -d "$folder" ] || continue
  find "$folder" -mindepth 1 -maxdepth 1 -printf '%f\0'
done
printf 'end\0'
"""
_RENAMABLE = r"""
[ -w "$1" ] || { printf '%s' "$1"; exit 0; }
# A directory that gets another parent is written to as well: its ".." changes.
[ ! -d "$2" ] || [ -w "$2" ] || printf '%s' "$2"
"""


def identities(access: Access, paths: Sequence[str]) -> list[str]:
    """Inode and birth of what is at each path, not following links; "" where there is nothing.
    Raises FilesError where that cannot be told: a folder that may not be entered is not absent."""
    if not paths:
        return []
    result = access.host.run(access.reader(script(_IDENTIFY)), stdin=_joined(paths), timeout=None)
    found = fields(access.host.name, "what is where", result.out, len(paths))
    for path, identity in zip(paths, found, strict=True):
        if identity == "?":
            raise FilesError(f"{access.host.name}: {path} cannot be looked at")
    return ["" if identity == "-" else identity for identity in found]


def slot(
    access: Access, live: str, stage: str, previous: str, moving: str, *, what: str = "data dir"
) -> Slot:
    """One slot as it stands now. Raises Refused where a rename could not do it: the directories
    are on different filesystems. `what` is the name of what is live, for the remedy."""
    mounts = read_mounts(access)
    if len({mounts.of(posixpath.dirname(path)) for path in (live, stage, previous)}) > 1:
        raise _elsewhere(access, live, posixpath.dirname(stage), what)
    return Slot(live, stage, previous, moving, *identities(access, [live, stage, previous]))


def carried(access: Access, live: str, moving: str) -> Slot:
    """A slot as it stands now that is not exchanged, only lifted over."""
    (live_id,) = identities(access, [live])
    return Slot(live, "", "", moving, live_id, "", "")


def require_renamable(access: Access, live: str, stage_dir: str, *, what: str) -> None:
    """Asked while planning: raises Refused where `live`, the `what` of a site, could not be
    exchanged with a directory below `stage_dir`, since it is a mount point, holds one, is on
    another filesystem, or may not be written to by whoever would rename it."""
    mounts = read_mounts(access)
    inside = mounts.below(live)
    if mounts.is_point(live) or inside:
        point = live if mounts.is_point(live) else inside[0]
        raise Refused(
            f"{access.host.name}: {point} is a mount point, so that the {what} {live} cannot be "
            "exchanged by a rename",
            hint=f"restore the other areas (--only), and the {what} by hand; or mount the "
            "filesystem one folder higher",
        )
    if mounts.of(posixpath.dirname(live)) != mounts.of(stage_dir):
        raise _elsewhere(access, live, stage_dir, what)
    if access.root:
        return
    closed = access.host.run(access.reader(script(_RENAMABLE, posixpath.dirname(live), live))).text
    if closed:
        raise Refused(
            f"{access.host.name}: {access.user or access.host.login} may not write in {closed}, "
            f"and so not exchange the {what} {live}",
            hint="set `sudo = true` for this environment, or give that user the folder",
        )


def entry_slots(
    access: Access, live: str, stage: str, previous: str, moving: str, *, without: str
) -> tuple[Slot, ...]:
    """A slot for each top-level entry of a mount point, except the one named `without` (the stage
    directory itself) and `lost+found`."""
    said = access.host.run(access.reader(script(_ENTRIES, live, stage, previous))).out
    names = set(fields(access.host.name, f"what is in {live}", said, end=True))
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
    for number, one in enumerate(slots):
        for identity, path in one.wanted(after=after, rollback=rollback).items():
            if (number, identity) not in where:
                known = (one.live, one.stage, one.previous, one.moving)
                raise NeedsPerson(
                    f"{access.host.name}: what belongs to {path} is no longer there (nor at "
                    f"{', '.join(filter(None, known))})",
                    hint="somebody moved it since; put it back by hand and run `biso recover`",
                )
    moves = renames(slots, where, after=after, rollback=rollback)
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


def _joined(paths: Sequence[str]) -> bytes:
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)


def _elsewhere(access: Access, live: str, stage_dir: str, what: str) -> Refused:
    return Refused(
        f"{access.host.name}: {live} and {stage_dir} are on different filesystems, so that one "
        "cannot take the other's place",
        hint=f"set stage_dir to a directory on the filesystem of the {what}",
    )


def _before(slots: Sequence[Slot]) -> dict[tuple[int, str], str]:
    """Where everything stands when nothing has moved yet."""
    return {
        (number, identity): path
        for number, one in enumerate(slots)
        for identity, path in one.wanted(after=False, rollback=False).items()
    }


def _where(access: Access, slots: Sequence[Slot]) -> dict[tuple[int, str], str]:
    outer_of = outer_slots(slots)
    looked: list[tuple[int, str]] = []
    for number, one in enumerate(slots):
        live = [one.live]
        if number in outer_of:
            live = places_inside(one, slots[outer_of[number]])
        own = (one.stage, one.previous, one.moving)
        looked += [(number, path) for path in (*live, *filter(None, own))]
    found = identities(access, [path for _, path in looked])
    return {
        (number, identity): path
        for (number, path), identity in zip(looked, found, strict=True)
        if identity
    }
