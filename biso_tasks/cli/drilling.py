"""`verify --drill`: sets restored beside a test instance, read back, and thrown away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from biso_tasks.actions.sets.restore import FromSet, describe_target
from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import Problem
from biso_tasks.cli.call import Call
from biso_tasks.cli.together import together
from biso_tasks.errors import BisoError, Interrupted, ProofFailed
from biso_tasks.session import Session
from biso_tasks.stage.model import Area
from biso_tasks.ui.errors import as_json
from biso_tasks.ui.table import table

__all__ = ["drill", "drill_all", "findings_json"]


def findings_json(id: str, problems: Iterable[Problem]) -> list[dict[str, str]]:
    """What is wrong with a set, for --json."""
    return [{"set": id, "kind": one.kind, "path": one.path, "text": one.text} for one in problems]


def drill(call: Call, session: Session, store: Store, id: str, on: str) -> None:
    """One set, restored beside the test environment `on` and thrown away. The document says what
    was found whatever happens. Raises the run's error."""
    production = session.environment(on).role == "production"
    call.document |= {"sets": [id], "findings": [], "drilled": False}
    work = FromSet(
        session,
        "verify",
        call.run_id,
        places={"target": on},
        anonymize=False,
        store=store,
        id=id,
        drill=True,
    )

    def said() -> dict[str, Any]:
        found = list(work.problems)
        failure = None if call.outcome is None else call.outcome.failure
        if isinstance(failure, ProofFailed) and not found:
            # The set is what was sealed; what was made of it did not pass.
            found.append(Problem("drill", "", failure.message))
        return {"sets": [id], "findings": findings_json(id, found), "drilled": work.drilled}

    try:
        work.areas = cast("frozenset[Area]", frozenset(store.read(id).manifest.areas))
        work.look_again()
    except BadSet as error:
        work.problems = (Problem("document", "", error.message),)
        raise
    finally:
        call.document |= said()
    work.bind_values()
    done = call.run_recipe(
        session,
        work,
        recipe="drill",
        confirm=(on,) if production else (),
        header=describe_target(work),
        facts=said,
    )
    if done is not None:
        call.text(
            f"{id} was restored beside {on}, migrated, compared and read back: it can be used"
        )


def drill_all(call: Call, session: Session, store: Store, ids: tuple[str, ...], on: str) -> None:
    """One set after the other, each a run of its own; one that fails does not stop the others.
    Raises an error that speaks for all of them where any failed."""
    document = call.document
    document |= {"sets": list(ids), "findings": [], "drilled": False, "runs": []}
    if call.options.plan:
        document["plan"] = []
    failed: dict[str, BisoError] = {}
    for number, id in enumerate(ids, 1):
        call.text(f"\n{id} ({number} of {len(ids)})")
        error: BisoError | None = None
        with call.aside():
            run = call.run_id
            try:
                drill(call, session, store, id, on)
            except BisoError as raised:
                error = failed[id] = raised
            said = call.document
        document["findings"] += said["findings"]
        document["runs"].append(_told(id, run, said, error))
        if call.options.plan:
            document["plan"] += said.get("plan", [])
        if isinstance(error, Interrupted):
            raise error
        if session.environment(on).role == "production" and not error:
            # Its name was typed once: that is for the whole command.
            call.options = replace(call.options, confirm=on)
    document["drilled"] = all(one["drilled"] for one in document["runs"])
    call.text(table([(id, _end(failed.get(id), call.options.plan)) for id in ids]))
    if failed:
        raise together(failed, len(ids), "drills", ProofFailed)


def _told(id: str, run: str, said: dict[str, Any], error: BisoError | None) -> dict[str, Any]:
    return {
        "set": id,
        "run": run,
        "exit_code": 0 if error is None else error.exit_code,
        "drilled": said["drilled"],
        "error": None if error is None else as_json(error),
    }


def _end(error: BisoError | None, plan: bool) -> str:
    if error is not None:
        return error.message
    return "would be drilled" if plan else "drilled"
