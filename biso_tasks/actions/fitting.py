"""Which recipe works on what, and which actions can be named in it: known without asking a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from biso_tasks.actions import locking
from biso_tasks.actions.in_place import filling as in_place_filling
from biso_tasks.actions.in_place import steps as in_place
from biso_tasks.actions.kit import Work
from biso_tasks.actions.live import filing, staging
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.actions.own import OwnWork
from biso_tasks.actions.sets import (
    baselining,
    capturing,
    furnishing,
    path_piece,
    pruning,
    reading_back,
    releasing,
    sealing,
    table_piece,
    unpacking,
    unpacking_files,
    verifying,
)
from biso_tasks.actions.sets.backup import Backup
from biso_tasks.actions.sets.bare import Bare
from biso_tasks.actions.sets.path_piece import OnePath
from biso_tasks.actions.sets.pruning import Prune
from biso_tasks.actions.sets.release import Release
from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.actions.sets.table_piece import OneTable
from biso_tasks.actions.sets.verifying import Verify
from biso_tasks.actions.staged import finishing, naming, preparing, swapping
from biso_tasks.actions.staged.swapping import Rollback
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.actions.target import TargetWork
from biso_tasks.flow.recipe import Recipe
from biso_tasks.hooks.types import Action

__all__ = ["NEEDED", "WORKS", "Fit", "fit_of", "work_of"]

WORKS: Final[Mapping[str, type[Work]]] = {
    "refresh-test": Refresh,
    "refresh-in-place": Refresh,
    "anonymize": Refresh,
    "release": Release,
    "refresh-from-set": FromSet,
    "restore": FromSet,
    "restore-bare": Bare,
    "restore-table": OneTable,
    "restore-path": OnePath,
    "reset-test": FromSet,
    "drill": FromSet,
    "rollback": Rollback,
    "backup": Backup,
    "baseline": Backup,
    "verify": Verify,
    "prune": Prune,
}

_GROUPS: Final[tuple[tuple[type[Work], tuple[Action, ...]], ...]] = (
    (TargetWork, locking.ACTIONS),
    (Refresh, (*staging.ACTIONS, *filing.ACTIONS, *in_place.ACTIONS, *in_place_filling.ACTIONS)),
    (StageWork, (*preparing.ACTIONS, *naming.ACTIONS, *finishing.ACTIONS, *swapping.ACTIONS)),
    (Backup, (*capturing.ACTIONS, *sealing.ACTIONS, *baselining.ACTIONS)),
    (Release, releasing.ACTIONS),
    (FromSet, (*unpacking.ACTIONS, *unpacking_files.ACTIONS, *reading_back.ACTIONS)),
    (Bare, furnishing.ACTIONS),
    (OneTable, table_piece.ACTIONS),
    (OnePath, path_piece.ACTIONS),
    (Verify, verifying.ACTIONS),
    (Prune, pruning.ACTIONS),
)
NEEDED: Final[Mapping[str, type[Work]]] = {
    **{action.name: work for work, actions in _GROUPS for action in actions},
    "stage-open": StageWork,
    "stage-close": StageWork,
    "check-services": StageWork,
    "swap-previous": Rollback,
}
"""The work that each built-in action needs."""


def work_of(recipe: str) -> type[Work]:
    """What a recipe of this name works on."""
    return WORKS.get(recipe, OwnWork)


class Fit:
    """Whether an action fits a recipe. `parts` are the recipes by the actions that they use, `core`
    those whose own steps are their safety: nobody else may name these."""

    def __init__(self, shipped: Iterable[Recipe]) -> None:
        self._parts: dict[str, list[str]] = {}
        self._core: set[str] = set()
        for recipe in shipped:
            for spec in recipe.steps:
                if spec.uses:
                    self._parts.setdefault(spec.uses, []).append(recipe.name)
                if spec.core:
                    self._core.add(spec.uses)

    def fits(self, action: str, recipe: str) -> bool:
        """Of a plugin: always. A built-in one: where its work is done, and the safety of a recipe
        does not depend on when it happens (a swap before the proof)."""
        if action not in NEEDED:
            return True
        own = recipe not in WORKS
        return issubclass(work_of(recipe), NEEDED[action]) and (own or action not in self._core)

    def part_of(self, action: str) -> str:
        """The recipes that it belongs to, in words."""
        names = list(dict.fromkeys(self._parts.get(action, ())))
        return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def fit_of(recipes: Mapping[str, Recipe]) -> Fit:
    """From the recipes as they are shipped."""
    return Fit(recipe for name, recipe in recipes.items() if name in WORKS)
