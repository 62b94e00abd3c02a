"""Which releases stay: the newest good ones, never the last one of them, and those that are
pinned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from biso_tasks.backup.retention import Decision, kept_of, retain
from biso_tasks.backup.store import Store
from biso_tasks.config.model import Keep
from biso_tasks.errors import Locked

__all__ = ["Retired", "decide_releases", "retire_releases"]

_FOREVER = 100 * 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Retired:
    """The ids that were removed, and those that are being read and stay, with a note on each."""

    removed: tuple[str, ...]
    in_use: dict[str, str]


def decide_releases(store: Store, keep: int, now: datetime) -> Decision:
    """What `keep` means for the releases of a store. Nothing is changed."""
    newest = Keep(last=keep, daily=0, weekly=0, monthly=0, max_age=_FOREVER)
    return retain([kept_of(one) for one in store.list()], newest, now)


def retire_releases(store: Store, keep: int, now: datetime) -> Retired:
    """Remove what `decide_releases` does not keep, the oldest first. The caller holds the store."""
    partial = {one.id for one in store.list() if one.state == "partial"}
    removed: list[str] = []
    in_use: dict[str, str] = {}
    for id in sorted(decide_releases(store, keep, now).remove):
        try:
            (store.remove_partial if id in partial else store.remove)(id)
        except Locked as error:
            in_use[id] = f"{error.message}: it stays until the next time"
        else:
            removed.append(id)
    return Retired(tuple(removed), in_use)
