from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from biso_tasks.errors import StepFailed
from biso_tasks.flow.journal import Null
from biso_tasks.flow.plan import Plan, Scope, Step
from biso_tasks.flow.run import execute
from biso_tasks.ui.live import Live
from biso_tasks.ui.progress import Plain, choose
from biso_tasks.ui.terminal import Stream

STAGE = Step("stage-database", lambda scope: None, on="test")
SWAP = Step("swap", lambda scope: None, on="test")
PLAN = Plan("refresh-test", "r", (STAGE, SWAP))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def plain(out: io.StringIO, **more: object) -> Plain:
    return Plain(Stream(out), plan=PLAN, **more)  # type: ignore[arg-type]


def test_a_log_gets_one_line_when_a_step_ends() -> None:
    out = io.StringIO()
    listener = plain(out)
    listener.step_started(STAGE)
    listener.step_progress(STAGE, 1_200_000_000, 4_000_000_000, "B")
    assert out.getvalue() == ""
    listener.step_finished(STAGE, "ok", 12.34, {}, None)
    listener.step_finished(SWAP, "skipped", 0, {"reason": "already done"}, None)
    listener.step_finished(SWAP, "cancelled", 0.5, {}, StepFailed("asked to stop"))
    assert out.getvalue() == (
        "  ok         stage-database   test   12.3 s       1.2 GB\n"
        "  skipped    swap             test                already done\n"
        "  cancelled  swap             test   0.50 s\n"
    )


def test_notes_are_indented_and_name_their_step() -> None:
    out = io.StringIO()
    plain(out).step_note(STAGE, "direct: test pulls from prod\nby rsync")
    assert out.getvalue() == (
        "      stage-database: direct: test pulls from prod\n        by rsync\n"
    )


def test_a_failure_shows_its_error_and_hint() -> None:
    out = io.StringIO()
    error = StepFailed("test: no room\nfor 2 GB", hint="free 1 GB\nor more")
    plain(out).step_finished(STAGE, "failed", 61, {}, error)
    assert out.getvalue() == (
        "  failed     stage-database   test   1 min 01 s\n"
        "      test: no room\n"
        "      for 2 GB\n"
        "      → free 1 GB\n"
        "        or more\n"
    )


def test_the_bytes_of_a_step_that_reported_no_progress_come_from_its_facts() -> None:
    out = io.StringIO()
    plain(out).step_finished(SWAP, "ok", 1, {"bytes": 5_000}, None)
    plain(out).step_finished(SWAP, "ok", 2, {"bytes": 5_000}, None)
    assert out.getvalue() == (
        "  ok         swap             test   1.0 s        5.0 kB\n"
        "  ok         swap             test   2.0 s        5.0 kB, 2.5 kB/s\n"
    )


def test_verbose_shows_starts_and_facts() -> None:
    out = io.StringIO()
    listener = plain(out, verbose=True)
    listener.step_started(SWAP)
    listener.step_finished(SWAP, "ok", 1, {"downtime_seconds": 0.4}, None)
    assert out.getvalue() == (
        "  started    swap             test\n"
        "  ok         swap             test   1.0 s\n"
        "      downtime_seconds = 0.40 s\n"
    )


def test_a_long_step_shows_now_and_then_how_far_it_is() -> None:
    out = io.StringIO()
    now = 0.0
    listener = plain(out, clock=lambda: now)
    listener.step_started(STAGE)
    for second in range(65):
        now = float(second)
        listener.step_progress(STAGE, second * 1000, 100_000, "B")
    assert out.getvalue() == (
        "  ...        stage-database   test   30.0 s       "
        "30.0 kB of 100 kB, 1.0 kB/s, 1 min 10 s left\n"
        "  ...        stage-database   test   1 min 00 s   "
        "60.0 kB of 100 kB, 1.0 kB/s, 40.0 s left\n"
    )


def test_progress_of_an_undo_disturbs_nothing() -> None:
    out = io.StringIO()
    listener = plain(out)
    listener.step_progress(STAGE, 1, None, "B")
    listener.step_finished(STAGE, "undone", 0.2, {}, None)
    assert out.getvalue() == "  undone     stage-database   test   0.20 s\n"


def test_what_a_host_says_cannot_carry_sequences_to_the_terminal(hostile: str) -> None:
    out = io.StringIO()
    listener = plain(out, verbose=True)
    step = Step(hostile, lambda scope: None, on=hostile)
    listener.say(hostile)
    listener.step_started(step)
    listener.step_progress(step, 1, None, hostile)
    listener.step_note(step, hostile)
    listener.step_finished(step, "failed", 1, {hostile: hostile}, StepFailed(hostile, hint=hostile))
    listener.step_finished(step, "skipped", 1, {"reason": hostile}, None)
    assert all(line.isprintable() for line in out.getvalue().split("\n"))


@pytest.mark.parametrize(
    ("stream", "term", "json", "kind"),
    [
        (Terminal(), "xterm", False, Live),
        (Terminal(), "xterm", True, Plain),
        (Terminal(), "dumb", False, Plain),
        (io.StringIO(), "xterm", False, Plain),
    ],
)
def test_the_listener_fits_the_stream(
    stream: io.StringIO, term: str, json: bool, kind: type[object]
) -> None:
    assert isinstance(choose(stream, False, json, env={"TERM": term}), kind)


def test_a_run_in_parallel_leaves_whole_lines() -> None:
    def work(scope: Scope) -> None:
        for done in range(50):
            scope.progress(done, 50, "files")
            scope.note(f"note {done}")

    out = io.StringIO()
    plan = Plan("x", "r", tuple(Step(f"step-{number}", work) for number in range(4)))
    with choose(out, plan=plan) as progress:
        outcome = execute(plan, Null(), [progress], cancel=threading.Event())
    assert outcome.ok
    assert not outcome.listener_errors
    lines = out.getvalue().splitlines()
    assert sum(line.startswith("  ok         step-") for line in lines) == 4
    assert sum(": note " in line for line in lines) == 200


LIVE = """
import sys, threading, time
from biso_tasks.errors import StepFailed
from biso_tasks.flow.journal import Null
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.flow.run import execute
from biso_tasks.ui.progress import choose

def load(scope):
    for done in range(12):
        scope.progress(done * 100_000_000, 4_000_000_000, "B")
        time.sleep(0.15)
    scope.note("12 tables\\x1b]0;owned\\x07")

def work(scope):
    time.sleep(0.3)
    print("printed by a plugin", file=sys.stderr)

def fail(scope):
    raise StepFailed("test: it answers \\x1b[2J500\\x9b", hint="look into its log")

plan = Plan("refresh-test", "r", (
    Step("stage-database", load, on="test", undo=lambda scope: scope.progress(1, 2, "files")),
    Step("stage-data", work, on="test"),
    Step("swap", fail, on="test", needs=("stage-database", "stage-data")),
))
with choose(sys.stderr, plan=plan) as progress:
    progress.say("begins")
    outcome = execute(plan, Null(), [progress], cancel=threading.Event())
print(outcome.listener_errors, outcome.error.message.encode())
"""


@pytest.fixture
def on_a_terminal() -> Callable[..., tuple[bytes, bytes]]:
    """Run a script with a pseudo terminal as stderr; (what it drew, its stdout)."""

    def run(script: str, **env: str) -> tuple[bytes, bytes]:
        ours, theirs = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.utf8", "COLUMNS": "110", **env},
            cwd=Path(__file__).parents[2],
        )
        os.close(theirs)
        drawn = b""
        try:
            while chunk := os.read(ours, 65536):
                drawn += chunk
        except OSError:  # the last one closed the terminal
            pass
        finally:
            os.close(ours)
        out, _ = child.communicate(timeout=60)
        assert child.returncode == 0, drawn.decode()
        return drawn, out

    return run


@pytest.mark.real
def test_a_terminal_shows_what_runs_and_keeps_what_ended(
    on_a_terminal: Callable[..., tuple[bytes, bytes]],
) -> None:
    raw, out = on_a_terminal(LIVE, TERM="xterm-256color")
    drawn = raw.decode()
    assert out.startswith(b"() ")
    assert "\x1b[?25l" in drawn, "nothing was redrawn"
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l"), "the cursor stays hidden"
    assert "MB of 4.0 GB" in drawn
    assert "MB/s" in drawn
    assert "s left" in drawn
    assert "━" in drawn
    assert "1 of 3 steps" in drawn
    assert "\x1b[32mok       \x1b[0m  stage-data" in drawn
    assert "printed by a plugin" in drawn
    assert "\x1b[1;31mtest: it answers 500\x1b[0m" in drawn
    assert "      → look into its log" in drawn
    assert "\x1b[33mundone   \x1b[0m  stage-database" in drawn


@pytest.mark.real
def test_a_live_view_lets_no_sequence_of_a_host_through(
    on_a_terminal: Callable[..., tuple[bytes, bytes]],
) -> None:
    drawn, _ = on_a_terminal(LIVE, TERM="xterm-256color")
    assert b"\x1b]0;" not in drawn
    assert b"\x1b[2J" not in drawn
    assert "\x9b".encode() not in drawn
    assert b"12 tables" in drawn and b"owned" not in drawn


@pytest.mark.real
def test_a_live_view_without_colours_still_redraws(
    on_a_terminal: Callable[..., tuple[bytes, bytes]],
) -> None:
    drawn, _ = on_a_terminal(LIVE, TERM="xterm-256color", NO_COLOR="1")
    assert b"\x1b[?25l" in drawn
    assert b"\x1b[32m" not in drawn
    assert b"\x1b[33m" not in drawn


@pytest.mark.real
def test_a_dumb_terminal_gets_plain_lines(
    on_a_terminal: Callable[..., tuple[bytes, bytes]],
) -> None:
    drawn, _ = on_a_terminal(LIVE, TERM="dumb")
    assert b"\x1b" not in drawn
    assert b"  ok         stage-data       test   0." in drawn


@pytest.mark.real
def test_a_live_view_in_a_locale_without_its_signs_draws_others(
    on_a_terminal: Callable[..., tuple[bytes, bytes]],
) -> None:
    drawn, out = on_a_terminal(LIVE, TERM="xterm", PYTHONIOENCODING="latin-1:strict")
    assert out.startswith(b"() ")
    assert b"> look into its log" in drawn


@pytest.mark.real
def test_showing_plain_lines_does_not_import_rich() -> None:
    script = "import sys, biso_tasks.ui.progress, biso_tasks.ui.report_html, biso_tasks.ui.runs\n"
    script += "sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
