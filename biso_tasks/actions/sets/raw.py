"""Personal data that a set holds, on its way to a test environment: one rule for whatever is made
of a set."""

from __future__ import annotations

from collections.abc import Collection

from biso_tasks.backup.manifest import Manifest
from biso_tasks.errors import Refused
from biso_tasks.session import Session
from biso_tasks.stage.model import REFRESHED

__all__ = ["needs_anonymising", "require_harmless"]


def needs_anonymising(
    session: Session, name: str, manifest: Manifest, areas: Collection[str]
) -> bool:
    """Whether these areas of the set may come to the environment `name` only anonymised: data that
    is personal, a test environment, a site that anonymises. Raises Refused where that cannot be
    done: without the database nobody knows whose files they are."""
    if not _guarded(session, name, manifest) or not REFRESHED.intersection(areas):
        return False
    if "database" not in areas:
        require_harmless(session, name, manifest, "the data dir")
    return True


def require_harmless(session: Session, name: str, manifest: Manifest, what: str) -> None:
    """Raises Refused where `what` of the set would have to be anonymised, which takes the whole."""
    if _guarded(session, name, manifest):
        raise Refused(
            f"{manifest.id} holds personal data, and {name} is a test environment of a site that "
            f"anonymises: {what} alone cannot be anonymised",
            hint="restore data and database together, take an anonymised set (`biso list`), or say "
            "anonymize = false under [refresh]",
        )


def _guarded(session: Session, name: str, manifest: Manifest) -> bool:
    test = session.environment(name).role == "test"
    return test and bool(session.site.refresh.anonymize) and manifest.personal
