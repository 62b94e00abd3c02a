"""Between which trees a transfer goes, and the names that it gives to programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, list_tree

__all__ = ["Ends", "listed", "tree_of"]


@dataclass(frozen=True, slots=True)
class Ends:
    """From the tree `source_root` of one host into `target_root` of another, or of the same."""

    source: Access
    source_root: str
    target: Access
    target_root: str

    def __str__(self) -> str:
        return f"the transfer from {self.source.host.name} to {self.target.host.name}"

    def arrived(self) -> Mapping[str, Entry]:
        """What is in the target's tree now, by path. Raises FilesError."""
        return tree_of(self.target, self.target_root)


def tree_of(access: Access, root: str) -> Mapping[str, Entry]:
    """Everything in a tree, by path. Raises FilesError, Refused."""
    found = list_tree(access, root, exclude=(), empty_ok=True)
    return {entry.path: entry for entry in found.entries}


def listed(paths: Iterable[str]) -> bytes:
    """Each ended by NUL, with ./ in front: rm, tar and cp take a leading dash for an option. Never
    the root itself: rsync takes "./" for "with every file in it", whatever the list says."""
    return b"".join(b"./" + path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
