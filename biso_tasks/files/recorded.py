"""What a backup set recorded about a tree, put into force where the tree was brought to: owners,
modes, times, and which names are one file.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from biso_tasks.errors import Interrupted, ProofFailed
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, FilesError, list_tree, named
from biso_tasks.files.owners import Owners, hand_to, owners_for, run_on_each
from biso_tasks.files.sync import finish_root
from biso_tasks.host.command import script

__all__ = ["apply_recorded", "give_times"]

_TOUCH: Final = r"""
cd -- "$1"
while IFS= read -r -d '' time && IFS= read -r -d '' name; do
  touch -h -d "$time" -- "$name"
done
"""
# Pairs of names: the second becomes one file with the first; without a first, a file of its own.
_JOIN: Final = r"""
cd -- "$1"
while IFS= read -r -d '' first && IFS= read -r -d '' name; do
  if [ -n "$first" ]; then
    ln -f -- "$first" "$name"
  else
    new=$(mktemp -- "${name%/*}/.biso-XXXXXXXXXX")
    cp -p --reflink=auto -- "$name" "$new"
    mv -f -- "$new" "$name"
  fi
done
"""


def apply_recorded(
    target: Access,
    root: str,
    entries: Sequence[Entry],
    top: Entry,
    *,
    fallback_owner: str | None = None,
    cancel: threading.Event | None = None,
) -> tuple[str, ...]:
    """Give every entry of the tree `root`, which `transfer(..., recorded=True)` has brought there,
    its recorded owner, mode and time, and make those names one file that `inode` of `entries` joins
    (with `links` above 1), and no others; `top` is the root's own. Only what differs is touched,
    many files by one process, nothing through a symbolic link. An owner that does not exist there
    becomes `fallback_owner` (`user:group`).

    Gives notes for a person: what rights did not allow. Raises ProofFailed where a recorded entry
    is not there, FilesError where something else is at its path, ConfigError for a bad
    `fallback_owner`, Interrupted when `cancel` is set."""
    wanted = [entry for entry in entries if entry.kind != "special"]
    there = _look(target, root, wanted)
    pairs = _joins(wanted, there)
    late = _late(wanted, there, pairs)
    if pairs or late:
        _open_up(target, root, there, {entry.path for entry in late}, pairs)
        _check(target, cancel)
        names = b"".join(_name(path) for pair in pairs for path in pair)
        target.host.run(target.reader(script(_JOIN, root)), stdin=names, timeout=None)
        give_times(target, root, late)
        there = _look(target, root, wanted)
    _check(target, cancel)
    owners = owners_for(target, [*wanted, top], fallback_owner)
    given = [e for e in wanted if owners.of(e) != (there[e.path].owner, there[e.path].group)]
    if target.gives_away:
        _give(target, root, given, owners)
        given_away = {entry.path for entry in given}
    else:
        given_away = set()
    _check(target, cancel)
    _set_modes(target, root, wanted, there, given_away)
    finish_root(target, root, top, fallback_owner=fallback_owner)
    if not given or target.gives_away:
        return ()
    return (
        f"{target.host.name}: owners were not applied to {len(given)} entries of {root}: "
        f"{target.user or target.host.login} cannot give files away",
    )


def give_times(access: Access, root: str, entries: Iterable[Entry]) -> None:
    """Give entries below `root`, links themselves, their times, to the nanosecond. They must belong
    to whoever looks at trees there."""
    pairs = b"".join(
        b"@%d.%09d\0" % divmod(entry.mtime, 1_000_000_000) + _name(entry.path) for entry in entries
    )
    if pairs:
        access.host.run(access.reader(script(_TOUCH, root)), stdin=pairs, timeout=None)


def _look(target: Access, root: str, wanted: Sequence[Entry]) -> dict[str, Entry]:
    """What is there, the root as "". Another kind than recorded is a stranger's work: chmod would
    follow a link."""
    listing = list_tree(target, root, exclude=(), empty_ok=True)
    there = {"": listing.top} | {entry.path: entry for entry in listing.entries}
    missing = [entry.path for entry in wanted if entry.path not in there]
    if missing:
        raise ProofFailed(
            f"{target.host.name}: {named(missing)} should be in {root} by now, and not all is",
            hint="nothing was changed; does something else work in that folder?",
        )
    for entry in wanted:
        if there[entry.path].kind != entry.kind:
            raise FilesError(
                f"{target.host.name}: {root}/{entry.path} is a {there[entry.path].kind}, "
                f"and was recorded as a {entry.kind}",
                hint="the tree was changed after it was copied; copy it again",
            )
    return there


def _joins(wanted: Sequence[Entry], there: dict[str, Entry]) -> list[tuple[str, str]]:
    """Pairs for `_JOIN`. A set may join what never was one file: rsync --link-dest links two names
    to one file of the set before while they are equal."""
    groups: dict[object, list[str]] = {}
    for entry in wanted:
        if entry.kind == "file":
            one = (entry.device, entry.inode) if entry.links > 1 else entry.path
            groups.setdefault(one, []).append(entry.path)
    pairs: list[tuple[str, str]] = []
    taken: set[tuple[int, int]] = set()
    for paths in groups.values():
        inodes = {path: (there[path].device, there[path].inode) for path in paths}
        first = next((path for path in paths if inodes[path] not in taken), None)
        if first is None:
            first = paths[0]
            pairs.append(("", first))
            others = [path for path in paths if path != first]
        else:
            taken.add(inodes[first])
            others = [path for path in paths if inodes[path] != inodes[first]]
        pairs += [(first, path) for path in others]
    return pairs


def _late(
    wanted: Sequence[Entry], there: dict[str, Entry], pairs: Sequence[tuple[str, str]]
) -> list[Entry]:
    """Whose time is another, or will be: that of a folder in which a name is made."""
    disturbed = {name.rpartition("/")[0] for _, name in pairs}
    return [e for e in wanted if e.mtime != there[e.path].mtime or e.path in disturbed]


def _open_up(
    target: Access,
    root: str,
    there: dict[str, Entry],
    late: set[str],
    pairs: Sequence[tuple[str, str]],
) -> None:
    """Let whoever looks at trees here work in all folders and on these: `touch`, `ln` and `cp` are
    not among what root may run. Recorded owners and modes come after."""
    reader = target.user or target.host.login
    if target.gives_away and reader != "root":
        touched = late.union(*pairs)
        strange = [
            entry
            for entry in there.values()
            if entry.owner != reader and (entry.kind == "dir" or entry.path in touched)
        ]
        hand_to(target, root, strange, reader)
    closed = [e for e in there.values() if e.kind == "dir" and e.mode & 0o700 != 0o700]
    run_on_each(target, root, closed, "chmod", "u+rwx")


def _give(target: Access, root: str, entries: Sequence[Entry], owners: Owners) -> None:
    batches: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        batches.setdefault(owners.of(entry), []).append(entry)
    for (owner, group), members in batches.items():
        hand_to(target, root, members, f"{owner}:{group}")


def _set_modes(
    target: Access,
    root: str,
    wanted: Sequence[Entry],
    there: dict[str, Entry],
    given_away: set[str],
) -> None:
    """Files, then folders that can still be entered, then the others, the deepest first."""
    batches: dict[tuple[bool, int], list[Entry]] = {}
    closed: list[Entry] = []
    for entry in wanted:
        # chown took setuid and setgid away
        lost = entry.path in given_away and entry.mode & 0o6000
        if entry.kind == "link" or (entry.mode == there[entry.path].mode and not lost):
            continue
        if entry.kind == "dir" and not entry.mode & 0o100:
            closed.append(entry)
        else:
            batches.setdefault((entry.kind == "dir", entry.mode), []).append(entry)
    for (_, mode), members in sorted(batches.items(), key=lambda batch: batch[0]):
        run_on_each(target, root, members, "chmod", f"{mode:04o}")
    closed.sort(key=lambda entry: -entry.path.count("/"))
    for mode, alike in itertools.groupby(closed, key=lambda entry: entry.mode):
        run_on_each(target, root, alike, "chmod", f"{mode:04o}")


def _check(target: Access, cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Interrupted(f"{target.host.name}: applying recorded owners and modes was cancelled")


def _name(path: str) -> bytes:
    """With ./ in front of a leading dash; "" stays empty."""
    return b"./" * bool(path) + path.encode("utf-8", "surrogateescape") + b"\0"
