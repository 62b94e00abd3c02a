"""The commands that verify sets and apply the retention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from biso_tasks.actions.sets.pruning import Prune
from biso_tasks.actions.sets.stores import find_store, own_store, visited_store
from biso_tasks.actions.sets.verifying import Verify
from biso_tasks.backup.store import Store
from biso_tasks.cli.call import Call
from biso_tasks.cli.drilling import drill as drill_one
from biso_tasks.cli.drilling import drill_all, findings_json
from biso_tasks.errors import Refused, UsageError
from biso_tasks.session import Session

__all__ = ["prune", "verify"]


def verify(
    call: Call, set_: str, all_: bool, drill: bool, on: str, from_: str, env: str = ""
) -> None:
    # A script reads these whatever comes.
    call.document |= {"sets": [], "findings": [], "drilled": False}
    if all_ and set_:
        raise UsageError("--all does not go with --set", hint="leave one of them out")
    if env and from_:
        raise UsageError("--env does not go with --from", hint="leave one of them out")
    session = call.session(on=env)
    if env:
        session.site = replace(session.site, backup=replace(session.site.backup, environment=env))
    place = on or session.site.refresh.to
    if drill:
        # Not swapped in, but a load for the server that everybody works with.
        call.require_named(session.environment(place))
    if all_:
        name = session.site.backup.environment
        store = visited_store(session, from_)[0] if from_ else own_store(session, name)
        ids = tuple(one.id for one in store.list() if one.state != "partial")
        if not ids:
            raise Refused(f"there is no set in {store}", hint="`biso backup` makes one")
    else:
        store, id = find_store(session, set_, from_)
        ids = (id,)
    if not drill:
        _read(call, session, store, ids)
    elif all_:
        drill_all(call, session, store, ids, place)
    else:
        drill_one(call, session, store, ids[0], place)


def _read(call: Call, session: Session, store: Store, ids: tuple[str, ...]) -> None:
    call.document["sets"] = list(ids)
    work = Verify(session, "verify", call.run_id, store=store, ids=ids)
    work.bind_values()

    def said() -> dict[str, Any]:
        found = [line for id, found in work.findings.items() for line in findings_json(id, found)]
        return {"sets": list(ids), "findings": found, "drilled": False}

    call.run_recipe(session, work, facts=said)
    if not call.options.plan:
        call.text(f"{', '.join(ids)}: every byte is what was sealed")


def prune(call: Call, env: str) -> None:
    session = call.session()
    name = env or session.site.backup.environment
    work = Prune(
        session, "prune", call.run_id, places={"source": name}, store=own_store(session, name)
    )
    work.look()
    work.bind_values()

    def said() -> dict[str, Any]:
        return {
            "removed": list(work.removed),
            "in_use": list(work.in_use),
            "kept": dict(work.decided.keep),
        }

    # Of sets there are more: --yes is enough where production's go.
    wanted = (name,) if work.destroys else ()
    call.run_recipe(session, work, confirm=wanted, lightly=True, facts=said)
    if not call.options.plan:
        if work.in_use:
            call.text(f"{', '.join(work.in_use)} stays: it is being read")
        call.text(
            f"removed {len(work.removed)} set(s), kept {len(work.decided.keep)}"
            if work.removed or work.in_use
            else f"nothing to remove: {len(work.decided.keep)} set(s) are kept"
        )
