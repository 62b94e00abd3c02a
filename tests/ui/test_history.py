"""What earlier runs say: how long it took last time, and how it went over the last ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.flow.journal import FILE, Journal
from biso_tasks.flow.plan import Plan
from biso_tasks.ui.history import last_time, past_runs
from biso_tasks.ui.report import as_json, load
from biso_tasks.ui.report_html import html
from biso_tasks.ui.report_markdown import markdown

THIRD = "20260103_000000-refresh-test-aaaa"
RUNS: tuple[tuple[str, str, bool, float, dict[str, Any]], ...] = (
    ("20260101_000000-refresh-test-aaaa", "refresh-test", True, 1.0, {"bytes": 1_000_000}),
    ("20260102_000000-refresh-test-aaaa", "refresh-test", True, 2.0, {"bytes": 2_000_000}),
    (THIRD, "refresh-test", False, 3.0, {}),
    ("20260104_000000-backup-aaaa", "backup", True, 4.0, {"bytes": 5}),
    ("20260105_000000-refresh-test-aaaa", "refresh-test", True, 5.0, {}),
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for run, task, ok, seconds, facts in RUNS:
        with Journal.open(tmp_path, run) as journal:
            steps = [{"name": name, "on": "test"} for name in ("swap", "cut")]
            journal.write("run_started", task=task, run=run, steps=steps)
            journal.write("step_started", name="swap")
            journal.write("step_finished", name="swap", status="ok", seconds=seconds, facts=facts)
            journal.write("run_finished", ok=ok, status="ok" if ok else "failed", seconds=seconds)
    damaged = tmp_path / "runs/20260106_000000-refresh-test-aaaa"
    damaged.mkdir()
    (damaged / FILE).write_text("rubbish")
    with Journal.open(tmp_path, "20260107_000000-refresh-test-aaaa") as journal:
        journal.write("run_started", task="refresh-test", run="x", steps=[])
    return tmp_path


def test_last_time_is_the_newest_run_of_the_task_that_ended_well(
    state: Path, refresh: Plan
) -> None:
    last = last_time(state, refresh)
    assert last is not None
    assert (last.seconds, dict(last.steps)) == (5.0, {("swap", "test"): 5.0})
    assert last_time(state / "nowhere", refresh) is None
    assert last_time(state, replace(refresh, name="prune")) is None


def test_a_report_shows_how_the_runs_of_its_task_went_before_it(state: Path) -> None:
    report = load(state / "runs" / THIRD / FILE)
    report = replace(report, past=past_runs(state, report))
    found = [(one.seconds, one.status, one.bytes) for one in report.past]
    assert found == [(3.0, "failed", 0), (2.0, "ok", 2_000_000), (1.0, "ok", 1_000_000)]
    assert "backup" not in str([one.run for one in report.past])
    assert [one["bytes"] for one in as_json(report)["past"]] == [0, 2_000_000, 1_000_000]
    page, text = html(report), markdown(report)
    assert "<h2>The last runs</h2>" in page
    assert "2.0 s · 2.0 MB" in page
    assert "## The last runs" in text
    assert "| 1.0 s | 1.0 MB |" in text


def test_an_old_run_has_those_before_it_however_many_came_after(tmp_path: Path) -> None:
    runs = [f"20260101_0000{number:02}-refresh-test-aaaa" for number in range(30)]
    for number, run in enumerate(runs):
        with Journal.open(tmp_path, run) as journal:
            journal.write("run_started", task="refresh-test", run=run, steps=[])
            journal.write("run_finished", ok=True, status="ok", seconds=float(number))
    report = load(tmp_path / "runs" / runs[2] / FILE)
    assert [one.seconds for one in past_runs(tmp_path, report)] == [2.0, 1.0, 0.0]
    newest = load(tmp_path / "runs" / runs[-1] / FILE)
    assert [one.seconds for one in past_runs(tmp_path, newest)] == [*map(float, range(29, 9, -1))]


def test_a_first_run_has_no_history(state: Path) -> None:
    report = load(state / "runs/20260104_000000-backup-aaaa" / FILE)
    report = replace(report, past=past_runs(state, report))
    assert len(report.past) == 1
    assert "The last runs" not in html(report) + markdown(report)
