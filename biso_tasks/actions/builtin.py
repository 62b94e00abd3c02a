"""The built-in actions and recipes, registered through the same hooks as those of a site."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from biso_tasks.actions import locking
from biso_tasks.actions.in_place import filling as in_place_filling
from biso_tasks.actions.in_place import steps as in_place
from biso_tasks.actions.live import filing, staging
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
from biso_tasks.actions.staged import finishing, naming, preparing, swapping
from biso_tasks.hooks.specs import hookimpl
from biso_tasks.hooks.types import Action, RecipeText, Site

__all__ = ["biso_actions", "biso_recipes"]


@hookimpl
def biso_actions(site: Site) -> Sequence[Action]:
    return (
        *locking.ACTIONS,
        *staging.ACTIONS,
        *filing.ACTIONS,
        *preparing.ACTIONS,
        *naming.ACTIONS,
        *finishing.ACTIONS,
        *swapping.ACTIONS,
        *in_place.ACTIONS,
        *in_place_filling.ACTIONS,
        *capturing.ACTIONS,
        *sealing.ACTIONS,
        *baselining.ACTIONS,
        *releasing.ACTIONS,
        *verifying.ACTIONS,
        *unpacking.ACTIONS,
        *unpacking_files.ACTIONS,
        *reading_back.ACTIONS,
        *furnishing.ACTIONS,
        *table_piece.ACTIONS,
        *path_piece.ACTIONS,
        *pruning.ACTIONS,
    )


@hookimpl
def biso_recipes(site: Site) -> Sequence[RecipeText]:
    folder = files("biso_tasks.actions").joinpath("builtin_recipes")
    return [
        RecipeText(entry.read_text(encoding="utf-8"), entry.name)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    ]
