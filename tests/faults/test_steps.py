"""Killed or failing at every single step: the served test instance is the old one or the complete
new one, and nothing is left behind once `recover` has run on another machine.

The cases come from the recipes themselves. One manner a step in a usual run; everything with

    BISO_FAULTS=all pytest tests/faults -n 2

`python tests/faults/table.py` writes docs/reliability.md from such a run.
"""

from __future__ import annotations

import pytest
from fault_cases import (
    EVERYTHING,
    LASTING,
    ExchangeCase,
    StepCase,
    exchange_cases,
    require_told,
    runs,
    step_cases,
)
from fault_sets import damaged
from fault_world import SWAPS, Run, World, recipes

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
]


@pytest.mark.parametrize("case", step_cases(), ids=str)
def test_a_fault_at_a_step_leaves_the_old_instance_or_the_complete_new_one(
    world: World, case: StepCase
) -> None:
    always = {step.name for step in recipes()[case.recipe] if step.always}
    for run, spec in runs(world, case, may_be_skipped=("keep", "originals")):
        _holds(world, run, case.recipe, act=spec["act"], tidy=case.step not in always)


@pytest.mark.parametrize("case", exchange_cases(), ids=str)
def test_a_fault_at_any_verb_of_the_swap_is_put_right_from_another_machine(
    world: World, case: ExchangeCase
) -> None:
    world.over = case.over
    verbs = world.points(case.recipe, "again")["exchange"]
    points = range(case.share + 1, len(verbs) + 1, 8)
    if not EVERYTHING:
        points = points[:: max(1, len(points) - 1)][:1]
    failures = []
    for call in points:
        world.reset("again")
        spec = world.spec(
            scope="exchange", call=call, side=case.manner.side, act=case.manner.act, cut=("test",)
        )
        run = world.run(spec, *world.words(case.recipe))
        try:
            assert run.reached
            _holds(world, run, case.recipe, act=case.manner.act, tidy=False)
        except AssertionError as error:
            failures.append(f"{case.manner} verb {call} ({verbs[call - 1][:80]}): {error}")
    assert not failures, "\n\n".join(failures)


def _holds(world: World, run: Run, recipe: str, *, act: str, tidy: bool) -> None:
    """What must hold at once, and after `recover`."""
    rollback = recipe == "rollback"
    in_swap = (world.stage_dir / "intent.json").exists()
    now = world.served_now(run, rollback=rollback)
    if in_swap:
        assert now in ("old", "new", "maintenance") or now.startswith("broken"), now
    else:
        assert now in ("old", "new"), f"{now} is served, and no swap was under way"
    require_told(run, act)
    if tidy and act not in LASTING and run.code != 6:
        # It ended in good order: nothing is left for anybody to recover.
        world.check(run, rollback=rollback)
    again = world.recover()
    assert again.code == 0, again.err
    served = world.check(run, rollback=rollback)
    if now in ("old", "new") and not in_swap:
        assert served == now
    swaps = any(step.uses in SWAPS for step in recipes()[recipe])
    if run.code == 0 and swaps:
        assert served == "new"
    # Whatever was read of a set: an interrupted look at it says nothing against it.
    assert damaged(world) == []
