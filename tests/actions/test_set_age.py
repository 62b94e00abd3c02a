"""What `list` and `doctor` say about sets that are too old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.actions.sets.set_age import SetAge, stale
from biso_tasks.config.model import MaxAge

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LIMITS = MaxAge()


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def test_nothing_is_said_while_all_is_recent() -> None:
    sets = [
        SetAge("old", ago(days=90), ago(days=80), ago(days=20)),
        SetAge("new", ago(hours=5), ago(days=7)),
    ]
    assert stale(sets, LIMITS, NOW) == ()


def test_each_line_names_the_age_the_set_what_is_expected_and_the_remedy() -> None:
    sets = [
        SetAge("20261001_023000-prod", ago(days=53), ago(days=52), ago(days=50)),
        SetAge("20261120_023000-prod", ago(days=3, hours=6)),
    ]
    assert stale(sets, LIMITS, NOW) == (
        "the newest good set is 3 days old (20261120_023000-prod); expected one every 26h: look at "
        "`biso runs`, or run `biso backup`",
        "the last verification was 50 days ago (20261001_023000-prod); expected one every 8d: run "
        "`biso verify`",
        "the last drill was 50 days ago (20261001_023000-prod); expected one every 35d: run "
        "`biso verify --drill`",
    )


def test_where_sets_are_and_none_is_good_that_alone_is_said() -> None:
    damaged = SetAge("damaged", None, ago(hours=1), ago(hours=1))
    assert stale([damaged], LIMITS, NOW) == (
        "there is no good backup set at all: run `biso backup`",
    )


def test_a_site_without_any_set_is_new_until_its_timers_have_had_time() -> None:
    assert stale([], LIMITS, NOW) == ()
    assert stale([], LIMITS, NOW, since=ago(hours=25)) == ()
    assert stale([], LIMITS, NOW, since=ago(days=3)) == (
        "there is no backup set at all, though timers were installed 3 days ago; expected one "
        "every 26h: look at `biso runs`, or run `biso backup`",
    )


NEVER = (
    "no good set was ever verified; expected one every 8d: run `biso verify`",
    "no good set was ever drilled; expected one every 35d: run `biso verify --drill`",
)


def test_what_never_happened_is_missed_once_the_oldest_good_set_had_time_for_it() -> None:
    newest = SetAge("b", ago(hours=1))
    assert stale([newest], LIMITS, NOW) == ()
    assert stale([SetAge("a", ago(days=7)), newest], LIMITS, NOW) == ()
    assert stale([SetAge("a", ago(days=9)), newest], LIMITS, NOW) == NEVER[:1]
    assert stale([SetAge("a", ago(days=36)), newest], LIMITS, NOW) == NEVER


def test_where_few_sets_are_kept_the_timers_tell_how_long_there_was_time() -> None:
    week = [SetAge(str(days), ago(days=days, hours=-1)) for days in range(1, 8)]
    assert stale(week, LIMITS, NOW, since=ago(days=10)) == NEVER[:1]
    assert stale(week, LIMITS, NOW, since=ago(days=40)) == NEVER


def test_a_damaged_set_does_not_vouch() -> None:
    sets = [SetAge("a", ago(days=36)), SetAge("damaged", None, ago(hours=1), ago(hours=1))]
    assert stale([*sets, SetAge("b", ago(hours=1))], LIMITS, NOW) == NEVER


def test_a_drill_is_a_verification_too() -> None:
    assert stale([SetAge("a", ago(hours=1), None, ago(days=7))], LIMITS, NOW) == ()


def test_a_set_from_the_future_does_not_keep_it_silent() -> None:
    sets = [SetAge("a", ago(hours=-30), ago(hours=1), ago(hours=1))]
    (line,) = stale(sets, LIMITS, NOW)
    assert "which is in the future (a): correct the clock" in line
    assert stale([SetAge("a", ago(minutes=-5), NOW, NOW)], LIMITS, NOW) == ()


HOURS = st.floats(0, 2000)


@given(st.lists(st.tuples(HOURS, st.none() | HOURS, st.none() | HOURS), min_size=1))
def test_the_newest_good_set_alone_decides_whether_there_is_a_complaint_about_it(
    ages: list[tuple[float, float | None, float | None]],
) -> None:
    sets = [
        SetAge(str(number), *(None if one is None else ago(hours=one) for one in age))
        for number, age in enumerate(ages)
    ]
    complaint = any("newest good set" in line for line in stale(sets, LIMITS, NOW))
    newest = max(one.good for one in sets if one.good is not None)
    assert complaint == (NOW - newest > timedelta(hours=26))
