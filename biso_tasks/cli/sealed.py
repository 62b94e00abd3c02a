"""What the JSON of a command that makes a set says of it, whatever came after it was sealed."""

from __future__ import annotations

from typing import Any

from biso_tasks.backup.store import BackupSet

__all__ = ["sealed_set"]


def sealed_set(sealed: BackupSet | None) -> dict[str, Any]:
    """`set` is its id, `path` where it lies, `bytes` its size; all None while none is sealed."""
    return {
        "set": None if sealed is None else sealed.id,
        "path": None if sealed is None else sealed.path,
        "bytes": None if sealed is None else sealed.manifest.size,
    }
