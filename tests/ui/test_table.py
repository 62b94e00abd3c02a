from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from biso_tasks.flow.journal import RunInfo
from biso_tasks.ui import runs
from biso_tasks.ui.table import table


def test_columns_stand_below_each_other_whatever_their_characters() -> None:
    rows = [("Müller", "1"), ("Mu\u0308ller", "2"), ("表示表", "3"), ("a", "4")]
    assert table(rows) == "Müller  1\nMu\u0308ller  2\n表示表  3\na       4\n"


def test_the_last_column_is_wrapped() -> None:
    text = table([("ssh", "the host key of prod is not known"), ("rsync", "ok")], width=27)
    assert text == "ssh    the host key of prod\n       is not known\nrsync  ok\n"


def test_a_table_has_its_head_and_short_rows_are_filled() -> None:
    assert table([("a",), ("b", "c")], head=("x", "yy")) == "x  yy\na\nb  c\n"
    assert table([], head=("x", "yy")) == ""


def test_cells_may_have_a_style_and_are_cleaned(hostile: str) -> None:
    text = table([(("failed", "bad"), hostile)], width=200, colour=True)
    assert text.startswith("\x1b[1;31mfailed  \x1b[0m\\x1b]0;owned")
    assert text.count("\n") == 1


def run(status: str, seconds: float | None) -> RunInfo:
    name = "20250301_142530-refresh-test-9f3c"
    started = datetime(2025, 3, 1, 14, 25, 30, tzinfo=UTC)
    return RunInfo(name, "refresh-test", started, status, seconds, Path("/x"))


def test_the_history_is_one_line_a_run() -> None:
    assert runs.render([run("ok", 12.34), run("failed", 125)], zone=UTC) == (
        "started              task          status  took        run\n"
        "2025-03-01 14:25:30  refresh-test  ok      12.3 s      20250301_142530-refresh-test-9f3c\n"
        "2025-03-01 14:25:30  refresh-test  failed  2 min 05 s  20250301_142530-refresh-test-9f3c\n"
    )


def test_a_run_without_an_end_says_what_helps() -> None:
    assert "invoke recover" in runs.render([run("unfinished", None)], zone=UTC)
    assert runs.render([]) == "There are no runs yet.\n"


@pytest.mark.parametrize("seconds", [1.5, None])
def test_the_history_as_json(seconds: float | None) -> None:
    assert runs.as_json([run("ok", seconds)]) == [
        {
            "run": "20250301_142530-refresh-test-9f3c",
            "task": "refresh-test",
            "started": "2025-03-01T14:25:30Z",
            "status": "ok",
            "seconds": seconds,
        }
    ]
