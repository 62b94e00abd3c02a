"""A test instance is no production instance, whatever its config.php leads to: asked of whatever is
about to be exchanged, since not every task has a live source that it is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence

from biso_tasks.database.connect import NotConnected
from biso_tasks.errors import BisoError
from biso_tasks.instance.instance import Instance
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.model import StagedDatabase, staged

__all__ = ["require_apart"]


def require_apart(
    session: Session, target: Instance, databases: Sequence[StagedDatabase], *, compared: str = ""
) -> tuple[str, ...]:
    """Raises Refused where the test instance `target` shares a database, a webroot or a data dir
    with a production instance of the site; `compared` names one that it was compared with already.
    Gives notes on those that could not be asked: a machine need not reach production to work on
    test."""
    if target.environment.role == "production":
        return ()
    if session.site.refresh.sources_allowed == ("released",):
        return ()  # a site that takes releases alone has no business there
    notes = []
    for environment in session.site.environments:
        if environment.role != "production" or environment.name == compared:
            continue
        try:
            other = session.instance(environment.name)
            theirs = [one.server for one in staged(other)]
        except BisoError as error:
            notes.append(_not_asked(target, environment.name, error))
            continue
        try:
            guards.distinct(other, target, theirs, [one.server for one in databases])
        except NotConnected as error:
            notes.append(_not_asked(target, environment.name, error))
    return tuple(notes)


def _not_asked(target: Instance, name: str, error: BisoError) -> str:
    return (
        f"{name} could not be asked whether {target.name} leads to its database or files "
        f"({error.message})"
    )
