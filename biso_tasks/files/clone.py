"""A copy of a tree on its own host, without a shared inode: reflinks where the filesystem can."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from biso_tasks.files.access import Access
from biso_tasks.files.listing import list_tree
from biso_tasks.files.sync import finish_root, transfer
from biso_tasks.host.command import command

__all__ = ["clone"]


def clone(
    access: Access,
    source: str,
    target: str,
    *,
    exclude: Sequence[str] = (),
    cancel: threading.Event | None = None,
) -> int:
    """Copy `source` to `target`, which must not exist, on one host, without what `exclude` names
    (anchored patterns, see `patterns.py`: "/data/" leaves out that directory at the top and no
    other). Owners, modes, times, links and hard links are kept; FIFOs, sockets and devices are left
    out. Returns how many regular files there are. Raises what `list_tree` and `transfer` raise."""
    listing = list_tree(access, source, exclude=exclude)
    entries = [entry for entry in listing.entries if entry.kind != "special"]
    if not exclude and not access.root:  # cp is not on the list of what root may run
        copy = command("cp", "--archive", "--reflink=auto", "-T", "--", source, target)
        access.host.run(access.reader(copy), timeout=None)
        return sum(entry.kind == "file" for entry in entries)
    done = transfer(access, source, access, target, entries, route="local", cancel=cancel)
    finish_root(access, target, listing.top)
    return done.files
