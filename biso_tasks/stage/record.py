"""What a host remembers of its instances: which one is served, which one served before, and which
areas the two differ in, so that a rollback exchanges those and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from biso_tasks.errors import Refused
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.intent import now
from biso_tasks.stage.model import AREAS, REFRESHED, Area

__all__ = [
    "after_in_place",
    "after_refresh",
    "after_rollback",
    "after_swap",
    "areas_of",
    "previous_of",
    "require_not_raw",
]


def after_refresh(instance: Instance, *, run: str, raw: bool, source: str) -> dict[str, Any]:
    """The record once the stage of `run` is served. `raw` says whether personal data is in it."""
    return after_swap(instance, run=run, raw=raw, source=source, areas=REFRESHED)


def after_swap(
    instance: Instance,
    *,
    run: str,
    raw: bool,
    source: str,
    areas: Collection[Area],
    lacking: Collection[Area] = (),
    proven: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record once `areas` of the stage of `run` are served. `source` is an environment or a
    set's id, `raw` says whether personal data came in with them, `proven` what proved that none
    did. Of the areas that were `lacking` only a shell served before: to that there is no way
    back."""
    record = instance.state.read("instance") or {}
    stays = _known(record.get("current"))
    named = _named(areas)
    kept = _named(set(areas) - set(lacking))
    since = now()
    is_raw = _raw(raw, stays["raw"], areas)
    return {
        "current": {
            "run": run,
            "raw": is_raw,
            "source": source,
            "since": since,
            "areas": named,
            **_proven(is_raw, proven, stays),
        },
        "previous": {**stays, "until": since, "areas": kept} if kept else None,
    }


def after_in_place(instance: Instance, *, run: str, raw: bool, source: str) -> dict[str, Any]:
    """The record once the instance was refreshed where it stands: the previous instance is the one
    of before, if there was one."""
    record = instance.state.read("instance") or {}
    current = {"run": run, "raw": raw, "source": source, "since": now()}
    return {**record, "current": current}


def after_rollback(instance: Instance) -> dict[str, Any]:
    """The record once the previous instance is served again."""
    record = instance.state.read("instance") or {}
    coming, going = _known(record.get("previous")), _known(record.get("current"))
    areas = areas_of(coming)
    raw = _raw(coming["raw"], going["raw"], areas)
    return {
        "current": {**coming, "raw": raw, "since": now(), "areas": _named(areas)},
        "previous": {**going, "until": now(), "areas": _named(areas)},
    }


def areas_of(instance: Mapping[str, Any]) -> frozenset[Area]:
    """Which areas were exchanged when the instance of this record came or went: what a rollback
    exchanges. A record of an older version is one of a refresh."""
    named = instance.get("areas")
    return frozenset(area for area in AREAS if area in named) if named else REFRESHED


def previous_of(instance: Instance) -> dict[str, Any]:
    """The record of the previous instance. Raises Refused where there is none."""
    previous = (instance.state.read("instance") or {}).get("previous")
    if not isinstance(previous, dict):
        raise Refused(
            f"{instance.name} has no previous instance to go back to",
            hint="the first refresh makes one; `prune` and the next refresh remove it",
        )
    return previous


def require_not_raw(instance: Instance, previous: Mapping[str, Any], *, required: bool) -> None:
    """Raises Refused where the previous instance holds personal data, or nobody knows whether it
    does, and the site forbids that."""
    if required and previous.get("raw") is not False and areas_of(previous) & REFRESHED:
        raise Refused(
            f"the previous instance of {instance.name} (run {previous.get('run') or 'unknown'}) "
            'was not anonymised by this tool, and the site says anonymize = "required"',
            hint="refresh again instead",
        )


def _raw(coming: bool | None, staying: bool | None, areas: Collection[Area]) -> bool | None:
    """Whether personal data is in an instance of which only `areas` came in; None: nobody knows.
    There is none in a webroot."""
    exchanged = REFRESHED.intersection(areas)
    if not exchanged:
        return staying
    if exchanged == REFRESHED:
        return coming
    if True in (coming, staying):
        return True
    return None if None in (coming, staying) else False


def _proven(
    raw: bool | None, coming: Mapping[str, Any] | None, staying: Mapping[str, Any]
) -> dict[str, Any]:
    """What proved that an instance is not raw: the record of what came, or of what stays."""
    found = coming or staying.get("proven")
    return {"proven": dict(found)} if raw is False and found else {}


def _named(areas: Collection[Area]) -> list[Area]:
    return [area for area in AREAS if area in areas]


def _known(record: Any) -> dict[str, Any]:
    """An instance that was there before this tool came: nobody knows whether it is raw."""
    return {"run": None, "raw": None, **(record if isinstance(record, dict) else {})}
