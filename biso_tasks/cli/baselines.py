"""The commands that keep a state of a test instance and go back to it."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.sets.backup import Backup
from biso_tasks.actions.sets.restore import FromSet, describe_target
from biso_tasks.actions.sets.stores import baseline_store
from biso_tasks.actions.sets.trust import require_trusted
from biso_tasks.backup.store import Store, StoredSet
from biso_tasks.cli.call import Call
from biso_tasks.cli.restoring import said
from biso_tasks.cli.sealed import sealed_set
from biso_tasks.errors import Refused
from biso_tasks.session import Session
from biso_tasks.stage import guards

__all__ = ["baseline", "keep_baseline", "reset_test"]


def baseline(call: Call, env: str, name: str) -> None:
    session = call.session()
    environment = env or session.site.refresh.to
    guards.not_production(session.environment(environment), "baseline")
    work = _run(call, session, environment, name)
    if work.sealed is not None:
        what = f"the baseline {name!r}" if name else "the baseline"
        call.text(
            f"{work.sealed.id} is {what} of {environment}. `biso reset-test` goes back to it."
        )


def keep_baseline(call: Call, session: Session, environment: str) -> None:
    """The baseline that a site wants of each proven refresh: a run of its own, told beside the
    refresh's."""
    with call.aside("baseline"):
        work = _run(call, session, environment, "")
    call.document["baseline"] = None if work.sealed is None else work.sealed.id


def reset_test(call: Call, env: str, name: str) -> None:
    session = call.session()
    environment = env or session.site.refresh.to
    guards.not_production(session.environment(environment), "reset-test")
    store = baseline_store(session, environment)
    found = _newest(store, environment, name)
    backup = store.read(found.id)
    if not backup.manifest.personal and session.site.refresh.anonymize:
        require_trusted(session.site, store, backup, baseline=True)
    if backup.manifest.personal and session.site.refresh.anonymize == "required":
        raise Refused(
            f"the baseline {found.id} of {environment} holds personal data, and the site says "
            'anonymize = "required"',
            hint="refresh instead: that is anonymised and proven",
        )
    work = FromSet(
        session,
        "reset-test",
        call.run_id,
        places={"target": environment},
        anonymize=False,
        store=store,
        id=found.id,
        template=True,
        decided_on=backup,
    )
    work.look_again()
    work.bind_values()
    call.document["source"] = found.id
    call.run_recipe(
        session,
        work,
        header=describe_target(work),
        facts=lambda: said(work),
    )
    if work.swapped is not None:
        call.text(
            f"{environment} is what it was at {found.moment:%Y-%m-%d %H:%M} UTC again; it was away "
            f"for {work.swapped.downtime:.1f} s. `biso rollback --env {environment}` takes that "
            "back."
        )


def _run(call: Call, session: Session, environment: str, name: str) -> Backup:
    store = baseline_store(session, environment)
    work = Backup(
        session,
        "baseline",
        call.run_id,
        places={"source": environment},
        areas=("data", "database"),
        maintenance=session.site.backup.maintenance,
        store=store,
        label=name,
    )
    work.look_again()
    work.bind_values()

    def facts() -> dict[str, Any]:
        return {
            **sealed_set(work.sealed),
            "name": name,
            "maintenance_seconds": round(work.maintenance_seconds, 3),
        }

    call.run_recipe(session, work, recipe="baseline", facts=facts)
    return work


def _newest(store: Store, environment: str, name: str) -> StoredSet:
    known = [one for one in store.list() if one.environment == environment and one.good]
    labels = {one.id: one.manifest.label if one.manifest else "" for one in known}
    found = [one for one in known if not name or labels[one.id] == name]
    if not found:
        names = sorted(set(labels.values()) - {""})
        raise Refused(
            f"{environment} has no baseline" + (f" called {name!r}" if name else ""),
            hint=f"there are: {', '.join(names)}" if names else "`biso baseline` keeps one",
        )
    return found[-1]
