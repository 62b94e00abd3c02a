"""A stage that was kept after a failure, to look into: it holds what was not proven, so it is kept
for a time only. `prune` removes it then; `recover` and the next refresh do whenever they come by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import Stage
from biso_tasks.stage.own_role import extend_roles

__all__ = ["NAME", "KeptStage", "keep_stage", "kept_stage"]

NAME = "kept"


@dataclass(frozen=True, slots=True)
class KeptStage:
    """Which run left it, and until when it may stay (UTC)."""

    run: str
    until: datetime

    @property
    def said(self) -> str:
        return f"run {self.run} left it to look into until {self.until:%Y-%m-%d %H:%M} UTC"

    def expired(self, moment: datetime) -> bool:
        return moment >= self.until


def keep_stage(stage: Stage, seconds: float) -> KeptStage:
    """Write down that the stage stays for so long; as long its roles may log in."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    kept = KeptStage(stage.run, until)
    document = {"run": kept.run, "until": until.isoformat(timespec="seconds")}
    stage.instance.state.write(NAME, document)
    extend_roles(stage, seconds)
    return kept


def kept_stage(instance: Instance) -> KeptStage | None:
    """The stage that is kept there, None where there is none. One of which nobody can tell until
    when has stayed for long enough."""
    document = instance.state.read(NAME)
    if document is None:
        return None
    try:
        until = datetime.fromisoformat(str(document.get("until")))
    except ValueError:
        until = datetime.fromtimestamp(0, UTC)
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return KeptStage(str(document.get("run")), aware)
