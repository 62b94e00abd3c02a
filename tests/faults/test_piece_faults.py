"""One path or one table of a set, brought back by a run in which something goes wrong at any step:
the live instance is what it was, or has exactly that piece more, and nothing else is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from fault_cases import (
    CODES,
    EVERYTHING,
    LASTING,
    PATIENCE,
    STEP_MANNERS,
    StepCase,
    all_manners,
    missed,
    specs,
)
from fault_sets import damaged
from fault_world import LIVE, PIECES, Picture, Run, World, recipes

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

PUT = ("place-path", "bring-table")
"""The steps that change what is served: ended in some manners also in a usual run."""


def cases() -> list[StepCase]:
    found = []
    for recipe in PIECES:
        for step in recipes(without=())[recipe]:
            if EVERYTHING:
                found += all_manners(recipe, step.name, ("test",))
            elif step.uses in PUT:
                found += [StepCase(recipe, step.name, manner) for manner in STEP_MANNERS[2:4]]
    return found


@pytest.fixture
def openly(world: World) -> Iterator[World]:
    """The same site, which does not anonymise: a piece of production's could not be, and is
    refused otherwise."""
    with world.refreshing("anonymize = false"):
        yield world


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_piece_is_there_whole_or_not_at_all(openly: World, case: StepCase) -> None:
    world = openly
    after = _whole(world, case.recipe)
    for spec in specs(world, case):
        run = world.run(spec, *world.words(case.recipe), seconds=PATIENCE)
        if not missed(case, run):
            _holds(world, case, run, spec["act"], after)


def _whole(world: World, recipe: str) -> Picture | None:
    """The live instance after a run in which nothing goes wrong."""
    if recipe not in _WHOLE:
        world.over = "local"
        world.reset("again")
        run = world.run(world.spec(), *world.words(recipe))
        assert run.code == 0, run.err
        _WHOLE[recipe] = world.picture(LIVE)
        assert _WHOLE[recipe] != world.base["again"][0]
    return _WHOLE[recipe]


_WHOLE: dict[str, Picture | None] = {}


def _holds(world: World, case: StepCase, run: Run, act: str, after: Picture | None) -> None:
    assert run.code in CODES[act], f"exit {run.code}\n{run.err[-2000:]}"
    always = {step.name for step in recipes(without=())[case.recipe] if step.always}
    if act not in LASTING and run.code != 6 and case.step not in always:
        _require_whole(world, run, after)
    again = world.recover()
    assert again.code == 0, again.err
    now = _require_whole(world, run, after)
    if run.code == 0:
        assert now == after
    assert damaged(world) == []


def _require_whole(world: World, run: Run, after: Picture | None) -> Picture | None:
    before = world.base["again"][0]
    now = world.picture(LIVE)
    assert now in (before, after), f"neither before nor after\n{run.err[-2000:]}"
    # What stood there is kept on purpose, until somebody removes it.
    shutil.rmtree(world.stage_dir / "replaced", ignore_errors=True)
    assert world.ask()[0] == 200
    assert world.databases()[LIVE] == world.acl
    assert world.left_behind() == []
    assert world.prod_picture() == world.prod_before
    return now
