"""What killed runs left in the stores on an environment's host: sets that were being removed,
folders of a verification, half a state."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.stores import baseline_store, own_store, release_store
from biso_tasks.backup.store import Store
from biso_tasks.errors import Locked
from biso_tasks.session import Session, lock_owner

__all__ = ["left_in_stores", "note_swept", "sweep_stores"]


def note_swept(context: Context[Any], store: Store) -> None:
    """Remove it from a store that the run holds, and tell so."""
    for name in store.sweep():
        context.note(f"removed {name}, which an interrupted run had left")


def left_in_stores(session: Session, name: str) -> tuple[str, ...]:
    """By path, what `sweep_stores` would remove. Nothing is changed."""
    return tuple(f"{store.path}/sets/{one}" for store in _stores(session, name)
                 for one in store.left())  # fmt: skip


def sweep_stores(session: Session, name: str, run_id: str) -> tuple[str, ...]:
    """Remove it; gives the paths. A store that somebody holds is left alone: who does is at it."""
    gone: list[str] = []
    for store in _stores(session, name):
        if not store.left():
            continue
        try:
            with store.lock(lock_owner(run_id)):
                gone += [f"{store.path}/sets/{one}" for one in store.sweep()]
        except Locked:
            continue
    return tuple(gone)


def _stores(session: Session, name: str) -> list[Store]:
    released = session.site.release.environment == name
    return [
        own_store(session, name),
        baseline_store(session, name),
        *([release_store(session)] if released else []),
    ]
