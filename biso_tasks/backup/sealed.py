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

__all__ = ["Sealed"]


@final
class Sealed:
    """The documents of one set. Its sums and trees are read once for all that ask, also side by
    side: of a large site each takes seconds. Raises BadSet for what is not what was sealed."""

    def __init__(self, store: Store, backup: BackupSet) -> None:
        self.backup = backup
        self._store = store
        self._lock = threading.RLock()  # a document asks for the sums
        self._sums: Mapping[str, str] | None = None
        self._trees: Mapping[str, tuple[Entry, ...]] | None = None

    def sums(self) -> Mapping[str, str]:
        """The SHA-256 of every file of the set, by its path."""
        with self._lock:
            if self._sums is None:
                content = self._store.read_file(self.backup.id, SUMS)
                if content is None or _sha256(content) != self.backup.status.sums:
                    raise _unreliable(self.backup, SUMS)
                self._sums = parse_sums(content)
            return self._sums

    def file(self, name: str) -> bytes:
        """One document."""
        content = self._store.read_file(self.backup.id, name)
        if content is None or _sha256(content) != self.sums().get(name):
            raise _unreliable(self.backup, name)
        return content

    def tree(self, area: str) -> tuple[Entry, ...]:
        """What METADATA recorded of a tree, its root first."""
        with self._lock:
            if self._trees is None:
                self._trees = decode(self.file(METADATA))
            return self._trees[area]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unreliable(backup: BackupSet, name: str) -> BadSet:
    return BadSet(
        f"{backup.id} cannot be relied on: {name} is not what was sealed",
        hint="nothing was changed; take another set (`biso list`); `biso verify --set` reads all "
        "of this one",
    )
