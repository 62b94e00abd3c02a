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
from biso_tasks.files.ends import Ends, tree_of
from biso_tasks.files.listing import Entry, FilesError, named
from biso_tasks.files.owners import Owners
from biso_tasks.files.tartree import MANY, Owned, as_wanted, copy_within, stream

__all__ = ["Ahead", "Travels", "go_ahead"]

Travels = Literal["over", "within", "not"]
"""Over from another host; within the target's host, whose user can read the tree; or by rsync."""

_PARTS: Final = 65_536  # bytes of a file from which on it may pay to send only parts of it


@dataclass(frozen=True, slots=True)
class Ahead:
    """`sent` are bytes of the files that came from the source, `there` is what the target has now,
    `left` what rsync has to look at: with all folders, to which a new file gives another time."""

    sent: int
    there: Mapping[str, Entry]
    left: tuple[Entry, ...]


def go_ahead(
    ends: Ends,
    entries: Sequence[Entry],
    *,
    basis: str | None,
    owners: Owners,
    travels: Travels,
    opened: bool,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> Ahead | None:
    """Bring what tar brings faster; None where there is not enough of it. `basis` is the tree
    beside, if any; `travels`: how new files may come, if at all: nothing is packed on the wire;
    `opened`: owners and modes follow from a record. `progress` is told bytes that were sent.
    Whatever tar could not do is left to rsync, which says why. Raises FilesError where a connection
    was lost or where what was not sent lies there, Interrupted when `cancel` is set."""
    if sum(entry.kind != "dir" for entry in entries) < MANY:
        return None
    target, root = ends.target, ends.target_root
    same, fresh = _parted(entries, _beside(target, basis))
    if len(same) < MANY:
        same = []
    if travels == "not" or sum(entry.kind != "dir" for entry in fresh) < MANY:
        fresh = []
    if not same and not fresh:
        return None
    owned: Owned = "opened" if opened else "kept"
    if same and basis is not None:
        with Crew(cancel, str(ends)) as crew:
            copy_within(target, basis, root, same, shared=True, owned=owned, crew=crew)
    failed = 0
    if fresh:
        with Crew(cancel, str(ends)) as crew:
            if travels == "within":
                failed = copy_within(
                    target, ends.source_root, root, fresh,
                    shared=False, owned=owned, crew=crew, progress=progress,
                )  # fmt: skip
            else:
                codes = stream(ends, fresh, owned=owned, crew=crew, progress=progress)
                failed = codes["source"] or codes["target"]
    there = ends.arrived()
    _require_plain(ends, there, entries)
    given = owners if target.gives_away else None
    # Where a file changed while it was read rsync sees by its time which one it was.
    left = [
        entry
        for entry in entries
        if failed or not as_wanted(entry, there.get(entry.path), given, opened=opened)
    ]
    if any(entry.kind != "dir" for entry in left):
        wanting = {entry.path for entry in left}
        left = [entry for entry in entries if entry.kind == "dir" or entry.path in wanting]
    sent = sum(entry.size for entry in fresh if entry.kind == "file" and entry.path in there)
    return Ahead(sent, there, tuple(left))


def _beside(target: Access, basis: str | None) -> Mapping[str, Entry]:
    if basis is None:
        return {}
    try:
        found = tree_of(target, basis)
    except (FilesError, Refused):  # rsync may see what we do not
        return {}
    return {path: one for path, one in found.items() if one.kind == "file" and one.readable}


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


def _require_plain(ends: Ends, there: Mapping[str, Entry], entries: Sequence[Entry]) -> None:
    """A tar can bring what rsync was never asked for, such as a device."""
    asked = {entry.path for entry in entries if entry.kind == "special"}
    strange = [e.path for e in there.values() if e.kind == "special" and e.path not in asked]
    if strange:
        raise FilesError(
            f"{ends.target.host.name}: {named(strange)} in {ends.target_root} is neither file, "
            "directory nor link: the source sent what nobody asked for",
            hint="is `tar` there the real one? Look at the source's host",
        )
