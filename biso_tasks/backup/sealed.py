"""What a sealed set says of itself, believed as far as it is what was sealed: SHA256SUMS by the
checksum that its state holds, every other document by SHA256SUMS.
"""

from __future__ import annotations

import hashlib

from biso_tasks.backup.checksums import SUMS, parse_sums
from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.metadata import METADATA, decode
from biso_tasks.backup.sets import BackupSet
from biso_tasks.backup.store import Store
from biso_tasks.files.listing import Entry

__all__ = ["sealed_file", "sealed_sums", "sealed_tree"]


def sealed_sums(store: Store, backup: BackupSet) -> dict[str, str]:
    """The SHA-256 of every file of the set, by its path. Raises BadSet."""
    content = store.read_file(backup.id, SUMS)
    if content is None or hashlib.sha256(content).hexdigest() != backup.status.sums:
        raise _unreliable(backup, SUMS)
    return parse_sums(content)


def sealed_file(store: Store, backup: BackupSet, name: str) -> bytes:
    """One document of the set. Raises BadSet where it is not what was sealed."""
    content = store.read_file(backup.id, name)
    expected = sealed_sums(store, backup).get(name)
    if content is None or hashlib.sha256(content).hexdigest() != expected:
        raise _unreliable(backup, name)
    return content


def sealed_tree(store: Store, backup: BackupSet, area: str) -> tuple[Entry, ...]:
    """What METADATA recorded of a tree, its root first. Raises BadSet."""
    return decode(sealed_file(store, backup, METADATA))[area]


def _unreliable(backup: BackupSet, name: str) -> BadSet:
    return BadSet(
        f"{backup.id} cannot be relied on: {name} is not what was sealed",
        hint="nothing was changed; take another set (`biso list`); `biso verify --set` reads all "
        "of this one",
    )
