"""The arithmetic of figures: medians, ratios, slopes, what is reached, what is told beside it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks
from benchmarks.figures import FIGURES, SCENES, Difference, Median, Ratio, Slope, outcomes
from benchmarks.instances import Volume
from benchmarks.medians import slope_at_least, slope_of
from benchmarks.report import Report
from benchmarks.run import Ended
from benchmarks.scenes import PLAYED
from benchmarks.stages import Stages, moved

FIRST = {
    "refresh.first.ours": [4.0, 9.0, 5.0],
    "refresh.first.documented": [10.0, 11.0, 2.0],
    "pipe": [3.0],
}


def one(samples: dict[str, list[float]], key: str):
    return next(found for found in outcomes(samples) if found.figure.key == key)


def test_a_ratio_is_median_by_median_and_knows_whether_it_is_reached():
    assert one(FIRST, "refresh-first").number == 0.5
    assert one(FIRST, "refresh-first").reached is True
    slower = {**FIRST, "refresh.first.ours": [5.1]}
    assert one(slower, "refresh-first").reached is False


def test_beside_a_figure_stands_its_slowest_stage_alone_in_the_figures_unit():
    assert one(FIRST, "refresh-first").limit == ("dump and load", 0.3)
    hashed = {
        "backup.first.ours": [4.0], "backup.first.documented": [10.0], "dump": [1.0], "sums": [2.5],
    }  # fmt: skip
    assert one(hashed, "backup-first").limit == ("hashing the set", 0.25)
    assert one(hashed | {"dump": [3.0]}, "backup-first").limit == ("dump", 0.3)


def test_a_figure_without_its_samples_is_left_out():
    assert [found.figure.key for found in outcomes(FIRST)] == ["refresh-first"]
    assert outcomes({}) == []


def test_a_figure_without_target_is_neither_reached_nor_missed():
    assert one({"documented.away": [3.0]}, "away-documented").reached is None


def test_units_and_sums():
    assert Median("a", 1e6).of({"a": [2e6, 4e6, 3e6]}) == 3.0
    assert Difference("a", "b", 10).of({"a": [10.0], "b": [40.0]}) == 3.0
    assert Ratio(("a", "b"), ("c",)).of({"a": [1.0], "b": [2.0], "c": [6.0]}) == 0.5


@given(
    st.floats(-50, 50), st.floats(-50, 50), st.lists(st.integers(0, 1000), min_size=4, unique=True)
)
def test_the_slope_of_a_line_is_that_lines(rise: float, at: float, along: list[int]):
    values = [at + rise * x for x in along]
    assert math.isclose(slope_of(along, values), rise, abs_tol=1e-6)
    assert slope_at_least(along, values) <= slope_of(along, values) + 1e-9


def test_noise_without_a_slope_is_not_distinguishable_from_zero_and_a_slope_is():
    along = [1.0, 1, 1, 4, 4, 4, 16, 16, 16]
    noise = [0.31, 0.29, 0.30, 0.30, 0.32, 0.28, 0.29, 0.31, 0.30]
    grows = [value + 0.01 * x for value, x in zip(noise, along, strict=True)]
    assert Slope("over", "by", surely=True).of({"over": noise, "by": along}) <= 0
    assert Slope("over", "by", surely=True).of({"over": grows, "by": along}) > 0
    assert Slope("over", "by").of({"over": grows, "by": along}) == pytest.approx(0.15, abs=0.02)


def test_two_values_make_no_sure_slope():
    assert slope_at_least([1, 2], [1, 5]) == -math.inf
    assert slope_of([3, 3], [1, 5]) == 0


def test_every_figure_has_its_scene_and_a_key_of_its_own():
    assert set(SCENES) == set(PLAYED)
    assert len({figure.key for figure in FIGURES}) == len(FIGURES)


def test_the_page_names_what_was_missed_and_what_was_not_finished():
    samples = {**FIRST, "refresh.first.ours": [9.0], "refresh.second.ours": [2.0]}
    report = Report(
        Volume(20, 4000, 1.5), 3, "invoke bench", {"cores": "2"}, {"rsync": "3"}, samples,
        notes=["no SSH"], failed={"wide": "no line"}, seconds=61,
    )  # fmt: skip
    page = report.markdown()
    assert "| 0.90 | ≤ 0.50 | **missed** | dump and load: 0.30 |" in page
    assert "`pg_dump \\| psql` | 0.67 | ≤ 1.15 | reached |" in page
    assert "20 MB of database, 4,000 files with 1.5 MB; 3 rounds, 1 minute." in page
    assert "To be known:\n\n- no SSH\n- wide: not finished: no line\n" in page
    assert "Where the time goes" not in page
    told = report.as_json()
    first = told["figures"][0]
    assert (first["key"], first["value"], first["target"], first["reached"]) == (
        "refresh-first", 0.9, 0.5, False,
    )  # fmt: skip
    assert told["samples"]["pipe"] == [3.0]
    assert told["asked"] == {"database_mb": 20, "files": 4000, "files_mb": 1.5, "rounds": 3}


def test_where_the_time_goes_is_told_by_steps_and_what_is_around_them(tmp_path: Path):
    stages = Stages()
    for number, seconds in enumerate((9.0, 10.0, 13.0)):
        steps = [
            {"name": "stage-database", "seconds": seconds / 2, "status": "ok"},
            {"name": "swap", "seconds": 0.5, "status": "ok"},
            {"name": "prove", "seconds": 0.0, "status": "skipped"},
        ]
        folder = tmp_path / str(number)
        folder.mkdir()
        ends = {"event": "run_finished", "seconds": seconds - 4}
        step = {"event": "step_finished", "name": "stage-data", "facts": {"bytes": 70 + number}}
        lines = ({"event": "plan"}, step, ends)
        (folder / "journal.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
        run = Ended(seconds, 0, {"run": str(number), "steps": steps})
        stages.add("refresh.first.ours", run, tmp_path)
    assert stages.lines() == [
        "refresh.first.ours: 10.0 s; stage-database 5.0; start, plan and report 4.0; swap 0.5"
    ]
    assert stages.as_json() == {
        "refresh.first.ours": {
            "whole": 10.0, "stage-database": 5.0, "start, plan and report": 4.0, "swap": 0.5,
        }
    }  # fmt: skip
    assert moved(Ended(9.0, 0, {"run": "2"}), "stage-data", tmp_path) == 72
    assert moved(Ended(9.0, 0, {"run": "2"}), "swap", tmp_path) == 0
    stages.add("verify.ours", Ended(3.0, 0, {}), tmp_path)
    assert stages.lines()[1] == "verify.ours: 3.0 s"


def test_no_module_is_called_like_one_of_pythons_own() -> None:
    """A script of this folder has it first on its path: Python's `numbers` would be ours."""
    ours = {path.stem for path in Path(benchmarks.__file__).parent.glob("*.py")}
    assert not ours & sys.stdlib_module_names
