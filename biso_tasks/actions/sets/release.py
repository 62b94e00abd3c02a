"""The work of `release`: what is surveyed for a set that may be handed out, and what its steps hand
on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.actions.live.survey import survey
from biso_tasks.actions.sets.backup import require_outside
from biso_tasks.backup.ids import new_id
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.config.model import Refresh as RefreshConfig
from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.space import human, require_space
from biso_tasks.stage.space import tree_size

__all__ = ["Release", "describe_release"]


@dataclass(slots=True)
class Release(Refresh):
    """The work of `release`. `target` is the test instance in whose stage the set is made: it goes
    on being served, and nothing of its own comes into the set."""

    VALUES: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        **Refresh.VALUES,
        "set.id": lambda work: work.id,
        "set.path": lambda work: work.sets.set_path(work.id),
    }

    store: Store | None = None
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    building: bool = False
    sealed: BackupSet | None = None

    @property
    def sets(self) -> Store:
        assert self.store is not None
        return self.store

    @property
    def id(self) -> str:
        return new_id(self.moment, self.places["target"])

    @property
    def config(self) -> RefreshConfig:
        """Without the test instance's own rows and files: they are not production's, and what is
        kept of them is not searched."""
        return replace(self.session.site.refresh, keep_tables=(), keep_rows=(), keep_files=())

    def accept_sample(self) -> None:
        bound = self.session.site.privacy.bound
        raise Refused(
            f"{self.places['source']} has more personal values than the {bound} that the proof "
            "knows, and a release that only a sample was looked for in is none",
            hint="nothing was sealed; raise `bound` in [privacy] (a value takes some ten bytes of "
            "memory here), or say in privacy.toml what is harmless",
        )

    def require_proven(self) -> None:
        Refresh.require_proven(self)
        if self.proof is not None and self.proof.sampled:
            self.accept_sample()

    def look_again(self) -> None:
        found = survey(
            self.session,
            self.places["source"],
            self.places["target"],
            run=self.run_id,
            anonymize=True,
            require_free=self.require_free,
            served=False,
        )
        require_outside(found.target, self.sets)
        size, count = tree_size(found.source, found.source.layout.datadir)
        require_space(
            Access(found.target.host),
            self.sets.path,
            bytes_needed=size + found.source_facts[0].bytes,
            inodes_needed=count,
            purpose="a release",
        )
        self.survey = found


def describe_release(work: Release) -> tuple[tuple[str, str], ...]:
    """What stands above the plan."""
    facts = work.facts
    size = human(facts.source_facts[0].bytes)
    return (
        ("from", f"{facts.source.name}: {facts.source.host.address or 'this machine'}, database "
                 f"{facts.source.facts.database.dbname} ({size})"),
        ("staged on", f"{facts.target.name}: {facts.target.host.address or 'this machine'}; what "
                      "it serves is not touched"),
        ("into", work.sets.set_path(work.id)),
        ("personal data", "anonymised and proven before it is sealed"),
    )  # fmt: skip
