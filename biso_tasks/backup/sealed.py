"""What a sealed set says of itself, believed as far as it is what was sealed: SHA256SUMS by the
checksum that its state holds, every other document by SHA256SUMS.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import final

from biso_tasks.backup.checksums import SUMS, parse_sums
from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.metadata import METADATA, decode
from biso_tasks.backup.sets import BackupSet
from biso_tasks.backup.store import Store
from biso_tasks.files.listing import Entry

__all__ = ["Sealed", "sealed_file", "sealed_sums", "sealed_tree"]


def sealed_sums(store: Store, backup: BackupSet) -> dict[str, str]:
    """The SHA-256 of every file of the set, by its path. Raises BadSet."""
    content = store.read_file(backup.id, SUMS)
    if content is None or hashlib.sha256(content).hexdigest() != backup.status.sums:
        raise _unreliable(backup, SUMS)
    return parse_sums(content)


def sealed_file(store: Store, backup: BackupSet, name: str) -> bytes:
    """One document of the set. Raises BadSet where it is not what was sealed."""
    return _checked(store, backup, name, sealed_sums(store, backup))


def sealed_tree(store: Store, backup: BackupSet, area: str) -> tuple[Entry, ...]:
    """What METADATA recorded of a tree, its root first. Raises BadSet."""
    return Sealed(store, backup).tree(area)


@final
class Sealed:
    """The sums and trees of one set, read once for all steps that ask, also side by side: of a
    large site each takes seconds. Raises BadSet as `sealed_sums` and `sealed_tree` do."""

    def __init__(self, store: Store, backup: BackupSet) -> None:
        self.backup = backup
        self._store = store
        self._lock = threading.Lock()
        self._sums: Mapping[str, str] | None = None
        self._trees: Mapping[str, tuple[Entry, ...]] | None = None

    def sums(self) -> Mapping[str, str]:
        """The SHA-256 of every file of the set, by its path."""
        with self._lock:
            return self._known_sums()

    def tree(self, area: str) -> tuple[Entry, ...]:
        """What METADATA recorded of a tree, its root first."""
        with self._lock:
            if self._trees is None:
                content = _checked(self._store, self.backup, METADATA, self._known_sums())
                self._trees = decode(content)
            return self._trees[area]

    def _known_sums(self) -> Mapping[str, str]:
        if self._sums is None:
            self._sums = sealed_sums(self._store, self.backup)
        return self._sums


def _checked(store: Store, backup: BackupSet, name: str, sums: Mapping[str, str]) -> bytes:
    content = store.read_file(backup.id, name)
    if content is None or hashlib.sha256(content).hexdigest() != sums.get(name):
        raise _unreliable(backup, name)
    return content


def _unreliable(backup: BackupSet, name: str) -> BadSet:
    return BadSet(
        f"{backup.id} cannot be relied on: {name} is not what was sealed",
        hint="nothing was changed; take another set (`biso list`); `biso verify --set` reads all "
        "of this one",
    )
