"""What is written on a host before an in-place refresh changes anything, and read back there by
whoever recovers it. A document that does not fit this environment is not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from biso_tasks.database.dumpfile import Dumped
from biso_tasks.database.grants import Grant
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import Counts
from biso_tasks.errors import NeedsPerson
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.intent import known_services, now

__all__ = ["Before", "DatabaseBefore", "Phase", "misfit", "read_before"]

Phase = Literal["offline", "replacing", "proven", "restored"]


@dataclass(frozen=True, slots=True)
class DatabaseBefore:
    """One live database as it was: what belongs to it as a whole, and once it is dumped, the dump
    with what the dump does not hold."""

    live: str
    settings: Settings
    comment: str | None
    dump: Dumped | None = None
    counts: Counts | None = None
    grants: tuple[Grant, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "live": self.live,
            **self.settings.as_dict(),
            "comment": self.comment,
            "dump": None if self.dump is None else self.dump.as_dict(),
            "counts": None if self.counts is None else self.counts.as_dict(),
            "grants": [
                [one.target, one.grantee, one.privilege, one.grantable, one.columns]
                for one in self.grants
            ],
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> DatabaseBefore:
        counts, dumped = document["counts"], document["dump"]
        return DatabaseBefore(
            str(document["live"]),
            Settings.from_dict(document),
            document["comment"],
            None if dumped is None else Dumped.from_dict(dumped),
            None if counts is None else Counts.from_dict(counts),
            tuple(Grant(*one) for one in document["grants"]),
        )


@dataclass(frozen=True, slots=True)
class Before:
    """What is written on the host: everything that `recover` needs. `record` is what the host keeps
    as its record of the instance once the new content is served."""

    run: str
    phase: Phase
    services: tuple[str, ...]
    in_maintenance: bool
    databases: tuple[DatabaseBefore, ...]
    record: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": "in-place",
            "run": self.run,
            "phase": self.phase,
            "at": now(),
            "services": list(self.services),
            "in_maintenance": self.in_maintenance,
            "databases": [one.as_dict() for one in self.databases],
            "record": dict(self.record),
        }


def read_before(instance: Instance, document: Mapping[str, Any]) -> Before:
    """The intent that an interrupted run left. Raises NeedsPerson where it does not fit."""
    try:
        phase = document["phase"]
        if phase not in get_args(Phase):
            raise ValueError(f"phase {phase!r}")
        return Before(
            run=str(document["run"]),
            phase=phase,
            services=known_services(instance, document["services"]),
            in_maintenance=bool(document["in_maintenance"]),
            databases=tuple(DatabaseBefore.from_dict(one) for one in document["databases"]),
            record=dict(document["record"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise misfit(instance, str(error)) from error


def misfit(instance: Instance, why: str) -> NeedsPerson:
    """The error for a document that cannot be followed."""
    return NeedsPerson(
        f"{instance.name}: {instance.layout.stage_dir}/intent.json does not fit this environment "
        f"({why})",
        hint="was the database or stage_dir changed in the config since? put it back and run "
        "`biso recover` again",
    )
