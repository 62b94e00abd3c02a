"""The commands that verify sets and apply the retention."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.sets.pruning import Prune
from biso_tasks.actions.sets.stores import find_store, own_store, visited_store
from biso_tasks.actions.sets.verifying import Verify
from biso_tasks.cli.call import Call
from biso_tasks.cli.restoring import drill as run_drill
from biso_tasks.errors import Refused, UsageError

__all__ = ["prune", "verify"]


def verify(call: Call, set_: str, all_: bool, drill: bool, on: str, from_: str) -> None:
    if all_ and (set_ or drill):
        raise UsageError(
            "--all goes with neither --set nor --drill", hint="a drill is made of one set"
        )
    if drill:
        run_drill(call, set_, on, from_)
        return
    session = call.session()
    if all_:
        name = session.site.backup.environment
        store = visited_store(session, from_)[0] if from_ else own_store(session, name)
        ids = tuple(one.id for one in store.list() if one.state != "partial")
        if not ids:
            raise Refused(f"there is no set in {store}", hint="`biso backup` makes one")
    else:
        store, id = find_store(session, set_, from_)
        ids = (id,)
    work = Verify(session, "verify", call.run_id, store=store, ids=ids)

    def said() -> dict[str, Any]:
        return {
            "sets": list(ids),
            "findings": [
                {"set": id, "kind": one.kind, "path": one.path, "text": one.text}
                for id, found in work.findings.items()
                for one in found
            ],
            "drilled": False,
        }

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

    def said() -> dict[str, Any]:
        return {"removed": list(work.removed), "kept": dict(work.decided.keep)}

    call.run_recipe(session, work, confirm_name=name if work.destroys else "", facts=said)
    if not call.options.plan:
        call.text(
            f"removed {len(work.removed)} set(s), kept {len(work.decided.keep)}"
            if work.removed
            else f"nothing to remove: {len(work.decided.keep)} set(s) are kept"
        )
