"""What is said of actions and recipes before anything is contacted is what they are."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions import builtin
from biso_tasks.actions.fitting import NEEDED, WORKS, fit_of, work_of
from biso_tasks.actions.in_place import steps as in_place
from biso_tasks.actions.staged import finishing, swapping
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.errors import ProofFailed
from biso_tasks.flow.recipe import Recipe, parse
from biso_tasks.hooks.types import Action
from biso_tasks.privacy.prove import Leak, Proof


def actions() -> dict[str, Action]:
    return {one.name: one for one in builtin.biso_actions(site=None)}  # type: ignore[arg-type]


def recipes() -> dict[str, Recipe]:
    texts = builtin.biso_recipes(site=None)  # type: ignore[arg-type]
    found = [parse(one.text, one.source) for one in texts]
    return {one.name: one for one in found}


def test_the_work_that_an_action_needs_is_the_one_that_it_takes() -> None:
    assert set(NEEDED) == set(actions())
    for name, action in actions().items():
        (taken,) = inspect.signature(action.run).parameters.values()
        kind = re.fullmatch(r"Context\[(\w+)\]", taken.annotation)
        assert kind is not None, name
        assert NEEDED[name].__name__ == kind[1], name


def test_every_built_in_recipe_fits_what_it_works_on() -> None:
    known = recipes()
    assert set(WORKS) == set(known)
    for recipe in known.values():
        work = work_of(recipe.name)
        for spec in recipe.steps:
            assert issubclass(work, NEEDED[spec.uses]), (recipe.name, spec.name)
            assert not spec.on or spec.on in work.PLACES, (recipe.name, spec.name)
            assert not spec.when or spec.when.removeprefix("not ") in work.CONDITIONS
        assert set(recipe.confirm) <= set(work.PLACES)


def test_what_safety_rests_on_can_be_named_by_nobody_else() -> None:
    fit = fit_of(recipes())
    for action in ("swap", "stage-open", "lock", "unlock", "prove", "in-place-online", "snapshot"):
        for recipe in WORKS:
            assert not fit.fits(action, recipe), (action, recipe)
    assert fit.fits("migrate", "refresh-test") and fit.fits("of-a-plugin", "refresh-test")
    assert not fit.fits("migrate", "backup") and not fit.fits("migrate", "of-the-site")
    assert [name for name in NEEDED if fit.fits(name, "of-the-site")] == ["lock", "guard", "unlock"]


@pytest.mark.parametrize(
    "proof", [None, Proof(1, 1, 1, (Leak("x", "name"),))], ids=["unproven", "leaking"]
)
@pytest.mark.parametrize("serve", [finishing._finish, swapping._swap, in_place._online])
def test_nothing_that_was_to_be_anonymised_is_served_unproven(serve: Any, proof: Any) -> None:
    """Whatever becomes of the order of steps: nothing else of the work is even looked at."""
    work: Any = SimpleNamespace(anonymize=True, proof=proof, target=SimpleNamespace(name="test"))
    work.require_proven = lambda: StageWork.require_proven(work)
    with pytest.raises(ProofFailed, match="before the proof"):
        serve(SimpleNamespace(work=work))
    work.anonymize = False
    with pytest.raises(AttributeError):
        serve(SimpleNamespace(work=work))
