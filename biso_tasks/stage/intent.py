"""Making the intent of a swap from what is found, and reading it back on another machine.

What is read back is checked against what the config says: a document that names other paths or
databases than this environment's is not followed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from biso_tasks.database import swap as databases
from biso_tasks.database.admin import admin
from biso_tasks.errors import NeedsPerson
from biso_tasks.files.places import Slot
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.exchange import find_slots, require_own
from biso_tasks.stage.model import AREAS, REFRESHED, Area, StagedDatabase
from biso_tasks.stage.swap import DatabasePart, Intent

__all__ = ["known_services", "make_intent", "now", "read_intent"]


def make_intent(
    instance: Instance,
    parts: Sequence[StagedDatabase],
    *,
    run: str,
    rollback: bool,
    services: tuple[str, ...],
    in_maintenance: bool,
    document: Mapping[str, Any],
    statements: Mapping[str, tuple[str, ...]],
    areas: Collection[Area] = REFRESHED,
) -> Intent:
    """Who stands where now, of the `areas` that are exchanged: `parts` count only with "database"
    among them. `statements` are executed with the renames, by live database. Raises StepFailed
    where a database or a directory that must come in is not there, and Refused where a directory
    could not be renamed."""
    if "database" not in areas:
        parts = ()
    return Intent(
        run=run,
        rollback=rollback,
        parts=tuple(_part(part, rollback, statements.get(part.live, ())) for part in parts),
        slots=find_slots(instance, areas, rollback=rollback),
        services=services,
        in_maintenance=in_maintenance,
        document=document,
        areas=frozenset(areas),
    )


def read_intent(
    instance: Instance, document: Mapping[str, Any], known: Sequence[StagedDatabase]
) -> Intent:
    """The intent that an interrupted run left. Raises NeedsPerson where it does not fit."""
    by_live = {database.live: database for database in known}
    try:
        parts = []
        for entry in document["databases"]:
            database = by_live[entry["live"]]
            names = (database.stage, database.previous)
            if (entry["stage"], entry["previous"]) != names:
                raise KeyError("stage")
            parts.append(
                DatabasePart(
                    database.server,
                    database.live,
                    *names,
                    incoming=int(entry["incoming"]),
                    outgoing=int(entry["outgoing"]),
                )
            )
        slots = tuple(Slot.from_dict(entry) for entry in document["slots"])
        require_own(instance, slots)
        return Intent(
            run=str(document["run"]),
            rollback=bool(document["rollback"]),
            parts=tuple(parts),
            slots=slots,
            services=known_services(instance, document["services"]),
            in_maintenance=bool(document["in_maintenance"]),
            document=dict(document["document"]),
            areas=_areas(document, parts),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NeedsPerson(
            f"{instance.name}: {instance.layout.stage_dir}/intent.json does not fit this "
            f"environment ({error})",
            hint="was the database, data dir or stage_dir changed in the config since? put it back "
            "and run `biso recover` again",
        ) from error


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _part(database: StagedDatabase, rollback: bool, statements: tuple[str, ...]) -> DatabasePart:
    rename = databases.Rename(database.live, database.stage, database.previous)
    with admin(database.server) as role:
        (intent,) = databases.intent(role, [rename], backwards=rollback)
    assert intent.outgoing is not None
    return DatabasePart(
        database.server,
        database.live,
        database.stage,
        database.previous,
        incoming=intent.incoming,
        outgoing=intent.outgoing,
        statements=statements,
    )


def _areas(document: Mapping[str, Any], parts: Sequence[DatabasePart]) -> frozenset[Area]:
    """Raises ValueError where the commit point could not be told: with a database it is the
    transaction, without one the last rename."""
    named = document.get("areas", sorted(REFRESHED))
    areas = frozenset(area for area in AREAS if area in named)
    if len(areas) != len(named) or bool(parts) != ("database" in areas):
        raise ValueError(f"its areas are {named!r}")
    return areas


def known_services(instance: Instance, names: Sequence[Any]) -> tuple[str, ...]:
    """Service names that a document gives. Raises ValueError for one that biso.toml does not."""
    known = instance.environment.services.stop
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"it names the service {unknown[0]!r}")
    return tuple(str(name) for name in names)
