"""A data dir that is changed where it stands: what will go is copied aside first, so that it can be
put back, again and again, whatever a kill has left.

Copies, not renames: what is kept aside stays whole until the end, and a mount point inside the data
dir is no obstacle. What did not change is left alone.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from biso_tasks.errors import NeedsPerson
from biso_tasks.files.access import Access
from biso_tasks.files.crew import Progress
from biso_tasks.files.keep import is_kept
from biso_tasks.files.listing import Entry, FilesError, Listing, list_tree
from biso_tasks.files.owners import owners_for
from biso_tasks.files.placing import write_placeholders
from biso_tasks.files.policy import Decision
from biso_tasks.files.sync import Method, Route, Transferred, finish_root, transfer
from biso_tasks.files.tartree import unchanged
from biso_tasks.host.command import Command, command, script

__all__ = ["Changes", "compare", "put_back", "replace_tree", "save"]

# Whole or not there, and with an end: what a list does not name is deleted by `put_back`.
_LIST = r"""umask 077
mkdir -p -- "$1"
cat >"$1/original.new"
sync -- "$1/original.new"
mv -f -- "$1/original.new" "$1/original"
"""
_END = "end of list"


@dataclass(frozen=True, slots=True)
class Changes:
    """What makes a live tree into the wanted one. `arriving` travels (directories, links, changed
    files), `placeholders` are written here; `saved` are the live tree's own entries that go or may
    change, with all directories; `gone` what is deleted; `original` the whole live tree as it is
    before; `kept` the site's own files. `top` is the source's root."""

    arriving: tuple[Entry, ...]
    placeholders: tuple[Entry, ...]
    saved: tuple[Entry, ...]
    gone: tuple[Entry, ...]
    original: Listing
    kept: tuple[str, ...]
    top: Entry

    @property
    def bytes_needed(self) -> int:
        """Room for what is kept aside and for what arrives."""
        return sum(e.size for e in (*self.saved, *self.arriving) if e.kind == "file")

    @property
    def bytes_arriving(self) -> int:
        return sum(entry.size for entry in self.arriving if entry.kind == "file")


def compare(
    target: Access,
    live: Listing,
    wanted: Listing,
    decision: Decision,
    keep: Sequence[str],
    *,
    touched: bool,
    fallback_owner: str | None = None,
) -> Changes:
    """Compare the live tree with what shall be there: of `wanted`, the source's tree, what was
    decided. Nothing is changed. `keep` are files and folders that stay the live tree's own where
    it has them;
    `touched`: files will be written or renamed in the new tree, so that one which is the same in
    both is no longer safe where it stands."""
    there = {entry.path for entry in live.entries}
    kept = [name for name in (name.rstrip("/") for name in keep) if name in there]
    copied = [entry for entry in decision.copy if not is_kept(entry.path, kept)]
    placeholders = [entry for entry in decision.placeholder if not is_kept(entry.path, kept)]
    owners = owners_for(target, copied, fallback_owner)
    same = unchanged(copied, live.entries, owners if target.gives_away else None)
    left = {entry.path for entry in same}
    arriving = [entry for entry in copied if entry.path not in left]
    kinds = {entry.path: entry.kind for entry in (*copied, *placeholders)}
    gone = [
        entry
        for entry in live.entries
        if not is_kept(entry.path, kept)
        and entry.kind != "special"
        and kinds.get(entry.path) != entry.kind
    ]
    changing = {entry.path for entry in (*arriving, *placeholders, *gone)}
    saved = [
        entry
        for entry in live.entries
        if entry.kind != "special" and (touched or entry.kind == "dir" or entry.path in changing)
    ]
    return Changes(
        tuple(arriving),
        tuple(placeholders),
        tuple(saved),
        tuple(gone),
        live,
        tuple(sorted(kept)),
        wanted.top,
    )


def save(
    target: Access,
    root: str,
    place: str,
    changes: Changes,
    *,
    cancel: threading.Event | None = None,
) -> int:
    """Copy aside, into `place`, what `replace_tree` will change or delete; bytes. Raises FilesError
    where not all of it is there afterwards."""
    done = transfer(target, root, target, f"{place}/files", changes.saved, route="local",
                    cancel=cancel)  # fmt: skip
    if done.vanished:
        raise FilesError(
            f"{target.host.name}: {done.vanished[0]!r} and {len(done.vanished) - 1} more could not "
            f"be kept aside from {root}",
            hint="something still writes in the data dir; stop it (services.stop) and try again",
        )
    finish_root(target, f"{place}/files", changes.original.top)
    names = [*(f"{entry.kind} {entry.path}" for entry in changes.original.entries), _END]
    listed = b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for name in names)
    target.host.run(target.reader(script(_LIST, place)), stdin=listed)
    return sum(entry.size for entry in changes.saved if entry.kind == "file")


def replace_tree(
    source: Access,
    source_root: str,
    target: Access,
    root: str,
    changes: Changes,
    *,
    route: Route,
    using: Method | None = None,
    fallback_owner: str | None = None,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> Transferred:
    """Make the live tree into the wanted one; `save` has been called. Raises FilesError."""
    files = [entry.path for entry in changes.gone if entry.kind != "dir"]
    _remove(target, root, files, "rm", "-f")
    folders = [entry.path for entry in changes.gone if entry.kind == "dir"]
    # deepest first; one that still holds a log or scratch file stays
    _remove(target, root, sorted(folders, reverse=True), "rm", "-d", tolerant=True)
    # A placeholder is unpacked over what is there; a hard link there would be written through.
    _remove(target, root, [entry.path for entry in changes.placeholders], "rm", "-f")
    write_placeholders(
        target, root, changes.placeholders, fallback_owner=fallback_owner, cancel=cancel
    )
    done = transfer(
        source,
        source_root,
        target,
        root,
        changes.arriving,
        route=route,
        fallback_owner=fallback_owner,
        using=using,
        cancel=cancel,
        progress=progress,
    )
    finish_root(target, root, changes.top, fallback_owner=fallback_owner)
    return done


def put_back(target: Access, root: str, place: str, *, exclude: Sequence[str]) -> int:
    """Make the live tree what it was when `save` was called, `exclude` apart (the same as then);
    how many files came back. Nothing kept aside is no error: then nothing was changed. Can be
    called again. Raises NeedsPerson where the list is not whole, FilesError."""
    read = script('[ ! -e "$1/original" ] || cat -- "$1/original"', place)
    said = target.host.run(target.reader(read), timeout=None).out
    if not said:
        return 0
    names = [one.decode("utf-8", "surrogateescape") for one in said.split(b"\0")]
    if names[-2:] != [_END, ""]:
        raise NeedsPerson(
            f"{target.host.name}: {place}/original is cut off: what belongs in {root} is not known",
            hint=f"put the data dir back by hand from {place}/files, then run `biso recover` again",
        )
    original = set(names[:-2])
    now = list_tree(target, root, exclude=exclude, empty_ok=True)
    added = {e.path for e in now.entries if f"{e.kind} {e.path}" not in original}
    topmost = sorted(path for path in added if posixpath.dirname(path) not in added)
    _remove(target, root, topmost, "rm", "-rf", "--one-file-system")
    kept = list_tree(target, f"{place}/files", exclude=(), empty_ok=True)
    done = transfer(target, f"{place}/files", target, root, kept.entries, route="local")
    if done.vanished:
        raise FilesError(f"{target.host.name}: {done.vanished[0]!r} did not come back to {root}")
    finish_root(target, root, kept.top)
    return done.files


def _remove(
    target: Access, root: str, paths: Sequence[str], *words: str, tolerant: bool = False
) -> None:
    """xargs runs as the login: rm is the program that sudo allows, not xargs."""
    if not paths:
        return
    prefix = root.rstrip("/").encode("utf-8", "surrogateescape") + b"/"
    names = b"".join(prefix + path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
    inner = target.writer(command(*words, "--")).words(target.host.login)
    remove = Command(("xargs", "-0", "-r", *inner))
    target.host.run(remove, stdin=names, timeout=None, ok=None if tolerant else (0,))
