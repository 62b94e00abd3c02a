"""`prune` and `verify`, by a run in which something goes wrong at any step: the newest good set and
what is served are what they were, no set is there by half or called damaged, and the next run does
the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fault_cases import EVERYTHING, Manner, StepCase, all_manners, require_told, runs
from fault_sets import Tree, damaged, opened, tree_of
from fault_world import LIVE, PREVIOUS, STORING, World, recipes, same

from biso_tasks.backup.verify import verify_set

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
]

RELEASES = "released"
USUAL = ("sets-prune", "previous-prune")
"""Killed in their middle also in a usual run."""


@dataclass
class Full:
    """The site with more than the retention keeps: two sets of production and two releases, of
    which each the older one goes, and a previous instance."""

    world: World
    sets: list[str]
    releases: list[str]

    def trees(self) -> dict[str, Tree]:
        found = {}
        for folder in (self.world.store, self.world.store / RELEASES):
            for one in (folder / "sets").iterdir():
                tree = tree_of(one)
                tree.pop("state.toml", None)
                found[one.name] = tree
        return found


@pytest.fixture(scope="module")
def filled(built: World) -> Iterator[Full]:
    world, aside = built, built.folder / "kept-store.aside"
    world.over = "local"
    world.reset("again")
    kept = world.folder / "kept-store"
    same(kept, aside)  # names of one file stay names of one file
    try:
        for recipe in ("backup", "release", "release"):
            run = world.run(world.spec(), *world.words(recipe))
            assert run.code == 0, run.err
        world._store(back=False)
        listed = []
        for folder, environment in ((world.store, "prod"), (world.store / RELEASES, "test")):
            with opened(folder, environment) as store:
                listed.append([one.id for one in store.list()])
        assert [len(one) for one in listed] == [2, 2]
        yield Full(world, *listed)
    finally:
        same(aside, kept)
        shutil.rmtree(aside)


@pytest.fixture
def full(filled: Full) -> Iterator[Full]:
    with filled.world.configured(
        backup="keep = { last = 1 }", refresh='keep_previous = "0s"', release="keep = 1"
    ):
        yield filled


def cases() -> list[StepCase]:
    found: list[StepCase] = []
    for recipe in STORING:
        for step in recipes(without=())[recipe]:
            if EVERYTHING:
                found += all_manners(recipe, step.name, ("prod", "test"))
            elif step.uses in USUAL:
                found += [StepCase(recipe, step.name, Manner("kill", "middle"))]
    return found


@pytest.mark.parametrize("case", cases(), ids=str)
def test_what_is_kept_and_what_is_served_are_what_they_were(full: Full, case: StepCase) -> None:
    world = full.world
    before: list[dict[str, Tree]] = []
    for run, spec in runs(world, case, before=lambda: before.append(full.trees())):
        act = spec["act"]
        require_told(run, act)
        if run.code == 0:
            assert run.document["ok"]
        again = world.recover()
        assert again.code == 0, again.err
        _require_whole(full, before[-1], all_there=case.recipe == "verify")
        world.over = "local"
        after = world.run(world.spec(), *world.words(case.recipe))
        assert after.code == 0, after.err
        _require_whole(full, before[-1], all_there=case.recipe == "verify")
        if case.recipe == "prune":
            assert set(full.trees()) == {full.sets[-1], full.releases[-1]}
            assert world.picture(PREVIOUS) is None
        else:
            with opened(world.store, "prod") as store:
                assert [one.state for one in store.list()] == ["good", "verified"]
        world.over = case.over


def _require_whole(full: Full, before: dict[str, Tree], *, all_there: bool) -> None:
    """Every set that is listed is whole and as it was; the kept ones are; nothing else is left."""
    world = full.world
    now = full.trees()
    for folder, environment in ((world.store, "prod"), (world.store / RELEASES, "test")):
        with opened(folder, environment) as store:
            for one in store.list():
                assert one.good, f"{one.id} is {one.state}: {one.why}"
                assert now[one.id] == before[one.id], f"{one.id} was changed"
                assert verify_set(store, one.id) == ()
    assert {full.sets[-1], full.releases[-1]} <= set(now) <= set(before)
    if all_there:
        assert set(now) == set(before)
    assert damaged(world) == []
    live, previous = world.base["again"]
    assert world.picture(LIVE) == live
    assert world.picture(PREVIOUS) in ((previous,) if all_there else (previous, None))
    there = (world.stage_dir / "instance.json").read_text("utf-8")
    assert bool(json.loads(there).get("previous")) == (world.picture(PREVIOUS) is not None)
    assert world.ask()[0] == 200
    assert world.left_behind() == []
    assert world.prod_picture() == world.prod_before
