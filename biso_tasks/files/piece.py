"""One file or folder put in the place of what stands there, which is kept."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from biso_tasks.errors import Refused, UsageError
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, list_tree
from biso_tasks.files.places import Slot, settle, slot
from biso_tasks.files.recorded import apply_recorded
from biso_tasks.files.sync import finish_root
from biso_tasks.host.command import Command, script

__all__ = [
    "apply_piece",
    "missing_folders",
    "piece_of",
    "piece_slot",
    "put_piece",
    "read_piece_path",
    "take_piece_back",
]

_REAL = 'realpath -m -z -- "$1"'
_MISSING = '[ ! -e "$1" ] && [ ! -L "$1" ]'


def read_piece_path(path: str) -> str:
    """A path of the data dir as a person wrote it, relative and normal. Raises UsageError for one
    that leaves the data dir, is the data dir itself, or is never in a set."""
    normal = posixpath.normpath(path) if path else "."
    parts = normal.split("/")
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise UsageError(
            f"--path: {path!r} does not lie in the data dir",
            hint="give it relative to the data dir, such as brief_vorlagen/Einladung.txt",
        )
    if normal == ".":
        raise UsageError("--path: this is the whole data dir", hint="restore it with --only data")
    if parts[0] == "tmp" or normal == "maintenance.on":
        raise UsageError(
            f"--path: {path!r} is never in a backup set",
            hint="tmp and maintenance.on are left out: an empty tmp is made anyway",
        )
    return normal


def piece_of(entries: Sequence[Entry], path: str) -> tuple[Entry, ...]:
    """Of a recorded tree the entry `path` with all below it, as a tree below its folder; none where
    it is not recorded."""
    folder = posixpath.dirname(path)
    cut = len(folder) + 1 if folder else 0
    return tuple(
        entry._replace(path=entry.path[cut:])
        for entry in entries
        if entry.path == path or entry.path.startswith(f"{path}/")
    )


def piece_slot(
    access: Access, root: str, path: str, *, staged: str, kept: str, moving: str
) -> Slot:
    """Where `path` of the tree `root` stands now, and what would take its place. Raises Refused
    where the way to it leaves the tree by a link, or lies on another filesystem."""
    folder = posixpath.dirname(f"{root}/{path}")
    real = access.host.run(access.reader(script(_REAL, folder))).out
    found = real.decode("utf-8", "surrogateescape").removesuffix("\0")
    if found != folder:
        raise Refused(
            f"{access.host.name}: {folder} is reached by a link and is really {found}",
            hint="restore the path that it really has, if that is one of the data dir",
        )
    return slot(access, f"{root}/{path}", staged, kept, moving)


def apply_piece(
    access: Access, root: str, entries: Sequence[Entry], *, fallback_owner: str | None
) -> tuple[str, ...]:
    """Give `entries` below `root`, a folder of our own that stays as it is, what was recorded of
    them. Notes on what rights did not allow."""
    top = list_tree(access, root, exclude=(), empty_ok=True).top
    return apply_recorded(access, root, entries, top, fallback_owner=fallback_owner)


def missing_folders(access: Access, parents: Sequence[str]) -> tuple[str, ...]:
    """Those of `parents`, the uppermost first, that are not there."""
    return tuple(
        path
        for path in parents
        if access.host.run(access.reader(script(_MISSING, path)), ok=(0, 1)).code == 0
    )


def put_piece(
    access: Access, one: Slot, new: Mapping[str, Entry], *, fallback_owner: str | None
) -> None:
    """Exchange what stands in the slot, by renames. `new` are folders above it that are missing, by
    their paths, the uppermost first, with what was recorded of them. Whatever ends it,
    `take_piece_back` undoes what was done of it."""
    for path in new:
        access.host.run(access.writer(Command(("mkdir", "-m", "0700", "--", path))))
    if one.live_id:
        kept = Command(("mkdir", "-p", "--", posixpath.dirname(one.previous)))
        access.host.run(access.reader(kept))
    settle(access, [one], after=True)
    for path in reversed(list(new)):
        finish_root(access, path, new[path], fallback_owner=fallback_owner)


def take_piece_back(access: Access, one: Slot, new: Sequence[str], *, kept: str) -> None:
    """Everything as it was before `put_piece`, from whatever was done of it; idempotent. `kept` is
    the folder below which such pieces are kept. Raises as `settle` does."""
    settle(access, [one], after=False)
    for path in reversed(new):
        access.host.run(access.writer(Command(("rm", "-d", "--", path))), ok=None)
    # Folders that were made for it, and no other's.
    below = posixpath.relpath(posixpath.dirname(one.previous), kept)
    rmdir = Command(("rmdir", "-p", "--", below)).within(kept)
    access.host.run(access.reader(rmdir), ok=None)
    access.host.run(access.reader(Command(("rmdir", "--", kept))), ok=None)
