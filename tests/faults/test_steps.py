"""Killed or failing at every single step: the served test instance is the old one or the complete
new one, and nothing is left behind once `recover` has run on another machine.

The cases come from the recipes themselves. Quick by default, one manner a step; everything with

    BISO_FAULTS=all pytest tests/faults -n 2

`python tests/faults/table.py` writes docs/reliability.md from such a run.
"""

from __future__ import annotations

import pytest
from fault_cases import EVERYTHING, ExchangeCase, StepCase, exchange_cases, step_cases
from fault_world import Run, World, recipes

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

WORDS = ("--yes", "--json")


@pytest.mark.parametrize("case", step_cases(), ids=str)
def test_a_fault_at_a_step_leaves_the_old_instance_or_the_complete_new_one(
    world: World, case: StepCase
) -> None:
    world.over = case.over
    always = {step.name for step in recipes()[case.recipe] if step.always}
    spec = _at_step(world, case)
    world.reset("again")
    run = world.run(spec, case.recipe, *WORDS)
    assert run.reached or case.step in {"keep", "originals"}, "the step never came"
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
        run = world.run(spec, case.recipe, *WORDS)
        try:
            assert run.reached
            _holds(world, run, case.recipe, act=case.manner.act, tidy=False)
        except AssertionError as error:
            failures.append(f"{case.manner} verb {call} ({verbs[call - 1][:80]}): {error}")
    assert not failures, "\n\n".join(failures)


def _at_step(world: World, case: StepCase) -> dict[str, object]:
    if case.manner.side != "middle":
        return world.spec(step=case.step, side=case.manner.side, act=case.manner.act, cut=case.cut)
    verbs = world.points(case.recipe, "again").get(case.step, [])
    if not verbs:
        # A step without any command has no middle: its beginning stands for it.
        return world.spec(step=case.step, side="before", act=case.manner.act, cut=case.cut)
    return world.spec(
        scope=case.step, call=(len(verbs) + 1) // 2, side="during", delay=0.05,
        act=case.manner.act, cut=case.cut,
    )  # fmt: skip


def _holds(world: World, run: Run, recipe: str, *, act: str, tidy: bool) -> None:
    """What must hold at once, and after `recover`."""
    rollback = recipe == "rollback"
    in_swap = (world.stage_dir / "intent.json").exists()
    now = world.served_now(run, rollback=rollback)
    if in_swap:
        assert now in ("old", "new", "maintenance") or now.startswith("broken"), now
    else:
        assert now in ("old", "new"), f"{now} is served, and no swap was under way"
    codes = {"kill": {-9}, "fail": {0, 1, 6}, "down": {0, 1, 6}, "cut": {0, 1, 6},
             "term": {130, 0}, "int2": {130, 0}}  # fmt: skip
    assert run.code in codes[act], f"exit {run.code}\n{run.err[-2000:]}"
    if tidy and act != "kill" and run.code != 6:
        # It ended in good order: nothing is left for anybody to recover.
        world.check(run, rollback=rollback)
    again = world.recover()
    assert again.code == 0, again.err
    served = world.check(run, rollback=rollback)
    if now in ("old", "new") and not in_swap:
        assert served == now
    if run.code == 0:
        assert served == "new"
