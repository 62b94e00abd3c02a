"""The command that makes a backup set."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.sets.backup import Backup, read_areas
from biso_tasks.actions.sets.stores import own_store
from biso_tasks.cli.call import Call
from biso_tasks.cli.sealed import sealed_set
from biso_tasks.files.space import human

__all__ = ["backup"]


def backup(call: Call, env: str, only: str, no_maintenance: bool) -> None:
    session = call.session()
    config = session.site.backup
    name = env or config.environment
    work = Backup(
        session,
        "backup",
        call.run_id,
        places={"source": name},
        areas=read_areas(only),
        maintenance="none" if no_maintenance else config.maintenance,
        store=own_store(session, name),
    )
    work.look_again()
    work.bind_values()
    header = (
        ("of", f"{name}: {work.target.host.address or 'this machine'}, {', '.join(work.areas)}"),
        ("into", work.sets.set_path(work.id)),
        ("maintenance", _MAINTENANCE[work.maintenance]),
    )

    def said() -> dict[str, Any]:
        return {
            **sealed_set(work.sealed),
            "maintenance_seconds": round(work.maintenance_seconds, 3),
        }

    call.run_recipe(session, work, header=header, facts=said)
    if work.sealed is not None:
        kept_out = f"{work.maintenance_seconds:.1f} s in maintenance"
        call.text(
            f"{work.sealed.id} is a good set: {human(work.sealed.manifest.size)} at "
            f"{work.sealed.path}; {name} was {kept_out}. `biso verify --drill` proves that it "
            "can be restored."
        )


_MAINTENANCE = {
    "short": "for a moment, while the snapshot is taken",
    "whole": "until the set is checked",
    "none": "none: files and rows may differ by moments",
}
