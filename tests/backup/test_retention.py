"""Retention over random histories: what must always hold, and a few plain cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.backup.ids import new_id
from biso_tasks.backup.manifest import AREAS
from biso_tasks.backup.retention import Kept, kept_of, retain
from biso_tasks.backup.sets import StoredSet
from biso_tasks.backup.state import Pin
from biso_tasks.config.model import Keep

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NONE = Keep(last=0, daily=0, weekly=0, monthly=0)
FULL = frozenset(AREAS)


def kept(days: float, state: str = "good", **more: object) -> Kept:
    moment = NOW - timedelta(days=days)
    env = str(more.get("environment", "prod"))
    given: dict[str, object] = {"areas": FULL, "environment": env} | more
    return Kept(id=new_id(moment, env), moment=moment, state=state, **given)  # type: ignore[arg-type]


states = st.sampled_from(("good", "good", "verified", "drilled", "damaged", "partial"))
areas = st.sampled_from((FULL, FULL, frozenset({"database"})))
untils = st.sampled_from((None, "2026-11-19T00:00:00+00:00", "2026-11-21T00:00:00+00:00"))
pins = st.none() | st.builds(Pin, st.just("why"), st.just("2026-11-01T00:00:00+00:00"), untils)
sets = st.builds(
    kept,
    st.integers(0, 600 * 24 * 60).map(lambda minutes: minutes / 1440),
    states,
    areas=areas,
    pin=pins,
    released=st.sampled_from((False, False, True)),
    environment=st.sampled_from(("prod", "test")),
)
histories = st.lists(sets, max_size=40, unique_by=lambda one: one.id)
count = st.integers(0, 10)
keeps = st.builds(
    Keep, count, count, count, count, st.integers(1, 700).map(lambda days: days * 86400.0)
)


@given(histories, keeps)
def test_every_set_is_decided_once_and_has_a_reason(history: list[Kept], keep: Keep) -> None:
    decision = retain(history, keep, NOW)
    assert not set(decision.keep) & set(decision.remove)
    assert {*decision.keep, *decision.remove} == {one.id for one in history}
    assert all((decision.keep | decision.remove).values())


@given(histories, keeps)
def test_the_last_good_one_of_each_kind_survives(history: list[Kept], keep: Keep) -> None:
    decision = retain(history, keep, NOW)
    for group in {one.group for one in history}:
        good = [one for one in history if one.group == group and one.good]
        if good:
            assert max(good, key=lambda one: (one.moment, one.id)).id in decision.keep


@given(histories, keeps)
def test_a_pinned_one_survives_and_an_ended_pin_is_none(history: list[Kept], keep: Keep) -> None:
    decision = retain(history, keep, NOW)
    for one in history:
        if one.pin is not None and one.pin.holds(NOW):
            assert one.id in decision.keep
    ended = [replace(one, pin=None) if one.pin and not one.pin.holds(NOW) else one
             for one in history]  # fmt: skip
    assert retain(ended, keep, NOW) == decision


@given(histories, keeps)
def test_deciding_again_over_what_remains_removes_nothing(history: list[Kept], keep: Keep) -> None:
    remaining = [one for one in history if one.id in retain(history, keep, NOW).keep]
    assert not retain(remaining, keep, NOW).remove


@given(histories, keeps)
def test_keeping_more_never_removes_more(history: list[Kept], keep: Keep) -> None:
    more = Keep(
        keep.last + 1, keep.daily + 1, keep.weekly + 1, keep.monthly + 1, keep.max_age + 86400
    )
    assert set(retain(history, keep, NOW).keep) <= set(retain(history, more, NOW).keep)


@given(histories, keeps)
def test_no_more_is_kept_than_was_asked_for(history: list[Kept], keep: Keep) -> None:
    decision = retain(history, keep, NOW)
    for group in {one.group for one in history}:
        rules = [decision.keep[one.id].split()[0] for one in history
                 if one.group == group and one.good and one.id in decision.keep
                 and not (one.pin and one.pin.holds(NOW))]  # fmt: skip
        for name, most in (("last", keep.last), ("daily", keep.daily), ("weekly", keep.weekly),
                           ("monthly", keep.monthly), ("the", 1)):  # fmt: skip
            assert rules.count(name) <= most


@given(histories, keeps)
def test_good_ones_alone_count(history: list[Kept], keep: Keep) -> None:
    decision = retain(history, keep, NOW)
    good = [one for one in history if one.good]
    alone = retain(good, keep, NOW)
    assert {one.id: decision.keep.get(one.id) for one in good} == {
        one.id: alone.keep.get(one.id) for one in good
    }


@given(histories, keeps)
def test_kinds_are_judged_each_among_their_own(history: list[Kept], keep: Keep) -> None:
    whole = retain(history, keep, NOW)
    for group in {one.group for one in history}:
        own = [one for one in history if one.group == group]
        alone = retain(own, keep, NOW)
        assert alone.keep == {one.id: whole.keep[one.id] for one in own if one.id in whole.keep}


def test_the_reasons_are_told() -> None:
    history = [kept(day) for day in range(40)] + [kept(500)]
    history[30] = replace(history[30], pin=Pin("Umbau", "2026-10-21T00:00:00+00:00"))
    decision = retain(history, Keep(2, 3, 2, 2, 400 * 86400.0), NOW)
    reasons = {one.id[:8]: decision.keep.get(one.id) for one in history}
    assert reasons["20261120"] == "last 1 of 2"
    assert reasons["20261119"] == "last 2 of 2"
    assert reasons["20261118"] == "daily 2026-11-18"
    assert reasons["20261115"] == "weekly 2026-W46"
    assert reasons["20261031"] == "monthly 2026-10"
    assert reasons["20261021"] == "pinned: Umbau"
    assert decision.remove[history[-1].id] == "older than 400d"
    assert len(decision.keep) == 6


def test_a_pause_of_backups_does_not_age_the_daily_ones_away() -> None:
    history = [kept(day) for day in range(60, 65)]
    assert len(retain(history, replace(NONE, daily=3), NOW).keep) == 3


def test_a_damaged_one_stays_until_a_newer_one_is_good() -> None:
    assert retain([kept(1, "damaged"), kept(2)], Keep(), NOW).remove == {}
    assert list(retain([kept(1), kept(2, "damaged")], Keep(), NOW).remove) == [kept(2).id]


def test_a_partial_one_is_left_to_the_next_backup_for_a_day() -> None:
    assert retain([kept(1, "partial"), kept(0.5, "partial"), kept(0)], NONE, NOW).remove == {}
    old = kept(1.01, "partial")
    assert retain([old, kept(0)], NONE, NOW).remove == {old.id: "partial, for more than a day"}


def test_a_dump_alone_does_not_stand_for_a_whole_set() -> None:
    decision = retain([kept(0, areas=frozenset({"database"})), kept(300)], NONE, NOW)
    assert decision.remove == {}


def test_what_is_removed_is_told_with_its_own_reason() -> None:
    history = [
        kept(0),
        kept(1, "verified"),
        kept(2, "damaged"),
        kept(3, "partial"),
        kept(4, "drilled", released=True),
        kept(5, released=True),
    ]
    removed = retain(history, NONE, NOW).remove
    assert [removed.get(one.id) for one in history] == [
        None,
        "no rule of [backup] keep asks for it",
        "damaged, and a newer one is good",
        "partial, for more than a day",
        None,
        "newer ones are as many as are kept",
    ]


def test_a_set_is_no_release_unless_it_says_so() -> None:
    """A release is judged among releases: taken for one, the last good set could go."""
    moment = NOW - timedelta(days=1)
    told = Kept(id=new_id(moment, "prod"), moment=moment, environment="prod", areas=FULL,
                state="good")  # fmt: skip
    assert told.id in retain([kept(0, released=True), told], NONE, NOW).keep
    assert told.id in retain([kept(0), told], NONE, NOW).remove


def test_a_verified_one_is_kept_by_no_other_rule_than_a_good_one() -> None:
    """However young it is: an unfinished one alone waits a day for the next run."""
    young = kept(0.5, "verified")
    assert young.id in retain([kept(0.1), young], NONE, NOW).remove
    assert young.id in retain([kept(0.1, "drilled"), young], NONE, NOW).remove


def test_one_that_is_as_old_as_may_be_is_not_too_old() -> None:
    keep = Keep(last=5, daily=0, weekly=0, monthly=0, max_age=10 * 86400.0)
    decision = retain([kept(0), kept(10), kept(10.01)], keep, NOW)
    assert list(decision.keep.values()) == ["last 1 of 5", "last 2 of 5"]
    assert list(decision.remove.values()) == ["older than 10d"]


def test_decisions_come_the_newest_first() -> None:
    history = [kept(day) for day in (3, 1, 2, 0)]
    decision = retain(history, replace(NONE, last=2), NOW)
    assert list(decision.keep) == [kept(0).id, kept(1).id]
    assert list(decision.remove) == [kept(2).id, kept(3).id]


def test_a_damaged_one_does_not_go_for_a_good_one_that_is_as_old() -> None:
    """Only a newer one stands for it: of the same second nobody knows which came first."""
    damaged = kept(1, "damaged")
    twin = replace(kept(1), id=f"{kept(1).id}-2")
    assert damaged.id in retain([damaged, twin], NONE, NOW).keep


def test_what_a_set_cannot_tell_of_itself_is_taken_for_a_whole_one() -> None:
    """Else its damage would be judged by sets of another kind."""
    id = new_id(NOW, "prod")
    told = kept_of(StoredSet(id, "damaged", None, None, "unreadable"))
    assert (told.id, told.environment, told.state) == (id, "prod", "damaged")
    assert told.areas == FULL
    assert (told.pin, told.released, told.good) == (None, False, False)


def test_a_set_is_judged_by_the_areas_that_it_has() -> None:
    told = kept_of(SimpleNamespace(  # type: ignore[arg-type]
        id="x", moment=NOW, environment="prod", areas=("database",), state="good",
        pin=Pin("why", "2026-11-01T00:00:00+00:00"), released=True,
    ))  # fmt: skip
    assert told.areas == {"database"}
    assert told.released
    assert told.good
    assert told.pin is not None
