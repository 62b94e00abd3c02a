"""A refresh in place, killed or failing at every single step: nobody is ever served what is not
whole, and `recover`, run on another machine, makes it the old instance or the complete new one.

The cases come from the recipe. One manner a step in a usual run; everything with

    BISO_FAULTS=all pytest tests/faults -n 2
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_cases import LASTING, StepCase, in_place_cases, require_told, runs
from fault_world import IN_PLACE, Run, World, recipes

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
]

STEPS = [step.name for step in recipes(without=())[IN_PLACE]]
ALWAYS = {step.name for step in recipes(without=())[IN_PLACE] if step.always}
BEGIN = STEPS.index("begin")


@pytest.fixture
def in_place(world: World) -> Iterator[World]:
    """The same site, on both machines, with `strategy = "in-place"`."""
    world.in_place = True
    with world.configured(refresh='strategy = "in-place"'):
        yield world
    world.in_place = False


@pytest.mark.parametrize("case", in_place_cases(), ids=str)
def test_a_fault_in_place_leaves_the_old_instance_or_the_complete_new_one(
    in_place: World, case: StepCase
) -> None:
    world = in_place
    for run, spec in runs(world, case):
        _holds(world, case, run, spec["act"])


def _holds(world: World, case: StepCase, run: Run, act: str) -> None:
    # 6: from `begin` on a person has to recover, which is said before it starts
    require_told(run, act, more=(6,))
    begun = (world.stage_dir / "intent.json").exists()
    now = world.served_now(run)
    # Production's rows are in the live database in between: nobody may see them, not even broken.
    assert now in (("old", "new", "maintenance") if begun else ("old", "new")), now
    if begun and BEGIN < STEPS.index(case.step) < STEPS.index("online"):
        assert now == "maintenance"
    if act not in LASTING and run.code != 6 and case.step not in ALWAYS:
        world.check(run)
    again = world.recover()
    assert again.code == 0, again.err
    served = world.check(run)
    if not begun:
        assert served == now
    if run.code == 0:
        assert served == "new"
    elif STEPS.index(case.step) < STEPS.index("online"):
        assert served == "old"
