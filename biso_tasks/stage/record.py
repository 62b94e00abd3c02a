"""What a host remembers of its instances: which one is served, which one served before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from biso_tasks.errors import Refused
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.intent import now

__all__ = ["after_in_place", "after_refresh", "after_rollback", "previous_of", "require_not_raw"]


def after_refresh(instance: Instance, *, run: str, raw: bool, source: str) -> dict[str, Any]:
    """The record once the stage of `run` is served. `raw` says whether personal data is in it."""
    record = instance.state.read("instance") or {}
    return {
        "current": {"run": run, "raw": raw, "source": source, "since": now()},
        "previous": {**_known(record.get("current")), "until": now()},
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
    return {
        "current": {**_known(record.get("previous")), "since": now()},
        "previous": {**_known(record.get("current")), "until": now()},
    }


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
    """Raises Refused where the previous instance holds personal data and the site forbids that."""
    if required and previous.get("raw"):
        raise Refused(
            f"the previous instance of {instance.name} (run {previous.get('run')}) was not "
            'anonymised, and the site says anonymize = "required"',
            hint="refresh again instead",
        )


def _known(record: Any) -> dict[str, Any]:
    """An instance that was there before this tool came: nobody knows whether it is raw."""
    return dict(record) if isinstance(record, dict) else {"run": None, "raw": None}
