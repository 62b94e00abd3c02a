"""Whether a task could begin now: after all that doctor looks at one by one, what the task's own
survey refuses (rows to keep that are not there, an inventory that drifted, a veto) is a line too.
"""

from __future__ import annotations

from collections.abc import Callable

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.errors import Locked
from biso_tasks.session import Session

__all__ = ["check_refresh", "could_begin"]


def could_begin(sheet: Sheet, name: str, survey: Callable[[], object], said: str) -> None:
    """One line: `said`, or why not. That a run is at work at this moment is nothing to mend, and no
    reason to wake somebody at night."""

    def could() -> str:
        try:
            survey()
        except Locked as error:
            return f"not looked at: {error.message}"
        return said

    sheet.attempt(name, could, str)


def check_refresh(
    sheet: Sheet, session: Session, source: str, target: str, *, anonymize: bool
) -> None:
    work = Refresh(
        session,
        "refresh-test",
        "doctor",
        places={"source": source, "target": target},
        anonymize=anonymize,
        in_place=session.site.refresh.strategy == "in-place",
    )
    said = f"one could begin now, from {source} into {target}"
    could_begin(sheet, "refresh", work.look_again, said)
