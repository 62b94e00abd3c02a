"""Work on one environment that is changed: what `lock` and `guard` need of any recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from biso_tasks.actions.kit import Work
from biso_tasks.errors import StepFailed
from biso_tasks.host.lease import Held
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.lock import require_free

__all__ = ["TargetWork"]


@dataclass(slots=True)
class TargetWork(Work, ABC):
    """`held` is the lock while it is held; `locked` what is closed to let it go."""

    held: Held | None = None
    locked: ExitStack = field(default_factory=ExitStack)

    @property
    @abstractmethod
    def target(self) -> Instance:
        """The instance that is changed."""

    def require_free(self, target: Instance) -> None:
        """Raises Locked where another run holds the target; our own lock is no hindrance."""
        if self.held is None:
            require_free(target.host, target.environment, target.layout)

    @abstractmethod
    def look_again(self) -> None:
        """Read all facts anew, guards included. Raises Refused."""

    @abstractmethod
    def fingerprint(self) -> Mapping[str, Any]:
        """The facts that the printed plan depends on."""

    def require_ours(self) -> None:
        """Raises StepFailed where the lock was lost (a link that was silent for a minute)."""
        if self.held is None or not self.held.alive:
            raise StepFailed(
                f"{self.target.name}: the lock was lost, since the link to its host was silent",
                hint="nothing was swapped; run it again when the network is well",
            )
