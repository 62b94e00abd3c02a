"""Whether a refresh could begin now: after all that doctor looks at one by one, what the task's own
survey refuses (rows to keep that are not there, an inventory that drifted, a veto) is a line too.
"""

from __future__ import annotations

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.errors import Locked
from biso_tasks.session import Session

__all__ = ["check_refresh"]


def check_refresh(
    sheet: Sheet, session: Session, source: str, target: str, *, anonymize: bool
) -> None:
    """One line. That a run is at work at this moment is nothing to mend."""
    work = Refresh(
        session,
        "refresh-test",
        "doctor",
        places={"source": source, "target": target},
        anonymize=anonymize,
        in_place=session.site.refresh.strategy == "in-place",
    )

    def could() -> str:
        try:
            work.look_again()
        except Locked as error:
            return f"not looked at: {error.message}"
        return f"one could begin now, from {source} into {target}"

    sheet.attempt("refresh", could, str)
