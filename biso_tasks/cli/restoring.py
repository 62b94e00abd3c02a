"""The commands that make something of a backup set: restore, a drill, baselines."""

from __future__ import annotations

from typing import Any, cast

from biso_tasks.actions.sets.backup import read_areas
from biso_tasks.actions.sets.bare import Bare, describe_bare
from biso_tasks.actions.sets.capturing import owner_of
from biso_tasks.actions.sets.restore import FromSet, describe_target
from biso_tasks.actions.sets.stores import find_store
from biso_tasks.actions.sets.verifying import record
from biso_tasks.backup.store import Store
from biso_tasks.cli.call import Call
from biso_tasks.cli.pieces import read_piece, restore_path, restore_table
from biso_tasks.errors import Refused
from biso_tasks.session import Session
from biso_tasks.stage.bare import is_bare
from biso_tasks.stage.model import Area

__all__ = ["drill", "raw_needs_anonymising", "restore"]


def restore(call: Call, set_: str, to: str, only: str, from_: str, table: str, path: str) -> None:
    piece = read_piece(only, table, path)
    session = call.session()
    if to:
        call.require_named(session.environment(to))
    store, id = find_store(session, set_, from_)
    manifest = store.read(id).manifest
    name = to or manifest.environment
    environment = session.environment(name)
    call.require_named(environment)
    if table:
        restore_table(call, session, name, store, id, table)
        return
    if piece:
        restore_path(call, session, name, store, id, piece)
        return
    wanted = read_areas(only) if only else manifest.areas
    areas = cast("frozenset[Area]", frozenset(wanted))
    bare = is_bare(session.host(name), environment)
    work = (Bare if bare else FromSet)(
        session,
        "restore",
        call.run_id,
        places={"target": name},
        anonymize=raw_needs_anonymising(session, name, store, id, areas),
        store=store,
        id=id,
        areas=areas,
    )
    work.look_again()
    work.bind_values()
    call.document["source"] = id
    call.run_recipe(
        session,
        work,
        recipe="restore-bare" if isinstance(work, Bare) else "",
        confirm_name=name,
        production=environment.role == "production",
        header=(
            *describe_target(work),
            *(describe_bare(work) if isinstance(work, Bare) else ()),
            ("areas", ", ".join(area for area in manifest.areas if area in areas)),
            *_privacy(work),
        ),
        facts=lambda: said(work),
    )
    if work.swapped is None:
        return
    serves = f"{name} serves {id} ({', '.join(sorted(areas))})"
    if bare:
        call.text(f"{serves}, where nothing was before: there is no previous instance")
    else:
        call.text(
            f"{serves}; it was away for {work.swapped.downtime:.1f} s. `biso rollback --env "
            f"{name}` brings back what served before."
        )


def drill(call: Call, set_: str, on: str, from_: str) -> None:
    """`verify --drill`: the set restored beside a test instance, read back, thrown away."""
    session = call.session()
    store, id = find_store(session, set_, from_)
    name = on or session.site.refresh.to
    manifest = store.read(id).manifest
    work = FromSet(
        session,
        "verify",
        call.run_id,
        places={"target": name},
        anonymize=False,
        store=store,
        id=id,
        areas=cast("frozenset[Area]", frozenset(manifest.areas)),
        drill=True,
    )
    work.look_again()
    work.bind_values()
    done = call.run_recipe(
        session,
        work,
        recipe="drill",
        header=describe_target(work),
        facts=lambda: {"sets": [id], "findings": [], "drilled": work.read_back},
    )
    if done is None:
        return
    with store.lock(owner_of(call.run_id)):
        record(store, id, call.run_id, (), drilled=True)
    call.text(f"{id} was restored beside {name}, migrated, compared and read back: it can be used")


def raw_needs_anonymising(
    session: Session, name: str, store: Store, id: str, areas: frozenset[Area]
) -> bool:
    """Whether personal data comes to a test environment whose site anonymises. Raises Refused where
    that cannot be done."""
    manifest = store.read(id).manifest
    refreshed = areas & {"data", "database"}
    if (
        session.environment(name).role == "production"
        or not session.site.refresh.anonymize
        or not manifest.personal
        or not refreshed
    ):
        return False
    if "database" not in areas:
        raise Refused(
            f"{id} holds personal data, and {name} is a test environment of a site that "
            "anonymises: files alone cannot be anonymised, since the database says whose they are",
            hint="restore data and database together, or say anonymize = false under [refresh]",
        )
    return True


def said(work: FromSet) -> dict[str, Any]:
    """What the JSON says of a stage that was made of a set."""
    swapped, stage = work.swapped, work.stage
    kept = stage.main.previous if stage.main.swapped else work.target.layout.previous
    return {
        "downtime_seconds": None if swapped is None else round(swapped.downtime, 3),
        "previous": None if swapped is None or work.bare else kept,
        "proof": None if work.proof is None else work.proof.as_json(),
    }


def _privacy(work: FromSet) -> tuple[tuple[str, str], ...]:
    if work.target.environment.role == "production":
        return ()
    if work.anonymize:
        return (("personal data", "anonymised and proven before anybody sees it"),)
    if work.backup.manifest.personal:
        return (("personal data", "NOT anonymised: everybody on test will see it"),)
    return ()
