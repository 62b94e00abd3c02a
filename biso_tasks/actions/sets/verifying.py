"""`verify`: sets read to their last byte against what was sealed; that decides their state."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from biso_tasks.actions.kit import Context, Work
from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.state import Mark
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import Problem, verify_set
from biso_tasks.errors import ProofFailed
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.session import lock_owner

__all__ = ["ACTIONS", "Verify", "record", "verified"]


@dataclass(slots=True)
class Verify(Work):
    """The work of `verify`: the sets `ids` of `store`, and what was found in each."""

    store: Store | None = None
    ids: tuple[str, ...] = ()
    findings: dict[str, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def sets(self) -> Store:
        assert self.store is not None
        return self.store


def verified(store: Store, id: str, run: str) -> tuple[Problem, ...]:
    """What is wrong with the set; its state says so from now on. The caller holds the store."""
    problems = verify_set(store, id)
    record(store, id, run, problems)
    return problems


def record(
    store: Store, id: str, run: str, problems: tuple[Problem, ...], *, drilled: bool = False
) -> None:
    """Write down what a verification found; `latest` is no set that was found damaged. One whose
    documents cannot be read is damaged by that alone, and of a copy nothing is written down. The
    caller holds the store."""
    if not store.managed:
        return
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = "; ".join(str(one) for one in problems[:5])
    turned = bool(problems)
    try:
        status = store.read(id).status
        turned |= status.state == "damaged"
        store.write_state(
            id, status.after(Mark(when, run, text), problems=bool(problems), drilled=drilled)
        )
    except BadSet:
        pass
    if turned:
        store.point_for([id])


def _verify(context: Context[Verify]) -> dict[str, Any]:
    work = context.work
    store = work.sets
    store.require_here(work.ids)
    with store.lock(lock_owner(work.run_id)):
        for number, id in enumerate(work.ids):
            context.progress(number, len(work.ids), "sets")
            work.findings[id] = verified(store, id, work.run_id)
        context.progress(len(work.ids), len(work.ids), "sets")
    bad = {id: found for id, found in work.findings.items() if found}
    for id, found in bad.items():
        for problem in found[:20]:
            context.note(f"{id}: {problem}")
    if bad:
        id, found = next(iter(bad.items()))
        more = f", and {len(bad) - 1} more set(s)" if len(bad) > 1 else ""
        raise ProofFailed(
            f"{id} cannot be relied on: {found[0]}"
            + (f" and {len(found) - 1} more findings" if len(found) > 1 else "")
            + more,
            hint="it is marked as damaged and neither restored nor `latest`; make a new one with "
            "`biso backup`, and look at the disk that it lies on",
        )
    return {"sets": len(work.ids), "findings": 0}


def _describe(context: Context[Verify]) -> Effects:
    work = context.work
    what = "nothing but the state" if work.sets.managed else "nothing"
    return Effects(changes=(f"{what} of {', '.join(work.ids)}: reads all of it",))


ACTIONS = (Action("sets-verify", _verify, "Read sets against what was sealed", _describe),)
