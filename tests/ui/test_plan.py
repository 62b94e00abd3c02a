from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.flow.plan import CycleError, Plan, Scope, Step
from biso_tasks.ui.history import Last
from biso_tasks.ui.plan import render
from biso_tasks.ui.text import cells

EXPECTED = """\
Plan: refresh-test

  source   prod: biso-prod, database "biso"
  target   test: biso-test

  1  probe            prod
  2  stage-database   test   after 1
     ├─   changes   database "biso_test__stage" is created
     └─ ! destroys  the previous instance, "biso_test__previous"
  3  anonymize        test   after 2
     └─   skipped   not asked for
  4  swap             test   after 1, 3
     ├─   changes   services are stopped and started
     └─   changes   database and data dir exchanged
  5  unlock           test   at the end, whatever happened

Notes
  - The stage is raw.

4 steps, 1 skipped.
Destroys 1 thing on test, marked with !
Before it starts, the name "test" has to be typed.
"""
HEADER = (("source", 'prod: biso-prod, database "biso"'), ("target", "test: biso-test"))


def nothing(scope: Scope) -> None:
    return None


def test_a_plan_says_what_each_step_changes_and_destroys(refresh: Plan) -> None:
    assert render(refresh, header=HEADER) == EXPECTED


def test_a_plan_says_how_long_it_took_last_time(refresh: Plan) -> None:
    took = {("stage-database", "test"): 75.0, ("swap", "prod"): 9.0, ("probe", "prod"): 0.02,
            ("unlock", "test"): 0.3, ("anonymize", "test"): 5.0}  # fmt: skip
    last = Last(datetime(2026, 11, 20, 3, 15).astimezone(), 81.04, took)
    text = render(refresh, header=HEADER, last=last)
    expected = EXPECTED.replace("test   after 1\n", "test   after 1; 1 min 15 s last time\n")
    expected = expected.replace("whatever happened", "whatever happened; 0.30 s last time")
    expected = expected.replace(
        "1 skipped.\n", "1 skipped.\nTook 1 min 21 s last time, on 2026-11-20 at 03:15.\n"
    )
    assert text == expected


def test_a_plan_reads_the_same_with_colours(
    refresh: Plan, without_colours: Callable[[str], str]
) -> None:
    coloured = render(refresh, header=HEADER, colour=True)
    assert coloured != EXPECTED
    assert without_colours(coloured) == EXPECTED


def test_what_a_skipped_step_would_destroy_is_not_counted() -> None:
    plan = Plan("x", "r", (Step("a", nothing, destroys=("all",), skip="no"),))
    text = render(plan)
    assert "destroys" not in text
    assert text.endswith("0 steps, 1 skipped.\nChanges nothing.\n")


def test_a_plan_without_steps_can_be_shown() -> None:
    assert render(Plan("x", "r", ())) == "Plan: x\n\n\n0 steps.\nChanges nothing.\n"


def test_a_plan_that_cannot_be_ordered_is_not_shown() -> None:
    steps = (Step("a", nothing, needs=("b",)), Step("b", nothing, needs=("a",)))
    with pytest.raises(CycleError):
        render(Plan("x", "r", steps))


def test_hostile_texts_in_a_plan_do_nothing(hostile: str) -> None:
    steps = (Step("a", nothing, on=hostile, changes=(hostile,), destroys=(hostile,)),)
    text = render(Plan("x", "r", steps, notes=(hostile,)), header=((hostile, hostile),))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\x1b]0;owned" in text


@given(st.lists(st.text(alphabet="aä表 /", max_size=150), max_size=4), st.text(max_size=150))
def test_no_line_of_a_plan_is_wider_than_100_columns(texts: list[str], note: str) -> None:
    steps = (
        Step("a-step-with-a-name-of-some-length-36", nothing, on="environment-twenty-x"),
        Step("b", nothing, changes=tuple(texts), destroys=tuple(texts)),
        Step("c", nothing, needs=("b",), skip=note),
    )
    plan = Plan("x", "r", steps, notes=(note, *texts), confirm=("test",))
    text = render(plan, header=(("source", note),))
    assert max(cells(line) for line in text.split("\n")) <= 100
