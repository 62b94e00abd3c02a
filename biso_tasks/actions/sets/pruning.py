"""`prune`: what the retention does not keep. The plan names every set; just those are removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from biso_tasks.actions.kit import Context, Work
from biso_tasks.actions.sets.capturing import owner_of
from biso_tasks.backup.retention import Decision, kept_of, retain
from biso_tasks.backup.store import Store
from biso_tasks.errors import Refused
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.lock import lock
from biso_tasks.stage.discard import discard_previous
from biso_tasks.stage.model import staged
from biso_tasks.stage.swap import require_no_intent

__all__ = ["ACTIONS", "Prune", "decide", "old_previous"]


@dataclass(slots=True)
class Prune(Work):
    """The work of `prune`. `previous` are test environments whose previous instance is older than
    `keep_previous`, each with its record."""

    store: Store | None = None
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    decision: Decision | None = None
    previous: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    @property
    def sets(self) -> Store:
        assert self.store is not None
        return self.store

    @property
    def decided(self) -> Decision:
        assert self.decision is not None
        return self.decision


def decide(work: Prune) -> Decision:
    """What the retention says of the store's sets now."""
    found = [kept_of(one) for one in work.sets.list()]
    return retain(found, work.session.site.backup.keep, work.moment)


def old_previous(work: Prune, instance: Instance) -> dict[str, Any] | None:
    """The record of the previous instance, where it is older than the site keeps one."""
    record = instance.state.read("instance") or {}
    previous = record.get("previous")
    if not isinstance(previous, dict):
        return None
    until = _moment(previous.get("until"))
    keep = timedelta(seconds=work.session.site.refresh.keep_previous)
    return previous if until is not None and work.moment - until > keep else None


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _sets(context: Context[Prune]) -> dict[str, Any]:
    work = context.work
    planned = work.decided.remove
    if not planned:
        return {"removed": []}
    store = work.sets
    with store.lock(owner_of(work.run_id)):
        again = decide(work)
        if dict(again.remove) != dict(planned):
            raise Refused(
                "the facts have changed since the plan was made: the retention now says otherwise "
                f"of {', '.join(sorted(set(again.remove) ^ set(planned))) or 'some sets'}",
                hint="nothing was removed; look at the new plan and start again",
            )
        # The oldest first: a run that is killed leaves the better ones.
        for id in sorted(planned):
            store.remove(id)
            work.removed.append(id)
        store.sweep(work.moment - timedelta(days=1))
    return {"removed": list(work.removed)}


def _describe_sets(context: Context[Prune]) -> Effects:
    decision = context.work.decided
    keep = [f"keeps {id}: {why}" for id, why in decision.keep.items()]
    gone = [f"{id}: {why}" for id, why in decision.remove.items()]
    return Effects(changes=tuple(keep) or ("nothing: there are no sets",), destroys=tuple(gone))


def _previous(context: Context[Prune]) -> dict[str, Any]:
    work = context.work
    gone = []
    for name, record in work.previous.items():
        instance = work.session.instance(name)
        instance.state.prepare()
        environment = instance.environment
        with lock(instance.host, environment, instance.layout, owner_of(work.run_id)):
            require_no_intent(instance)
            now = old_previous(work, instance)
            if now != record:
                raise Refused(
                    f"{name}: its previous instance is another one than when the plan was made",
                    hint="nothing was removed there; start again",
                )
            discard_previous(instance, staged(instance))
            document: Mapping[str, Any] = instance.state.read("instance") or {}
            rest = {key: value for key, value in document.items() if key != "previous"}
            instance.state.write("instance", rest)
        gone.append(name)
    return {"previous": gone}


def _describe_previous(context: Context[Prune]) -> Effects:
    work = context.work
    return Effects(
        changes=() if work.previous else ("no previous instance is old enough",),
        destroys=tuple(
            f"the previous instance of {name} (served until {record.get('until')}): no rollback "
            "to it any more"
            for name, record in work.previous.items()
        ),
    )


ACTIONS = (
    Action("sets-prune", _sets, "Remove the sets that the retention does not keep",
           _describe_sets),
    Action("previous-prune", _previous, "Remove previous instances that are old enough",
           _describe_previous),
)  # fmt: skip
