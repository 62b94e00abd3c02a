"""What a site cannot change in the recipes that serve production's data on test."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.flow.recipe import Recipe, apply, parse

RECIPES = {
    recipe.name: recipe
    for path in files("biso_tasks.actions").joinpath("builtin_recipes").iterdir()
    if (recipe := parse(path.read_text("utf-8"), path.name))
}
# Every one that makes a stage of what an environment holds and ends in serving it.
SERVING = {name: recipe for name, recipe in RECIPES.items() if "finish-database" in recipe.names()}
PROVING = {name: recipe for name, recipe in SERVING.items() if "prove" in recipe.names()}


@dataclass(frozen=True)
class Insert:
    name: str = "mine"
    after: str | None = None
    before: str | None = None
    on: str = "test"
    run: tuple[str, ...] = ("true",)
    uses: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None


def test_there_are_such_recipes() -> None:
    assert set(PROVING) == {
        "anonymize", "refresh-test", "refresh-from-set", "refresh-in-place", "restore",
        "restore-bare",
    }  # fmt: skip
    assert set(SERVING) - set(PROVING) == {"reset-test"}


MOVING = {"measure", "originals", "stage-database", "stage-data", "stage-webroot",
          "in-place-dump", "in-place-aside", "in-place-database", "in-place-data"}  # fmt: skip


def test_nothing_moves_before_the_link_was_measured() -> None:
    """Beside a copy that runs it looks slow, and then everything is packed for nothing."""
    measuring = [recipe for recipe in RECIPES.values() if "link" in recipe.names()]
    assert {one.name for one in measuring} == {"refresh-test", "refresh-in-place", "release"}
    for recipe in measuring:
        waits: dict[str, set[str]] = {}
        for step in recipe.steps:
            needs = step.needs or ()
            waits[step.name] = set(needs).union(*(waits[one] for one in needs))
        late = [step.name for step in recipe.steps if step.uses in MOVING]
        assert len(late) >= 5
        assert [name for name in late if "link" not in waits[name]] == []


def _serves(recipe: Recipe) -> str:
    return "online" if "online" in recipe.names() else "swap"


@pytest.mark.parametrize("name", PROVING)
@pytest.mark.parametrize("place", ["after prove", "after finish", "before serving"])
def test_nothing_comes_between_the_proof_and_what_serves_the_stage(name: str, place: str) -> None:
    recipe = PROVING[name]
    insert = {
        "after prove": Insert(after="prove"),
        "after finish": Insert(after="finish-database"),
        "before serving": Insert(before=_serves(recipe)),
    }[place]
    with pytest.raises(ConfigError, match='"mine" would come after "prove"') as raised:
        apply(recipe, [insert])
    assert 'put it before "prove"' in raised.value.hint


@pytest.mark.parametrize("name", SERVING)
def test_before_the_proof_and_after_the_swap_a_site_may_do_what_it_likes(name: str) -> None:
    recipe = SERVING[name]
    before = "prove" if name in PROVING else "finish-database"
    changed = apply(recipe, [Insert(before=before), Insert("late", after=_serves(recipe))])
    assert {"mine", "late"} <= set(changed.names())


@pytest.mark.parametrize("name", SERVING)
def test_what_serves_the_stage_cannot_do_so_unneutralised(name: str) -> None:
    for change in ({"skips": ["neutralize"]}, {"sets": [("neutralize", {"when": "anonymize"})]}):
        with pytest.raises(ConfigError, match="part of the safety"):
            apply(SERVING[name], **change)


RELEASE = RECIPES["release"]


@pytest.mark.parametrize("insert", [Insert(after="prove"), Insert(before="seal-release")])
def test_nothing_comes_between_the_proof_and_the_seal_of_a_release(insert: Insert) -> None:
    with pytest.raises(ConfigError, match='"mine" would come after "prove"') as raised:
        apply(RELEASE, [insert])
    assert 'put it before "prove", or after "seal-release"' in raised.value.hint
    names = apply(RELEASE, [Insert(before="prove"), Insert("late", after="seal-release")]).names()
    assert names.index("mine") < names.index("prove") < names.index("seal-release")
    assert names.index("seal-release") < names.index("late")


def test_a_release_is_always_anonymised_proven_and_neutralised_and_never_served() -> None:
    for name in ("originals", "anonymize", "rename-files", "neutralize", "prove", "seal-release"):
        with pytest.raises(ConfigError, match="part of the safety"):
            apply(RELEASE, skips=[name])
        with pytest.raises(ConfigError, match="part of the safety"):
            apply(RELEASE, sets=[(name, {"when": "anonymize"})])
    used = {step.uses for step in RELEASE.steps}
    assert not used & {"swap", "finish-database", "keep"}
    assert all(not step.when for step in RELEASE.steps)
