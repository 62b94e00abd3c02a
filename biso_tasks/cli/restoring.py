"""`restore`: a backup set put back, whole, by area, or one piece of it."""

from __future__ import annotations

from typing import Any, cast

from biso_tasks.actions.sets.backup import read_areas
from biso_tasks.actions.sets.bare import Bare, describe_bare
from biso_tasks.actions.sets.missing import something_missing
from biso_tasks.actions.sets.raw import needs_anonymising, require_harmless, require_no_release
from biso_tasks.actions.sets.restore import FromSet, describe_target
from biso_tasks.actions.sets.stores import find_store
from biso_tasks.cli.call import Call
from biso_tasks.cli.pieces import read_piece, restore_path, restore_table
from biso_tasks.stage.model import Area

__all__ = ["restore", "said"]


def restore(call: Call, set_: str, to: str, only: str, from_: str, table: str, path: str) -> None:
    piece = read_piece(only, table, path)
    session = call.session()
    if to:
        call.require_named(session.environment(to))
    store, id = find_store(session, set_, from_)
    backup = store.read(id)
    manifest = backup.manifest
    name = to or manifest.environment
    environment = session.environment(name)
    call.require_named(environment)
    require_no_release(session, name, backup)
    if table:
        require_harmless(session, name, store, backup, "a table")
        restore_table(call, session, name, store, backup, table)
        return
    if piece:
        require_harmless(session, name, store, backup, "a file")
        restore_path(call, session, name, store, backup, piece)
        return
    wanted = read_areas(only) if only else manifest.areas
    areas = cast("frozenset[Area]", frozenset(wanted))
    missing = something_missing(session, name, manifest, areas)
    work = (Bare if missing else FromSet)(
        session,
        "restore",
        call.run_id,
        places={"target": name},
        anonymize=needs_anonymising(session, name, store, backup, areas),
        store=store,
        id=id,
        areas=areas,
        decided_on=backup,
    )
    work.look_again()
    work.bind_values()
    call.document["source"] = id
    call.run_recipe(
        session,
        work,
        recipe="restore-bare" if isinstance(work, Bare) else "",
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
    if not work.kept:
        call.text(f"{serves}, where nothing was before: there is no previous instance")
        return
    there = " of " + ", ".join(sorted(work.kept)) if work.lacking else ""
    call.text(
        f"{serves}; it was away for {work.swapped.downtime:.1f} s. `biso rollback --env {name}` "
        f"brings back what served before{there}."
    )


def said(work: FromSet) -> dict[str, Any]:
    """What the JSON says of a stage that was made of a set."""
    swapped, stage = work.swapped, work.stage
    with_database = stage.main.swapped and "database" in work.kept
    kept = stage.main.previous if with_database else work.target.layout.previous
    return {
        "downtime_seconds": None if swapped is None else round(swapped.downtime, 3),
        "previous": None if swapped is None or not work.kept else kept,
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
