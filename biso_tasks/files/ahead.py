"""What goes ahead of rsync, by tar: of many files those that the tree beside has, and those that it
has not. rsync makes, looks at and renames each file by itself, which takes two to three times as
long. What it is good at stays its own, parts of a large file, owners, names that are one file; so
does whatever is not right after tar.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.crew import Crew, Progress
from biso_tasks.files.listing import Entry, FilesError, list_tree, named
from biso_tasks.files.owners import Owners
from biso_tasks.files.tartree import Owned, as_wanted, copy_within, stream

__all__ = ["Ahead", "Travels", "go_ahead"]

Travels = Literal["over", "within", "not"]
"""Over from another host; within the target's host, whose user can read the tree; or by rsync."""

_MANY: Final = 500  # files from which on it is worth another listing and another process
_PARTS: Final = 65_536  # bytes of a file from which on it may pay to send only parts of it


@dataclass(frozen=True, slots=True)
class Ahead:
    """`sent` are bytes of the files that came from the source, `there` is what the target has now,
    `left` what rsync has to look at: with all folders, to which a new file gives another time."""

    sent: int
    there: Mapping[str, Entry]
    left: tuple[Entry, ...]


def go_ahead(
    source: Access,
    source_root: str,
    target: Access,
    target_root: str,
    entries: Sequence[Entry],
    *,
    basis: str | None,
    owners: Owners,
    travels: Travels,
    opened: bool,
    what: str,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> Ahead | None:
    """Bring what tar brings faster; None where there is not enough of it. `basis` is the tree
    beside, if any; `travels`: how new files may come, if at all: nothing is packed on the wire;
    `opened`: owners and modes follow from a record. `progress` is told bytes that were sent.
    Whatever tar could not do is left to rsync, which says why. Raises FilesError where a connection
    was lost or where what was not sent lies there, Interrupted when `cancel` is set."""
    if sum(entry.kind != "dir" for entry in entries) < _MANY:
        return None
    same, fresh = _parted(entries, _beside(target, basis))
    if len(same) < _MANY:
        same = []
    if travels == "not" or sum(entry.kind != "dir" for entry in fresh) < _MANY:
        fresh = []
    if not same and not fresh:
        return None
    owned: Owned = "opened" if opened else "kept"
    if same and basis is not None:
        with Crew(cancel, what) as crew:
            copy_within(target, basis, target_root, same, shared=True, owned=owned, crew=crew)
    whole = True
    if fresh:
        with Crew(cancel, what) as crew:
            if travels == "within":
                code = copy_within(
                    target, source_root, target_root, fresh,
                    shared=False, owned=owned, crew=crew, progress=progress,
                )  # fmt: skip
                codes = {"target": code}
            else:
                codes = stream(
                    source, source_root, target, target_root, fresh,
                    owned=owned, crew=crew, progress=progress,
                )  # fmt: skip
        # A file that changed while it was read: which one it was, rsync sees by its time.
        whole = not any(codes.values())
    there = {
        entry.path: entry
        for entry in list_tree(target, target_root, exclude=(), empty_ok=True).entries
    }
    _require_plain(target, target_root, there, entries)
    given = owners if target.gives_away else None
    right = {
        entry.path
        for entry in entries
        if as_wanted(entry, there.get(entry.path), given, opened=opened)
    }
    left = [entry for entry in entries if not whole or entry.path not in right]
    if any(entry.kind != "dir" for entry in left):
        wanting = {entry.path for entry in left}
        left = [entry for entry in entries if entry.kind == "dir" or entry.path in wanting]
    sent = sum(entry.size for entry in fresh if entry.kind == "file" and entry.path in there)
    return Ahead(sent, there, tuple(left))


def _beside(target: Access, basis: str | None) -> Mapping[str, Entry]:
    if basis is None:
        return {}
    try:
        found = list_tree(target, basis, exclude=(), empty_ok=True).entries
    except (FilesError, Refused):  # rsync may see what we do not
        return {}
    return {entry.path: entry for entry in found if entry.kind == "file" and entry.readable}


def _parted(
    entries: Sequence[Entry], beside: Mapping[str, Entry]
) -> tuple[list[Entry], list[Entry]]:
    """What the tree beside has, by size and time as rsync looks at it, and what tar would send."""
    names = Counter((e.device, e.inode) for e in entries if e.kind == "file" and e.links > 1)
    same: list[Entry] = []
    fresh: list[Entry] = []
    for entry in entries:
        if entry.kind in ("dir", "link"):
            fresh.append(entry)
        if entry.kind != "file" or names[entry.device, entry.inode] > 1:
            continue
        other = beside.get(entry.path)
        if other is not None and (entry.size, entry.mtime) == (other.size, other.mtime):
            same.append(entry)
        elif entry.readable and (other is None or entry.size < _PARTS):
            fresh.append(entry)
    return same, fresh


def _require_plain(
    target: Access, root: str, there: Mapping[str, Entry], entries: Sequence[Entry]
) -> None:
    """A tar can bring what rsync was never asked for, such as a device."""
    asked = {entry.path for entry in entries if entry.kind == "special"}
    strange = [e.path for e in there.values() if e.kind == "special" and e.path not in asked]
    if strange:
        raise FilesError(
            f"{target.host.name}: {named(strange)} in {root} is neither file, directory nor link: "
            "the source sent what nobody asked for",
            hint="is `tar` there the real one? Look at the source's host",
        )
