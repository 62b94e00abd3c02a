"""A live tree into a backup set on its own host. Unchanged files are hard links into the set
before: what is there already is kept as it is or unlinked, never written, chmod'ed or touched.
Unchanged is what has the inode and ctime of then; what has its size and mtime alone is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from biso_tasks.files.access import Access
from biso_tasks.files.carry import Way, carry, keeps_owners, way_between
from biso_tasks.files.crew import Progress
from biso_tasks.files.difference import (
    changes,
    contradictions,
    doubtful,
    keepable,
    topmost,
    unchanged,
)
from biso_tasks.files.ends import listed
from biso_tasks.files.link import link_unchanged
from biso_tasks.files.listing import Entry, FilesError, Listing, list_tree
from biso_tasks.files.owners import make_root
from biso_tasks.files.recorded import give_times
from biso_tasks.files.seen import Seen, seen
from biso_tasks.files.sync import finish_root
from biso_tasks.host.answer import answered, fields
from biso_tasks.host.command import command, script

__all__ = ["Before", "Captured", "CaughtUp", "capture", "catch_up", "check", "finish"]

_THERE: Final = r"""
cd -- "$1"
while IFS= read -r -d '' name; do
  [ -e "$name" ] || [ -L "$name" ] || continue
  printf '%s\0' "$name"
done
printf 'end\0'
"""


@dataclass(frozen=True, slots=True)
class Before:
    """The same tree in the set before: its `place`, and what its files were at the source, None
    where that is not known."""

    place: str
    copied: Seen | None


@dataclass(frozen=True, slots=True)
class Captured:
    """`files` and `bytes`: the regular files that are in place and their size, a hard link counted
    once. `copied`: bytes that were written, not linked. `vanished`: what was deleted meanwhile.
    `listing`: the tree as captured, what vanished left out: the `before` of `catch_up`."""

    files: int
    bytes: int
    copied: int
    vanished: tuple[str, ...]
    listing: Listing


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """`changed`: what was brought anew. `removed`: what is gone, of a directory its topmost path.
    `vanished`: what the listing named and was deleted before it could be copied."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    vanished: tuple[str, ...]


def capture(
    source: Access,
    root: str,
    target: Access,
    target_root: str,
    listing: Listing,
    *,
    before: Before | None,
    left: Seen | None = None,
    remember: Callable[[Seen], None] | None = None,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> Captured:
    """Bring the tree `listing` of `root` into `target_root` on the same host, where `target` is the
    login that keeps the sets; special files are left out. What did not change since the set
    `before` is a hard link into it. What an interrupted run left in `target_root` is used where it
    is certainly what was copied (`left`: as that run had remembered it), else removed. `remember`
    is told what the files are, before any is copied. Directories' times are left to `finish`.

    Raises FilesError when a file cannot be copied, Interrupted when `cancel` is set."""
    entries = tuple(entry for entry in listing.entries if entry.kind != "special")
    way = way_between(source, root, target, target_root)
    make_root(target, target_root)
    kept, doomed = keepable(
        _stored(target, way, entries),
        _left_behind(target, target_root, way),
        left,
        owners=way.keeps or way.by_root,
    )
    doomed = topmost(doomed)
    if remember is not None:
        # Not what is yet to be removed: who is killed before that leaves it there.
        remember(seen(listing, without=doomed))
    # not what is kept: rsync would chmod it in place if it had just been changed at the source
    missing = [entry for entry in entries if entry.path not in kept]
    vanished: list[str] = []
    copied = 0

    def bring(
        paths: Sequence[str],
        remove: Sequence[str] = (),
        by_content: bool = False,
        fresh: bool = False,
    ) -> None:
        nonlocal copied
        already = copied
        if not paths and not remove:
            return
        gone, written = carry(
            target,
            target_root,
            way,
            remove=remove,
            bring=paths,
            link_dest=None if before is None else before.place,
            by_content=by_content,
            fresh=fresh,
            cancel=cancel,
            progress=progress and (lambda done: progress(already + done)),
        )
        vanished.extend(gone)
        copied += written

    if before is None:
        bring([entry.path for entry in missing], doomed, fresh=True)
    else:
        compared = doubtful(missing, before.copied)
        same = unchanged(missing, before.copied)
        others = compared.union(entry.path for entry in same)
        bring([entry.path for entry in missing if entry.path not in others], doomed)
        unlinked = link_unchanged(
            target, target_root, before.place, same, owners=way.keeps, cancel=cancel
        )
        bring(unlinked)
        bring(sorted(compared), by_content=True)
    gone = set(vanished)
    arrived = replace(listing, entries=tuple(e for e in entries if e.path not in gone))
    files = sum(entry.kind == "file" for entry in arrived.entries)
    return Captured(files, arrived.size, copied, tuple(vanished), arrived)


def catch_up(
    source: Access,
    root: str,
    target: Access,
    target_root: str,
    before: Listing,
    now: Listing,
    *,
    cancel: threading.Event | None = None,
) -> CaughtUp:
    """Bring a captured tree from `before` (`Captured.listing`) to `now`, while production waits:
    only what differs between the two is touched, in one round trip, none where nothing does. It is
    copied: what has just changed is in no set, whatever it looks like. Raises what `capture`
    raises, also where something that is there did not arrive."""
    changed, removed = changes(before.entries, now.entries)
    if not changed and not removed:
        return CaughtUp((), (), ())
    gone = topmost(removed)
    way = way_between(source, root, target, target_root)
    vanished, _ = carry(
        target,
        target_root,
        way,
        remove=topmost([*gone, *_replaced(before.entries, changed)]),
        bring=[entry.path for entry in changed],
        cancel=cancel,
    )
    late = _still_there(source, root, vanished)
    if late:
        # Made anew meanwhile, or rsync ended well without having brought them.
        again, _ = carry(target, target_root, way, remove=(), bring=late, cancel=cancel)
        _require_gone(source, root, again)
        vanished = tuple(path for path in vanished if path in again or path not in late)
    return CaughtUp(tuple(entry.path for entry in changed), tuple(gone), vanished)


def finish(target: Access, target_root: str, listing: Listing) -> None:
    """Give the directories of a set's tree the times of `listing`, last of all its root, which gets
    its mode and, where the login keeps owners, its owner as well."""
    wanted = {entry.path: entry for entry in listing.entries if entry.kind == "dir"}
    late = [
        wanted[entry.path]
        for entry in list_tree(
            target, target_root, exclude=(), empty_ok=True, folders_only=True
        ).entries
        if entry.path in wanted and entry.mtime != wanted[entry.path].mtime
    ]
    give_times(target, target_root, late)
    top = listing.top
    if not keeps_owners(target):
        top = top._replace(mode=top.mode | 0o700)
    finish_root(target, target_root, top)


def check(target: Access, target_root: str, listing: Listing) -> list[str]:
    """How the set's tree differs from `listing`, a sentence a path, empty when it does not: paths
    and kinds, sizes and times of files, what links say; modes and owners where the login keeps
    them."""
    there = list_tree(target, target_root, exclude=(), empty_ok=True).entries
    return contradictions(listing.entries, there, owners=keeps_owners(target))


def _left_behind(target: Access, target_root: str, way: Way) -> Sequence[Entry]:
    try:
        return list_tree(target, target_root, exclude=(), empty_ok=True).entries
    except FilesError:
        if not way.by_root:
            raise
    # root's rsync was killed between making a directory and giving it away: start anew
    remove = command("rm", "-rf", "--one-file-system", "--", target_root).as_root()
    target.host.run(remove, timeout=None)
    make_root(target, target_root)
    return ()


def _stored(target: Access, way: Way, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Entries as the set holds them, owners where it is certain whose they are."""
    if way.keeps:
        return entries
    owner, group = "", ""
    if way.by_root:
        with answered(target.host.name, "its user"):
            owner, group = target.host.run(script("id -un; id -gn")).text.split("\n")
    more = {"dir": 0o700, "file": 0o600}
    return [
        entry._replace(mode=entry.mode | more.get(entry.kind, 0), owner=owner, group=group)
        for entry in entries
    ]


def _still_there(source: Access, root: str, paths: Sequence[str]) -> list[str]:
    """Those of `paths` that are in the tree now. What did not arrive has been deleted, or else it
    is missing in the set."""
    if not paths:
        return []
    ask = source.reader(script(_THERE, root))
    out = source.host.run(ask, stdin=listed(paths), timeout=None).out
    names = fields(source.host.name, "what is still there", out, end=True)
    return [name.removeprefix("./") for name in names]


def _require_gone(source: Access, root: str, paths: Sequence[str]) -> None:
    left = _still_there(source, root, paths)
    if left:
        raise FilesError(
            f"{source.host.name}: {len(left)} path(s) of {root} did not arrive, although they are "
            f"there and rsync ended well: {left[0]!r}",
            hint="does something make and remove files there all the time? run the task again",
        )


def _replaced(before: Sequence[Entry], changed: Sequence[Entry]) -> list[str]:
    """What must be unlinked before its new version comes: all but directories that stay one."""
    kinds = {entry.path: entry.kind for entry in before}
    return [
        entry.path
        for entry in changed
        if entry.path in kinds and (entry.kind, kinds[entry.path]) != ("dir", "dir")
    ]
