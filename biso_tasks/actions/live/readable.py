"""Whether everything that is to travel can be read: asked while planning, and again of the whole
listing when it does.
"""

from __future__ import annotations

from collections.abc import Callable

from biso_tasks.errors import Refused
from biso_tasks.files.listing import DATA_EXCLUDES, FilesError, Listing, list_tree
from biso_tasks.files.policy import Decision, decide
from biso_tasks.instance.instance import Instance
from biso_tasks.session import Session
from biso_tasks.stage.model import access, own_directory

__all__ = ["plugins_policy", "refuse_unreadable", "require_readable"]


def require_readable(session: Session, source: Instance, *, anonymize: bool) -> None:
    """Raises Refused where a file of the data dir that is to travel, or a folder, cannot be read.
    Only what is closed is listed, so that a large tree costs no more than a walk."""
    try:
        closed = list_tree(
            access(source),
            source.layout.datadir,
            exclude=(*DATA_EXCLUDES, *own_directory(source)),
            closed_only=True,
        )
    except FilesError as error:
        raise Refused(error.message, hint=error.hint) from error
    rules = session.site.refresh.files
    decision = decide(closed, rules, plugins_policy(session), anonymize=anonymize)
    refuse_unreadable(source, closed, decision)


def refuse_unreadable(source: Instance, listing: Listing, decision: Decision) -> None:
    """Raises Refused where the decision lets a file travel that the listing could not read."""
    unreadable = set(listing.unreadable) & {entry.path for entry in decision.copy}
    if unreadable and not source.environment.sudo:
        raise Refused(
            f"{source.name}: {len(unreadable)} file(s) of the data dir cannot be read: `find "
            f"{source.layout.datadir} ! -readable` there shows them",
            hint=f"set `run_as` of {source.name} to a user who may, or `sudo = true`; or let them "
            'not travel: "skip" under [refresh.files]',
        )


def plugins_policy(session: Session) -> Callable[[str], str | None] | None:
    """The plugins' answers, before a file travels; None where no plugin has one to give."""
    hooks, site = session.hooks, session.site
    if not hooks.implementers("biso_file_policy"):
        return None

    def ask(path: str) -> str | None:
        answer = hooks.first("biso_file_policy", path=path, site=site)
        return None if answer is None else str(answer)

    return ask
