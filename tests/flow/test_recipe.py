from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from biso_tasks.config.model import Insert as ConfigInsert
from biso_tasks.errors import ConfigError
from biso_tasks.flow.recipe import Recipe, apply, build, parse

TEXT = """
name = "refresh"
help = "the test instance from production"
confirm = "{to}"

[[steps]]
name = "guard"
uses = "guard"
core = true

[[steps]]
name = "dump"
uses = "dump"
on = "prod"
params = { jobs = 2 }
timeout = "10m"

[[steps]]
name = "files"
run = ["rsync", "a", "b"]
needs = ["guard"]
retries = 2

[[steps]]
name = "scrub"
uses = "scrub"
needs = ["dump", "files"]

[[steps]]
name = "prove"
uses = "prove"
core = true

[[steps]]
name = "unlock"
uses = "unlock"
always = true

[[steps]]
name = "swap"
uses = "swap"
core = true
"""


@dataclass(frozen=True)
class Insert:
    name: str
    after: str | None = None
    before: str | None = None
    on: str = ""
    run: tuple[str, ...] = ("true",)
    uses: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None


def needs(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return {step.name: step.needs or () for step in recipe.steps}


@pytest.fixture
def recipe() -> Recipe:
    return parse(TEXT, "refresh.toml")


def test_a_step_without_needs_follows_the_step_before_it(recipe: Recipe) -> None:
    assert needs(recipe) == {
        "guard": (),
        "dump": ("guard",),
        "files": ("guard",),
        "scrub": ("dump", "files"),
        "prove": ("scrub",),
        "unlock": ("prove",),
        "swap": ("prove",),  # not "unlock": that runs at the end
    }
    assert recipe.steps[1].timeout == 600
    assert dict(recipe.steps[1].params) == {"jobs": 2}
    assert hash(recipe.steps[1])


def test_empty_needs_mean_that_a_step_waits_for_nothing() -> None:
    recipe = build(
        "two",
        [{"name": "a", "run": ["true"]}, {"name": "b", "run": ["true"], "needs": []}],
        source="x",
    )
    assert needs(recipe)["b"] == ()


def test_every_error_of_a_recipe_is_told_at_once_with_its_line() -> None:
    text = (
        'name = "x"\n[[steps]]\nname = "a"\nuse = "b"\n'
        '[[steps]]\nname = "b"\nuses = "b"\ntimeout = "soon"\nretries = -1\nalways = "yes"\n'
        "[[steps]]\nrun = [1]\n"
    )
    with pytest.raises(ConfigError) as raised:
        parse(text, "x.toml")
    lines = raised.value.message.splitlines()
    assert 'x.toml:2: step a: unknown key "use" (did you mean "uses"?)' in lines
    assert "x.toml:2: step a: give either `uses` (an action) or `run` (a command)" in lines
    assert any(line.startswith("x.toml:5: step b: timeout: expected seconds") for line in lines)
    assert any(line.startswith("x.toml:5: step b: retries:") for line in lines)
    assert any(line.startswith("x.toml:5: step b: always:") for line in lines)
    assert "x.toml:11: step number 3: a step needs a name" in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "no valid TOML"),
        ('name = "x"', "has no steps"),
        ('nme = "x"', 'unknown key "nme" (did you mean "name"?)'),
        ('name = "X y"\nsteps = [{name="a",run=["b"]}]', "expected lower-case letters"),
        ('name = "x"\nsteps = 3', "written as [[steps]]"),
        (
            'name = "x"\nsteps = [{name="load",run=["b"],needs=[]},'
            '{name="b",run=["b"],needs=["laod"]}]',
            'needs "laod", which does not exist (did you mean "load"?)',
        ),
        (
            'name = "x"\nsteps = [{name="a",run=["b"]},{name="a",run=["b"]}]',
            'two steps are called "a"',
        ),
        (
            'name = "x"\nsteps = [{name="a",run=["b"],always=true},'
            '{name="b",run=["b"],needs=["a"]}]',
            "which runs at the end",
        ),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text, "x.toml")
    assert message in raised.value.message
    assert raised.value.message.startswith("x.toml")


def test_an_insert_after_a_step_comes_before_what_followed_it(recipe: Recipe) -> None:
    changed = apply(recipe, [Insert("note", after="guard")])
    assert changed.names()[:2] == ("guard", "note")
    assert needs(changed)["note"] == ("guard",)
    assert needs(changed)["dump"] == ("note",)
    assert needs(changed)["files"] == ("note",)


def test_an_insert_before_a_step_takes_over_its_needs(recipe: Recipe) -> None:
    changed = apply(recipe, [Insert("look", before="scrub")])
    assert needs(changed)["look"] == ("dump", "files")
    assert needs(changed)["scrub"] == ("look",)


def test_inserts_at_one_anchor_run_in_the_order_given(recipe: Recipe) -> None:
    changed = apply(
        recipe,
        [
            Insert("one", after="scrub"),
            Insert("two", after="scrub"),
            Insert("more", after="one"),
            Insert("last", after="scrub"),
        ],
    )
    found = needs(changed)
    assert found["one"] == ("scrub",)
    assert found["two"] == ("one",) or found["two"] == ("more",)
    names = changed.names()
    assert names.index("one") < names.index("two") < names.index("last") < names.index("prove")
    assert found["prove"] == ("last",)


def test_an_insert_after_a_step_that_runs_at_the_end_runs_at_the_end(recipe: Recipe) -> None:
    changed = apply(recipe, [Insert("bye", after="unlock")])
    bye = next(step for step in changed.steps if step.name == "bye")
    assert bye.always
    assert bye.needs == ("unlock",)


def test_the_insert_of_biso_toml_fits_as_it_is(recipe: Recipe) -> None:
    insert = ConfigInsert("drop", after="dump", run=("rm", "x"), params=(("a", 1),))
    changed = apply(recipe, [insert])
    assert dict(changed.steps[2].params) == {"a": 1}


def test_a_skipped_step_hands_its_needs_on(recipe: Recipe) -> None:
    changed = apply(recipe, [], ["scrub"])
    assert "scrub" not in changed.names()
    assert needs(changed)["prove"] == ("dump", "files")


def test_insert_and_skip_of_one_step_replace_it(recipe: Recipe) -> None:
    changed = apply(recipe, [Insert("mine", after="scrub")], ["scrub"])
    assert needs(changed)["mine"] == ("dump", "files")
    assert needs(changed)["prove"] == ("mine",)


def test_a_set_changes_the_steps_own_keys_and_its_parameters(recipe: Recipe) -> None:
    changed = apply(
        recipe, [], [], [("dump", {"timeout": "2h", "jobs": 8}), ("scrub", {"run": ["true"]})]
    )
    dump, scrub = changed.steps[1], changed.steps[3]
    assert dump.timeout == 7200
    assert dict(dump.params) == {"jobs": 8}
    assert (scrub.run, scrub.uses) == (("true",), "")
    assert dict(recipe.steps[1].params) == {"jobs": 2}  # the recipe itself is as it was


def test_an_unknown_anchor_is_told_with_the_nearest_and_all_steps(recipe: Recipe) -> None:
    with pytest.raises(ConfigError) as raised:
        apply(recipe, [Insert("x", after="scrup")])
    assert 'there is no step "scrup" (did you mean "scrub"?)' in raised.value.message
    assert "guard, dump, files, scrub" in raised.value.hint


@pytest.mark.parametrize(
    ("inserts", "skips", "sets", "message"),
    [
        ([Insert("dump", after="guard")], [], [], 'there is a step "dump" already'),
        ([Insert("a", after="guard"), Insert("a", after="dump")], [], [], 'a step "a" already'),
        ([Insert("a")], [], [], "either `after` or `before`"),
        ([Insert("a", after="dump", before="swap")], [], [], "either `after` or `before`"),
        ([Insert("a", after="dump", run=())], [], [], "either `run` or `uses`"),
        ([Insert("A b", after="dump")], [], [], "is no name for a step"),
        ([], ["dmp"], [], 'there is no step "dmp" (did you mean "dump"?)'),
        ([], [], [("dmp", {})], 'there is no step "dmp"'),
        ([], [], [("dump", {"core": True})], "`core` cannot be set"),
        ([], [], [("dump", {"timeout": "soon"})], "expected seconds"),
        ([], [], [("dump", {"needs": ["x"]})], 'needs "x", which does not exist'),
    ],
)
def test_an_impossible_change_is_refused(
    recipe: Recipe, inserts: Any, skips: Any, sets: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        apply(recipe, inserts, skips, sets)
    assert message in raised.value.message


def test_between_two_sealed_steps_no_other_may_come() -> None:
    steps = [{"name": name, "uses": "x", "sealed": name in "bd"} for name in "abcde"]
    with pytest.raises(ConfigError, match='step "c" would come after "b"'):
        apply(build("r", steps, source="r"), [])
    sealed = build("r", [step for step in steps if step["name"] != "c"], source="r")
    assert apply(sealed, [Insert("x", after="a"), Insert("y", after="d")]).names() == (
        "a", "x", "b", "d", "y", "e",
    )  # fmt: skip
    for insert in (Insert("x", after="b"), Insert("x", before="d")):
        with pytest.raises(ConfigError) as raised:
            apply(sealed, [insert])
        assert raised.value.hint == 'put it before "b", or after "d"'


@pytest.mark.parametrize(
    ("skips", "sets"),
    [
        (["prove"], []),
        ([], [("prove", {"when": "false"})]),
        ([], [("prove", {"uses": "nothing"})]),
        ([], [("swap", {"needs": []})]),
        ([], [("prove", {"run": ["true"]})]),
        ([], [("prove", {"on": "elsewhere"})]),
    ],
)
def test_a_step_of_safety_cannot_be_taken_out_or_bent(
    recipe: Recipe, skips: Any, sets: Any
) -> None:
    with pytest.raises(ConfigError, match="part of the safety of this recipe"):
        apply(recipe, [], skips, sets)


def test_steps_of_safety_cannot_be_parted_through_a_step_between_them(recipe: Recipe) -> None:
    # scrub and dump are what makes "prove" wait for "guard".
    with pytest.raises(ConfigError, match='"prove" would no longer wait for "guard"'):
        apply(recipe, [], [], [("scrub", {"needs": []})])


def test_a_step_of_safety_may_get_a_longer_timeout(recipe: Recipe) -> None:
    assert apply(recipe, [], [], [("prove", {"timeout": 5})]).steps[4].timeout == 5
