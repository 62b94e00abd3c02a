"""What a released set says of its proof: the table [proof] of its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.manifest import MANIFEST
from biso_tasks.backup.toml import Table

__all__ = ["ProofRecord"]


@dataclass(frozen=True, slots=True)
class ProofRecord:
    """`source`: the environment whose data it was; `snapshot`: the moment that the data is of, ISO
    8601 with its zone; `leaks`: how many, none in any set that was sealed. `inventory`: the SHA-256
    of privacy.toml, "" where there was none; `judged`: of what the run held each column for."""

    source: str
    run: str
    snapshot: str
    tool: str
    columns: int
    values: int
    files: int
    leaks: int
    sampled: bool
    inventory: str
    judged: str

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.snapshot)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> ProofRecord:
        """What `as_dict` gave. Raises BadSet, naming the key, for anything else."""
        table = Table(document, MANIFEST, "proof.")
        snapshot = table.text("snapshot")
        try:
            zone = datetime.fromisoformat(snapshot).tzinfo
        except ValueError as error:
            raise table.wrong("snapshot", f"{snapshot!r} is no moment") from error
        if zone is None:
            raise table.wrong("snapshot", f"{snapshot!r} has no time zone")
        unknown = sorted(set(document) - set(ProofRecord.__slots__))
        if unknown:
            raise BadSet(f"{MANIFEST}: proof.{unknown[0]}: is not known")
        return ProofRecord(
            source=table.text("source"),
            run=table.text("run"),
            snapshot=snapshot,
            tool=table.text("tool"),
            columns=table.number("columns"),
            values=table.number("values"),
            files=table.number("files"),
            leaks=table.number("leaks"),
            sampled=table.flag("sampled"),
            inventory=table.sha256("inventory") if table.text("inventory") else "",
            judged=table.sha256("judged"),
        )
