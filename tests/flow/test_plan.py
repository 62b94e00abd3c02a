from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biso_tasks.errors import ConfigError
from biso_tasks.flow.plan import CycleError, Plan, Step, fingerprint


def nothing(scope: Any) -> None:
    return None


def plan(*steps: Step) -> Plan:
    return Plan("try", "id", steps)


def step(name: str, *needs: str, **more: Any) -> Step:
    return Step(name, nothing, needs=needs, **more)


def test_the_declared_order_counts_where_needs_leave_a_choice() -> None:
    order = plan(step("d", "b"), step("c"), step("b"), step("a")).order()
    assert [one.name for one in order] == ["c", "b", "d", "a"]


def test_steps_that_always_run_come_last() -> None:
    order = plan(step("unlock", always=True), step("a"), step("b", "a")).order()
    assert [one.name for one in order] == ["a", "b", "unlock"]


def test_a_cycle_is_shown_as_a_path() -> None:
    with pytest.raises(CycleError) as raised:
        plan(step("x"), step("a", "c"), step("b", "a"), step("c", "b", "x")).order()
    path = raised.value.path
    assert path[0] == path[-1]
    assert " → ".join(path) in raised.value.message
    assert set(path) == {"a", "b", "c"}
    # each name is needed by the one after it
    for first, then in itertools.pairwise(path):
        assert (first, then) in {("a", "b"), ("b", "c"), ("c", "a")}


def test_a_step_that_needs_itself_is_a_cycle() -> None:
    with pytest.raises(CycleError, match="a → a"):
        plan(step("a", "a")).order()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((step("load"), step("b", "laod")), 'needs "laod", which does not exist .*"load"'),
        ((step("a"), step("a")), 'two steps are called "a"'),
        ((step("a", always=True), step("b", "a")), "which runs at the end"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(*steps).order()


def test_the_plan_as_json_has_the_keys_of_the_contract() -> None:
    shown = plan(
        step("a", on="prod", uses="dump", changes=("x",), destroys=("y",)),
        step("b", "a", skip="not asked for"),
    ).as_json()
    assert shown == [
        {
            "name": "a",
            "on": "prod",
            "uses": "dump",
            "needs": [],
            "changes": ["x"],
            "destroys": ["y"],
        },
        {
            "name": "b",
            "on": "",
            "uses": "",
            "needs": ["a"],
            "changes": [],
            "destroys": [],
            "skip": "not asked for",
        },
    ]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_graph_is_ordered_after_its_needs_or_has_a_cycle(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 9))
    edges = data.draw(
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=14)
    )
    steps = tuple(
        step(f"s{one}", *(f"s{need}" for who, need in edges if who == one)) for one in range(size)
    )
    try:
        order = [one.name for one in plan(*steps).order()]
    except CycleError as error:
        for first, then in itertools.pairwise(error.path):
            assert (int(then[1:]), int(first[1:])) in edges
        return
    assert sorted(order) == sorted(one.name for one in steps)
    for who, need in edges:
        assert order.index(f"s{need}") < order.index(f"s{who}")


def test_ten_thousand_steps_are_ordered_in_a_moment() -> None:
    steps = [step(f"s{n}", *([f"s{n - 1}", f"s{n // 2}"] if n else [])) for n in range(10_000)]
    began = time.process_time()
    assert len(plan(*reversed(steps)).order()) == 10_000
    assert time.process_time() - began < 2


def told(**more: object) -> dict[str, object]:
    step = {"name": "swap", "on": "test", "uses": "swap", "needs": ["a"], "changes": ["1 MB"]}
    return {**step, "destroys": ["set 20261128_1-x, 1.2 MB"], **more}


def test_a_plan_is_told_from_another_by_what_it_does_and_not_by_numbers() -> None:
    same = fingerprint([told()])
    assert fingerprint([told(destroys=["set 20270101_7-x, 13,5 MB"], changes=["23 MB"])]) == same
    others = [
        told(on="prod"), told(name="swop"), told(uses="x"), told(needs=[]), told(skip="why"),
        told(destroys=[]), told(destroys=["everything"]), told(changes=["1 MB of another"]),
    ]  # fmt: skip
    assert len({same, *(fingerprint([one]) for one in others)}) == 9
    assert fingerprint([told(), told()]) != same
