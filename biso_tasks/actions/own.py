"""The work of a site's own recipe, and of a plugin's: commands and actions of plugins. Of the
built-in actions, it may hold one environment while it works: `lock`, `guard`, `unlock`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from biso_tasks.actions.staged.work import identity
from biso_tasks.actions.target import TargetWork
from biso_tasks.errors import UsageError
from biso_tasks.flow.recipe import Recipe
from biso_tasks.instance.instance import Instance

__all__ = ["HOLDING", "OwnWork", "held_by"]

HOLDING: Final = ("lock", "guard", "unlock")


@dataclass(slots=True)
class OwnWork(TargetWork):
    """`holds` is the environment that its steps `lock`, `guard` and `unlock` are on, "" where it
    has none: then nothing is contacted while planning."""

    holds: str = ""
    instance: Instance | None = None

    @property
    def target(self) -> Instance:
        if self.instance is None:
            if not self.holds:
                raise UsageError(
                    "this recipe holds no environment", hint="its step `lock` says which: on = …"
                )
            self.instance = self.session.instance(self.holds)
        return self.instance

    def look_again(self) -> None:
        if self.holds:
            self.instance = self.session.instance(self.holds)
            self.require_free(self.instance)
            # Let go of even where the recipe has no step for it.
            self.open.callback(self.locked.close)

    def fingerprint(self) -> Mapping[str, Any]:
        return {self.target.name: identity(self.target)}


def held_by(recipe: Recipe) -> tuple[str, ...]:
    """The environments that its steps hold; more than one cannot be."""
    return tuple(dict.fromkeys(spec.on for spec in recipe.steps if spec.uses in HOLDING))
