"""One path or one table of a set, brought back by a run in which something goes wrong at any step:
the live instance is what it was, or has exactly that piece more, and nothing else is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from fault_cases import (
    EVERYTHING,
    LASTING,
    STEP_MANNERS,
    StepCase,
    all_manners,
    require_told,
    runs,
)
from fault_sets import damaged
from fault_world import LIVE, PIECES, Picture, Run, World, recipes

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
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
                found += [StepCase(recipe, step.name, manner) for manner in STEP_MANNERS[1:4:2]]
    return found


@pytest.fixture
def openly(world: World) -> Iterator[World]:
    """The same site, which does not anonymise: a piece of production's could not be, and is
    refused otherwise."""
    with world.configured(refresh="anonymize = false"):
        yield world


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_piece_is_there_whole_or_not_at_all(openly: World, case: StepCase) -> None:
    world = openly
    after = _whole(world, case.recipe)
    for run, spec in runs(world, case):
        _holds(world, case, run, spec["act"], after)


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_restore_of_a_path_that_is_killed_at_any_of_its_verbs_is_taken_back_or_whole(
    openly: World, side: str
) -> None:
    world, recipe = openly, "restore-path"
    after = _whole(world, recipe)
    verbs = world.points(recipe, "again")["place-path"]
    for call in range(1, len(verbs) + 1) if EVERYTHING else (len(verbs) // 2, len(verbs) - 2):
        world.reset("again")
        spec = world.spec(scope="place-path", call=call, side=side, act="kill")
        run = world.run(spec, *world.words(recipe))
        assert run.reached, f"verb {call}"
        begun = (world.stage_dir / "intent.json").exists()
        planned = world.run(world.spec(), "recover", "--plan", "--json", there=True)
        (said,) = [one["changes"] for one in planned.document["plan"] if one["on"] == "test"]
        assert ("takes back the restore of 'dateien/namen'" in " ".join(said)) == begun
        again = world.recover()
        assert again.code == 0, f"verb {call} ({verbs[call - 1][:80]}): {again.err}"
        now = _require_whole(world, run, after)
        # With the intent gone it was done; while it is there nothing of it counts.
        assert (
            begun
            or now == (after if call == len(verbs) else world.base["again"][0])
            or (verbs[call - 1].startswith("run ") and now in (after, world.base["again"][0]))
        )


_HOSTILE: tuple[dict[str, Any], ...] = (
    {"path": "../../fremd"},
    {"path": "/etc"},
    {"path": "."},
    {"path": "dateien//namen"},
    {"run": "../.."},
    {"run": ""},
    {"new": ["/etc"]},
    {"new": ["{datadir}"]},
    {"slot": {"live": "{datadir}/anderes"}},
    {"slot": {"stage": "/etc/passwd"}},
    {"slot": {"previous": "{datadir}/fop.xconf"}},
    {"slot": {"moving": "/tmp/x"}},
    {"slot": None},
)


def test_an_intent_that_names_other_places_is_not_followed(openly: World) -> None:
    """Who may write into the stage directory must not have `recover` rename for him."""
    world, recipe = openly, "restore-path"
    verbs = world.points(recipe, "again")["place-path"]
    renames = next(number for number, verb in enumerate(verbs, 1) if "from && IFS" in verb)
    world.reset("again")
    spec = world.spec(scope="place-path", call=renames, side="before", act="kill")
    run = world.run(spec, *world.words(recipe))
    intent = world.stage_dir / "intent.json"
    kept = intent.read_text("utf-8")
    for hostile in _HOSTILE:
        document = json.loads(kept)
        for key, value in hostile.items():
            filled = json.loads(json.dumps(value).replace("{datadir}", str(world.test.datadir)))
            document[key] = {**document[key], **filled} if isinstance(filled, dict) else filled
        intent.write_text(json.dumps(document), "utf-8")
        refused = world.recover()
        assert refused.code == 6, f"{hostile}: {refused.err}"
        assert "does not fit this environment" in refused.err, hostile
        assert world.picture(LIVE) == world.base["again"][0], hostile
    intent.write_text(kept, "utf-8")
    assert world.recover().code == 0
    assert _require_whole(world, run, None) == world.base["again"][0]


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
    require_told(run, act)
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
    if now == after:
        # What stood there is kept on purpose, until somebody removes it.
        shutil.rmtree(world.stage_dir / "replaced", ignore_errors=True)
    assert world.ask()[0] == 200
    assert world.databases()[LIVE] == world.acl
    assert world.left_behind() == []
    assert world.prod_picture() == world.prod_before
    return now
