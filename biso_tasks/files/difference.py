"""Two listings compared: what an interrupted capture may keep, what changed meanwhile, whether a
set's tree is the tree that was listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from biso_tasks.files.listing import Entry
from biso_tasks.files.seen import Seen

__all__ = ["changes", "contradictions", "doubtful", "keepable", "topmost", "unchanged"]


def keepable(
    wanted: Sequence[Entry], there: Sequence[Entry], copied: Seen | None, *, owners: bool
) -> tuple[set[str], list[str]]:
    """The paths of `there` that are as wanted already, directories aside, and those that must be
    removed: all names of a hard-linked file are made anew in one go, and so is a file that is not
    certainly what was `copied`. `owners`: whether these count."""
    entries = {entry.path: entry for entry in wanted}
    kept: set[str] = set()
    doomed: list[str] = []
    for other in there:
        entry = entries.get(other.path)
        if entry is None or entry.kind != other.kind:
            doomed.append(other.path)
        elif entry.kind == "dir":
            continue
        elif (
            entry.links == 1
            and _content(entry, owners) == _content(other, owners)
            and (entry.kind != "file" or (copied is not None and copied.same(entry)))
        ):
            kept.add(other.path)
        else:
            doomed.append(other.path)
    return kept, doomed


def doubtful(entries: Sequence[Entry], copied: Seen | None) -> set[str]:
    """The files that rsync would take for what was `copied` by size and mtime, and that are not
    certainly it; all names of one file together, which is one file in the copy as well. All files
    where it is not known what was copied."""
    found = {
        entry.path
        for entry in entries
        if entry.kind == "file"
        and (copied is None or (copied.alike(entry) and not copied.same(entry)))
    }
    for names in _groups(entries).values():
        if not found.isdisjoint(names):
            found |= names
    return found


def unchanged(entries: Sequence[Entry], copied: Seen | None) -> list[Entry]:
    """The files that are certainly what was `copied`; none of those with several names, which are
    made anew in one go."""
    if copied is None:
        return []
    return [e for e in entries if e.kind == "file" and e.links == 1 and copied.same(e)]


def _content(entry: Entry, owners: bool) -> tuple[object, ...]:
    whose = (entry.owner, entry.group) if owners else ()
    return (entry.size, entry.mtime, entry.mode, entry.target, *whose)


def changes(before: Sequence[Entry], now: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """What of `now` is new or another than in `before`, and the paths that are gone; special files
    do not count. A directory's time is no difference: it is set when all is in place."""
    old = {entry.path: entry for entry in before if entry.kind != "special"}
    groups, former = _groups(now), _groups(before)
    changed: list[Entry] = []
    for entry in now:
        # Production is waiting: of the many that are as they were nothing is made.
        if entry.kind == "special" or (entry.links == 1 and old.get(entry.path) == entry):
            continue
        names = groups.get(_inode(entry), set())
        if (
            entry.path not in old
            or _facts(entry) != _facts(old[entry.path])
            # a name more for a file is a change of all its names: they must become one again
            or not names <= former.get(_inode(entry), {entry.path})
        ):
            changed.append(entry)
    staying = {entry.path for entry in now if entry.kind != "special"}
    return changed, [path for path in old if path not in staying]


def _facts(entry: Entry) -> tuple[object, ...]:
    always = (entry.kind, entry.mode, entry.owner, entry.group)
    if entry.kind == "dir":
        return always
    return (*always, entry.size, entry.mtime, entry.ctime, entry.target, *_inode(entry))


def _inode(entry: Entry) -> tuple[int, int]:
    return entry.device, entry.inode


def _groups(entries: Sequence[Entry]) -> Mapping[tuple[int, int], set[str]]:
    """The names of each file that has several."""
    found: dict[tuple[int, int], set[str]] = {}
    for entry in entries:
        if entry.kind == "file" and entry.links > 1:
            found.setdefault(_inode(entry), set()).add(entry.path)
    return found


def contradictions(wanted: Sequence[Entry], there: Sequence[Entry], *, owners: bool) -> list[str]:
    """How `there` (a set's tree) differs from `wanted`, a sentence a path: paths and kinds, sizes
    and times of files, what links say; with `owners` modes and owners as well."""
    entries = {entry.path: entry for entry in wanted if entry.kind != "special"}
    found = {entry.path: entry for entry in there}
    said = [f"{path}: is in the set, and not in the tree" for path in found.keys() - entries.keys()]
    for path, entry in entries.items():
        other = found.get(path)
        if other is None:
            said.append(f"{path}: is missing in the set")
        elif reasons := tuple(_reasons(entry, other, owners)):
            said.append(f"{path}: {', '.join(reasons)}")
    return sorted(said)


def _reasons(entry: Entry, other: Entry, owners: bool) -> Iterator[str]:
    if entry.kind != other.kind:
        yield f"is a {other.kind} in the set, and a {entry.kind} in the tree"
        return
    if entry.kind == "file" and entry.size != other.size:
        yield f"has {other.size} bytes in the set, and {entry.size} in the tree"
    if entry.kind == "file" and entry.mtime != other.mtime:
        yield "has another time of change in the set"
    if entry.target != other.target:
        yield f"leads to {other.target!r} in the set, and to {entry.target!r} in the tree"
    if owners and entry.kind != "link" and entry.mode != other.mode:
        yield f"has mode {other.mode:04o} in the set, and {entry.mode:04o} in the tree"
    if owners and (entry.owner, entry.group) != (other.owner, other.group):
        yield (
            f"belongs to {other.owner}:{other.group} in the set, "
            f"and to {entry.owner}:{entry.group} in the tree"
        )


def topmost(paths: Iterable[str]) -> list[str]:
    """Without those that lie below another, sorted."""
    given = set(paths)
    return sorted(path for path in given if not any(up in given for up in _above(path)))


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
