"""A release that is killed, fails or is cut off at every single step: the test instance serves what
it served, nothing of production is left beside it, and no set is handed out that is not whole."""

from __future__ import annotations

import pytest
from fault_cases import (
    EVERYTHING,
    LASTING,
    LINK_MANNERS,
    STEP_MANNERS,
    StepCase,
    all_manners,
    require_told,
    runs,
)
from fault_sets import opened
from fault_world import Run, World, recipes

from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.errors import BisoError

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
]

SEALING = ("seal-release", "retire-releases")
"""The steps that no other recipe has: ended in some manners also in a usual run."""


def cases() -> list[StepCase]:
    if EVERYTHING:
        steps = recipes()["release"]
        return [one for step in steps for one in all_manners("release", step.name, ("test",))]
    found = []
    for number, step in enumerate(recipes()["release"]):
        manners = STEP_MANNERS[1::4] if step.name == SEALING[0] else ()
        if step.name in (SEALING[1], "prove"):
            manners = (STEP_MANNERS[number % len(STEP_MANNERS)],)
        found += [StepCase("release", step.name, manner) for manner in manners]
    cut = LINK_MANNERS[1]
    return [*found, StepCase("release", SEALING[0], cut, "ssh", "test")]


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_release_that_ends_at_a_step_hands_out_nothing_that_is_not_whole(
    world: World, case: StepCase
) -> None:
    for run, spec in runs(world, case):
        _holds(world, case, run, spec["act"])


def _holds(world: World, case: StepCase, run: Run, act: str) -> None:
    require_told(run, act)
    always = {step.name for step in recipes()["release"] if step.always}
    if run.code != 6 and act not in (*LASTING, "cut") and case.step not in always:
        # It ended in good order: nothing is left for anybody to recover.
        assert world.check(run) == "old"
        require_whole(world, partial=False)
    again = world.recover()
    assert again.code == 0, again.err
    assert world.check(run) == "old"
    made = require_whole(world, partial=True)
    assert len(made) == (1 if run.code == 0 else len(made)) <= 1
    world.over = "local"
    after = world.run(world.spec(), *world.words("release"))
    assert after.code == 0, after.err
    assert require_whole(world, partial=False) == [*made, after.document["set"]]
    assert world.check(after) == "old"
    world.over = case.over


def test_a_set_that_cannot_be_sealed_leaves_none(world: World) -> None:
    """The store is somebody else's, or a file is in its place."""
    world.reset("again")
    place = world.store / "released"
    place.write_text("a file\n")
    try:
        run = world.run(world.spec(), *world.words("release"))
        assert run.code in (1, 3), run.err
        assert world.check(run) == "old"
    finally:
        place.unlink()


def require_whole(world: World, *, partial: bool) -> list[str]:
    """Every set that is listed as good is what was sealed; the ids, the oldest first. `partial`:
    what a killed run left may lie there, named as what it is."""
    with opened(world.store / "released", "test") as store:
        sets = store.list()
        for one in sets:
            if one.good:
                assert verify_set(store, one.id) == ()
                assert one.released
        rest = [one.state for one in sets if not one.good]
        assert rest in ([], ["partial"] if partial else []), rest
        _require_nothing_else(store)
        return [one.id for one in sets if one.good]


def _require_nothing_else(store: Store) -> None:
    """`resolve` gives the newest good one, or says that there is none."""
    good = [one.id for one in store.list() if one.good]
    try:
        assert store.resolve("released") == good[-1]
    except BisoError:
        assert not good
