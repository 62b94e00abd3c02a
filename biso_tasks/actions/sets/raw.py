"""Personal data that a set holds, on its way to a test environment: one rule for whatever is made
of a set."""

from __future__ import annotations

from collections.abc import Collection

from biso_tasks.actions.sets.trust import require_trusted
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.errors import Refused
from biso_tasks.session import Session
from biso_tasks.stage.model import REFRESHED

__all__ = ["needs_anonymising", "require_harmless", "require_no_release"]


def needs_anonymising(
    session: Session, name: str, store: Store, backup: BackupSet, areas: Collection[str]
) -> bool:
    """Whether these areas of the set may come to the environment `name` only anonymised: data that
    is personal, a test environment, a site that anonymises. Raises Refused where that cannot be
    done: without the database nobody knows whose files they are; and where the set says that it is
    not personal, and has no proof of it."""
    if not REFRESHED.intersection(areas) or not _guarded(session, name, store, backup):
        return False
    if "database" not in areas:
        raise _alone(name, backup, "the data dir")
    return True


def require_harmless(
    session: Session, name: str, store: Store, backup: BackupSet, what: str
) -> None:
    """Raises Refused where `what` of the set would have to be anonymised, which takes the whole, or
    the set's word that it need not has no proof."""
    if _guarded(session, name, store, backup):
        raise _alone(name, backup, what)


def require_no_release(session: Session, name: str, backup: BackupSet) -> None:
    """Raises Refused where a release would come into production: its people are nobody, and its
    attachments are placeholders."""
    if backup.manifest.released and session.environment(name).role == "production":
        raise Refused(
            f"{backup.id} is a release: anonymised, with placeholders for attachments, and {name} "
            "is a production environment",
            hint="production is restored from its own backup sets: `biso list`",
        )


def _alone(name: str, backup: BackupSet, what: str) -> Refused:
    return Refused(
        f"{backup.id} holds personal data, and {name} is a test environment of a site that "
        f"anonymises: {what} alone cannot be anonymised",
        hint="restore data and database together, take an anonymised set (`biso list`), or say "
        "anonymize = false under [refresh]",
    )


def _guarded(session: Session, name: str, store: Store, backup: BackupSet) -> bool:
    site = session.site
    if session.environment(name).role != "test" or not site.refresh.anonymize:
        return False
    if not backup.manifest.personal:
        require_trusted(site, store, backup)
    return backup.manifest.personal
