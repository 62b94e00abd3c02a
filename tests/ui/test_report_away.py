"""What a report says of who was up when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.actions.away import away, goes_away
from biso_tasks.ui.report import Report, as_json, from_events
from biso_tasks.ui.report_html import html
from biso_tasks.ui.report_markdown import markdown

AT = datetime(2026, 11, 28, 9, 0, 0, tzinfo=UTC)


def report(*steps: tuple[str, str, dict[str, Any]], seconds: float = 100.0) -> Report:
    events: list[dict[str, Any]] = [
        {"event": "run_started", "t": 5.0, "at": AT.isoformat(), "task": "refresh-test", "run": "r",
         "steps": [{"name": name, "on": on} for name, on, _ in steps]},
    ]  # fmt: skip
    for name, _, facts in steps:
        events.append({"event": "step_started", "t": 5.0, "name": name})
        events.append({"event": "step_finished", "t": 6.0, "name": name, "status": "ok",
                       "seconds": 1.0, "facts": facts})  # fmt: skip
    events.append({"event": "run_finished", "t": 5.0 + seconds, "status": "ok", "seconds": seconds})
    return from_events(events)


def test_an_absence_stands_where_it_was_and_the_others_were_there() -> None:
    fact = away("test", 0.5, AT + timedelta(seconds=60.5))
    made = report(("snapshot", "prod", {}), ("swap", "test", {"away": fact}))
    prod, test = made.served
    assert (prod.environment, prod.away) == ("prod", ())
    (spell,) = test.away
    assert (spell.since, spell.seconds) == (60.0, 0.5)
    assert str(test) == "away for 0.50 s at 09:01:00 UTC"
    assert as_json(made)["served"] == [
        {"environment": "prod", "away": []},
        {"environment": "test",
         "away": [{"from": "2026-11-28T09:01:00Z", "began": 60.0, "seconds": 0.5}]},
    ]  # fmt: skip
    page = html(made)
    assert '<rect class="failed" x="600.0" y="1" width="5.0" height="8">' in page
    assert page.count('<rect class="up"') == 2
    assert "- test: away for 0.50 s at 09:01:00 UTC" in markdown(made)
    assert "- prod: never taken away by this run" in markdown(made)


@given(seconds=st.floats(0.001, 90000), until=st.integers(0, 10**12))
def test_an_absence_is_as_long_as_its_run_says_to_the_millisecond(
    seconds: float, until: int
) -> None:
    """The journal's times are of milliseconds; cut each by itself, they were one short or over."""
    end = AT + timedelta(days=2, microseconds=until)
    told = as_json(report(("swap", "test", {"away": away("test", seconds, end)})))
    assert [one["seconds"] for one in told["served"][0]["away"]] == [round(seconds, 3)]


def test_what_went_away_and_did_not_come_back_is_away_to_the_end() -> None:
    gone = goes_away("test") | {"from": (AT + timedelta(seconds=25)).isoformat()}
    made = report(("offline", "test", {"away": gone}))
    assert [one.seconds for one in made.served[0].away] == [None]
    assert str(made.served[0]) == "away since 09:00:25 UTC"
    assert 'x="250.0" y="1" width="750.0"' in html(made)
    back = away("test", 50.0, AT + timedelta(seconds=75))
    again = report(("offline", "test", {"away": gone}), ("online", "test", {"away": back}))
    assert [(one.since, one.seconds) for one in again.served[0].away] == [(25.0, 50.0)]


def test_what_was_brought_back_when_the_run_failed_is_not_away_any_more() -> None:
    gone = goes_away("test") | {"from": (AT + timedelta(seconds=25)).isoformat()}
    events = [
        {"event": "run_started", "t": 0.0, "at": AT.isoformat(), "task": "t", "run": "r",
         "steps": [{"name": "offline", "on": "test"}]},
        {"event": "step_started", "t": 0.0, "name": "offline"},
        {"event": "step_finished", "t": 26.0, "name": "offline", "status": "ok", "seconds": 26.0,
         "facts": {"away": gone}},
        {"event": "undo_finished", "t": 40.0, "name": "offline", "status": "ok"},
        {"event": "run_finished", "t": 40.0, "status": "failed", "seconds": 40.0},
    ]  # fmt: skip
    assert [one.seconds for one in from_events(events).served[0].away] == [15.0]


def test_a_run_in_which_nothing_was_away_says_nothing_of_it() -> None:
    made = report(("verify", "prod", {}))
    assert made.served == ()
    assert "What was up when" not in html(made) + markdown(made)
    assert as_json(made)["served"] == []


@pytest.mark.parametrize(
    "own", ["yes", {"where": "there"}, {"environment": "test", "from": "noon", "until": None}, None]
)
def test_what_a_site_s_own_step_calls_away_harms_no_report(own: Any) -> None:
    made = report(("own", "test", {"away": own}))
    assert made.served == ()
    assert "<h3>own</h3>" in html(made)


def test_a_moment_of_a_long_run_can_be_seen() -> None:
    fact = away("test", 0.1, AT + timedelta(seconds=7200))
    assert 'width="3.0"' in html(report(("swap", "test", {"away": fact}), seconds=7200.0))


def test_sets_that_are_kept_and_gone_are_told_one_by_one() -> None:
    made = replace(
        report(("prune-sets", "prod", {})),
        facts={"removed": ["20261101_010000-prod"], "in_use": [],
               "kept": {"20261128_010000-prod": "last, daily"}},
    )  # fmt: skip
    page = html(made)
    assert "<h2>Removed</h2>\n<ul><li>20261101_010000-prod</li></ul>" in page
    row = '<tr><th scope="row">20261128_010000-prod</th><td>last, daily</td></tr>'
    assert f"<h2>Kept</h2>\n<table>{row}</table>" in page
    assert "<dt>in use</dt><dd>none</dd>" in page
    assert "<dt>removed</dt>" not in page
