"""What `doctor` says of an environment's backup sets: whether one could be made now, how old the
newest good, verified and drilled ones are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from biso_tasks.actions.doctor.beginning import could_begin
from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.schedule.since import timers_since
from biso_tasks.actions.sets.backup import Backup
from biso_tasks.actions.sets.restore import require_undamaged
from biso_tasks.actions.sets.set_age import SetAge, stale
from biso_tasks.actions.sets.stores import find_store, own_store
from biso_tasks.actions.sets.trust import require_released
from biso_tasks.backup.proof import ProofRecord
from biso_tasks.backup.state import Mark
from biso_tasks.backup.store import StoredSet
from biso_tasks.session import Session

__all__ = [
    "ages",
    "check_ages",
    "check_backup",
    "check_kept",
    "check_released",
    "check_wanted",
]


def ages(sets: Iterable[StoredSet], environment: str) -> tuple[SetAge, ...]:
    """When the complete sets of `environment` became good, were verified, were drilled."""
    return tuple(
        SetAge(
            one.id,
            good=_moment(one.status.good) if one.good and one.status else None,
            verified=_moment(one.status.verified) if one.status else None,
            drilled=_moment(one.status.drilled) if one.status else None,
        )
        for one in sets
        if one.environment == environment and one.complete and not one.released
    )


def check_ages(sheet: Sheet, session: Session, name: str) -> None:
    """What is too old, a line each, or how new the newest is; and where sets are made, whether the
    next one could be."""
    found = _listed(sheet, session, name)
    if found is None:
        return
    site = session.site
    known, since = ages(found, name), timers_since(site)
    if known or since is not None:
        check_backup(sheet, session, name)
    complaints = stale(known, site.schedule.max_age, datetime.now(UTC), since=since)
    for line in complaints:
        what, _, remedy = line.rpartition(": ")
        sheet.bad("backup sets", what or line, remedy)
    damaged = [one for one in found if one.state == "damaged" and one.environment == name]
    for one in damaged:
        sheet.bad(
            "backup sets",
            f"{one.id} is damaged" + (f": {one.why}" if one.why else ""),
            "look at the disk; `biso backup` makes a new one, after which `biso prune` removes it",
        )
    if not complaints and not damaged:
        sheet.good("backup sets", _told(known))


def check_kept(sheet: Sheet, session: Session, name: str) -> None:
    """What is there, for a task that needs no set: none is as good as many."""
    found = _listed(sheet, session, name)
    if found is not None:
        sheet.good("backup sets", _told(ages(found, name)))


def check_wanted(sheet: Sheet, session: Session, word: str) -> None:
    """Whether there is the set that a task is to use: "latest", "released" or an id."""

    def wanted() -> str:
        store, id = find_store(session, word, "")
        require_undamaged(store.read(id))
        return id

    sheet.attempt("backup sets", wanted, lambda id: f"{id} is what would be used")


def check_released(sheet: Sheet, session: Session, target: str) -> None:
    """Whether there is a release that a refresh of `target` would take: proven, signed where that
    is wanted, not too old."""

    def wanted() -> tuple[str, ProofRecord]:
        store, id = find_store(session, "released", "", target=target)
        backup = store.read(id)
        require_undamaged(backup)
        return id, require_released(session.site, store, backup)

    def said(found: tuple[str, ProofRecord]) -> str:
        id, proof = found
        return f"{id} is what would be taken: data of {proof.source} at {proof.snapshot}, proven"

    sheet.attempt("releases", wanted, said)


def _listed(sheet: Sheet, session: Session, name: str) -> tuple[StoredSet, ...] | None:
    return sheet.attempt("backup sets", own_store(session, name).list, lambda sets: "")


def _told(known: Sequence[SetAge]) -> str:
    """The complete sets, the oldest first."""
    good = [one.id for one in known if one.good is not None]
    if not good:
        return "there is no good one yet: `biso backup` makes it"
    return f"{len(good)} complete and good, the newest of them {good[-1]}"


def check_backup(sheet: Sheet, session: Session, name: str) -> None:
    """Whether a backup could begin now: what its own survey refuses is a line."""
    work = Backup(
        session, "doctor", "doctor", places={"source": name}, store=own_store(session, name)
    )
    said = f"one could begin now, into {session.site.backup.path}"
    could_begin(sheet, "backup", work.look_again, said)


def _moment(mark: Mark | None) -> datetime | None:
    return None if mark is None else datetime.fromisoformat(mark.when)
