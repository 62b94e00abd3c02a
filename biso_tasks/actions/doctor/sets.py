"""What `doctor` says of an environment's backup sets: whether one could be made now, how old the
newest good, verified and drilled ones are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.sets.backup import Backup
from biso_tasks.actions.sets.set_age import SetAge, stale
from biso_tasks.actions.sets.stores import own_store
from biso_tasks.backup.state import Mark
from biso_tasks.backup.store import StoredSet
from biso_tasks.session import Session

__all__ = ["ages", "check_backup", "check_sets"]


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


def check_sets(sheet: Sheet, session: Session, name: str, *, required: bool) -> None:
    """A line for what is too old; nothing where the site makes no backups with this tool, unless
    they are `required`."""
    store = own_store(session, name)
    found = sheet.attempt("backup sets", store.list, lambda sets: "")
    if found is None or not (found or required):
        return
    known = ages(found, name)
    complaints = stale(known, session.site.schedule.max_age, datetime.now(UTC))
    for line in complaints:
        what, _, remedy = line.rpartition(": ")
        sheet.bad("backup sets", what or line, remedy)
    if not complaints:
        sheet.good("backup sets", f"{len(known)} complete, the newest of them {known[-1].id}")


def check_backup(sheet: Sheet, session: Session, name: str) -> None:
    """Whether a backup could begin now: what its own survey refuses is a line."""
    work = Backup(
        session, "doctor", "doctor", places={"source": name}, store=own_store(session, name)
    )
    sheet.guard("backup", work.look_again, f"one could begin now, into {session.site.backup.path}")


def _moment(mark: Mark | None) -> datetime | None:
    return None if mark is None else datetime.fromisoformat(mark.when)
