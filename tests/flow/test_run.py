from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biso_tasks.errors import BisoError, Interrupted, NeedsPerson, Refused, StepFailed
from biso_tasks.flow.interrupt import interruptible
from biso_tasks.flow.journal import Journal, JournalError, Null, read
from biso_tasks.flow.plan import Plan, Scope, Step
from biso_tasks.flow.run import Outcome, execute
from biso_tasks.values import Secret

Go = Callable[..., Outcome]
RUN = "20250301_142530-try-9f3c"


class Diary:
    """Makes steps that write down what happens to them."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def step(self, name: str, *needs: str, fails: BaseException | None = None, **more: Any) -> Step:
        def run(scope: Scope) -> dict[str, Any]:
            self.did.append(name)
            if fails is not None:
                raise fails
            return {"by": name}

        def undo(scope: Scope) -> None:
            self.did.append(f"undo {name}")

        return Step(name, **{"run": run, "undo": undo, "needs": needs, **more})


@pytest.fixture
def diary() -> Diary:
    return Diary()


def statuses(outcome: Outcome) -> dict[str, str]:
    return {result.name: result.status for result in outcome.steps}


def until_cancelled(scope: Scope) -> None:
    assert scope.cancel.wait(10)
    scope.check()


# -- the order of things, for any graph --


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[str, tuple[str, ...], bool]], set[str], int]:
    size = draw(st.integers(1, 8))
    nodes = []
    normal: list[str] = []
    for number in range(size):
        always = draw(st.integers(0, 4)) == 0
        pool = [name for name, _, _ in nodes] if always else normal
        needs = draw(st.sets(st.sampled_from(pool), max_size=3)) if pool else set()
        nodes.append((f"s{number}", tuple(sorted(needs)), always))
        if not always:
            normal.append(f"s{number}")
    failing = draw(st.sets(st.sampled_from([name for name, _, _ in nodes]), max_size=2))
    return nodes, failing, draw(st.integers(1, 4))


@given(graphs())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_run_keeps_its_promises(go: Go, graph: Any) -> None:
    nodes, failing, parallel = graph
    diary = Diary()
    ends: dict[str, int] = {}
    clock = itertools.count()

    def ending(inner: Callable[[Scope], Any], name: str) -> Callable[[Scope], Any]:
        def run(scope: Scope) -> Any:
            try:
                return inner(scope)
            finally:
                ends[name] = next(clock)

        return run

    steps = []
    for name, needs, always in nodes:
        fails = StepFailed(name) if name in failing else None
        plain = diary.step(name, *needs, fails=fails)
        steps.append(
            Step(name, ending(plain.run, name), needs=needs, undo=plain.undo, always=always)
        )
    always = {name for name, _, is_always in nodes if is_always}
    outcome = go(steps, parallel=parallel)

    ran = [name for name in diary.did if not name.startswith("undo ")]
    undone = [name.removeprefix("undo ") for name in diary.did if name.startswith("undo ")]
    assert len(ran) == len(set(ran))  # each at most once
    needs_of = {name: needs for name, needs, _ in nodes}
    for name in ran:  # after what it needs, which had succeeded (`always` ones only follow)
        for need in needs_of[name]:
            if name not in always:
                assert need in ran
                assert need not in failing
            if need in ran:
                assert ran.index(need) < ran.index(name)
    assert always <= set(ran)
    normal_ran = [name for name in ran if name not in always]
    assert ran[len(normal_ran) :] == [name for name in ran if name in always]  # at the end
    failed = [name for name in normal_ran if name in failing]
    if failed:
        assert outcome.error is not None
        assert set(undone) == set(normal_ran)
        at = diary.did.index(f"undo {undone[0]}")
        assert diary.did[at : at + len(undone)] == [f"undo {name}" for name in undone]
        first_failure = min(ends[name] for name in failed)
        # what started after it was known is at most what was handed out together with it
        late = [name for name in normal_ran if ends[name] > first_failure]
        assert len(late) < parallel + 1
        if parallel == 1:
            assert undone == normal_ran[::-1]
    else:
        assert undone == []
        assert set(normal_ran) == {name for name, _, _ in nodes} - always
    assert outcome.ok == (not failing & set(ran))
    for result in outcome.steps:
        assert (result.status == "not run") == (result.name not in ran)


def test_independent_steps_run_at_the_same_time(go: Go) -> None:
    barrier = threading.Barrier(3)

    def meet(scope: Scope) -> None:
        barrier.wait(5)

    assert go([Step(name, meet) for name in "abc"]).ok


def test_no_more_steps_run_at_once_than_asked_for(go: Go) -> None:
    busy: list[int] = []
    lock = threading.Lock()
    most = 0

    def work(scope: Scope) -> None:
        nonlocal most
        with lock:
            busy.append(1)
            most = max(most, len(busy))
        time.sleep(0.003)
        with lock:
            busy.pop()

    assert go([Step(f"s{n}", work) for n in range(8)], parallel=2).ok
    assert most == 2


# -- failures --


def test_after_a_failure_everything_is_undone_in_reverse_and_always_steps_run(
    go: Go, diary: Diary, watcher: Any
) -> None:
    outcome = go(
        [
            diary.step("lock"),
            diary.step("stage", "lock"),
            diary.step("swap", "stage", fails=Refused("no")),
            diary.step("tidy", "swap"),
            diary.step("unlock", always=True),
        ],
        listeners=[watcher],
    )
    assert diary.did == ["lock", "stage", "swap", "undo swap", "undo stage", "undo lock", "unlock"]
    assert statuses(outcome) == {
        "lock": "undone",
        "stage": "undone",
        "swap": "failed",
        "tidy": "not run",
        "unlock": "ok",
    }
    assert isinstance(outcome.error, Refused)
    assert outcome.error.exit_code == 3
    assert ("finished", "stage", "undone") in watcher.events


def test_steps_that_are_running_are_asked_to_stop_and_awaited_before_anything_is_undone(
    go: Go, diary: Diary
) -> None:
    begun = threading.Event()

    def slow(scope: Scope) -> None:
        begun.set()
        assert scope.cancel.wait(10)
        time.sleep(0.02)
        diary.did.append("slow stopped")
        scope.check()

    def fail(scope: Scope) -> None:
        assert begun.wait(10)
        raise StepFailed("disk full")

    outcome = go(
        [
            Step("slow", slow, undo=lambda scope: diary.did.append("undo slow")),
            Step("fail", fail, undo=lambda scope: diary.did.append("undo fail")),
        ]
    )
    assert diary.did == ["slow stopped", "undo fail", "undo slow"]
    assert statuses(outcome) == {"slow": "cancelled", "fail": "failed"}
    assert outcome.error is not None
    assert outcome.error.message == "disk full"


def test_an_undo_that_fails_does_not_stop_the_others_and_calls_for_a_person(
    go: Go, diary: Diary, tmp_path: Path, watcher: Any
) -> None:
    def broken(scope: Scope) -> None:
        raise StepFailed("the rename back failed", hint="rename it by hand")

    with Journal.open(tmp_path, RUN) as journal:
        outcome = go(
            [
                diary.step("a"),
                diary.step("b", "a", undo=broken),
                diary.step("c", "b", fails=StepFailed("first")),
            ],
            journal=journal,
            listeners=[watcher],
        )
    assert diary.did == ["a", "b", "c", "undo c", "undo a"]
    assert outcome.failure is not None
    assert outcome.failure.message == "first"
    assert [name for name, _ in outcome.undo_errors] == ["b"]
    # exit 1 would promise that the target is untouched or rolled back
    assert isinstance(outcome.error, NeedsPerson)
    assert "the rename back failed" in outcome.error.message
    assert "by hand" in outcome.error.hint
    assert statuses(outcome) == {"a": "undone", "b": "failed", "c": "failed"}
    ended = [(e["name"], e["status"]) for e in read(journal.path) if e["event"] == "undo_finished"]
    assert ended == [("c", "undone"), ("b", "failed"), ("a", "undone")]
    assert any(event[:2] == ("note", "b") and "renam" in event[2] for event in watcher.events)


def test_an_always_step_that_fails_makes_the_run_fail_and_undoes_nothing(
    go: Go, diary: Diary
) -> None:
    outcome = go(
        [
            diary.step("work"),
            diary.step("unlock", always=True, fails=StepFailed("lock is gone")),
            diary.step("close", always=True),
        ]
    )
    assert diary.did == ["work", "unlock", "close"]
    assert statuses(outcome) == {"work": "ok", "unlock": "failed", "close": "ok"}
    assert outcome.error is not None
    assert outcome.error.message == "lock is gone"


def test_the_first_failure_is_the_runs_error_unless_a_later_one_needs_a_person(
    go: Go, diary: Diary
) -> None:
    plain = go(
        [
            diary.step("a", fails=StepFailed("first", hint="mend it")),
            diary.step("z", always=True, fails=Refused("second", hint="remove the stage")),
        ]
    )
    assert plain.failure is not None
    assert plain.failure.hint == "mend it"
    assert isinstance(plain.error, StepFailed)
    assert plain.error.message == "first"
    # what else has to be done is not only among the steps' lines, which are long gone by
    assert plain.error.hint == 'mend it; after it step "z" failed as well: remove the stage'
    person = go(
        [
            diary.step("a", fails=StepFailed("first")),
            diary.step("z", always=True, fails=NeedsPerson("maintenance is still on")),
        ]
    )
    assert isinstance(person.error, NeedsPerson)


@pytest.mark.parametrize("raised", [ZeroDivisionError("hunter2"), SystemExit(3), KeyError("x")])
def test_an_unexpected_exception_is_a_defect_with_a_traceback_but_no_values(
    go: Go, diary: Diary, tmp_path: Path, raised: BaseException
) -> None:
    def bug(scope: Scope) -> None:
        password_in_a_local = "hunter" + "3"
        assert password_in_a_local
        raise raised

    with Journal.open(tmp_path, RUN, redact=lambda t: t.replace("hunter2", "…")) as journal:
        outcome = go([diary.step("a"), Step("bug", bug, on="test", needs=("a",))], journal=journal)
    assert isinstance(outcome.error, StepFailed)
    assert "this is a defect in biso-tasks" in outcome.error.message
    assert 'step "bug" on test' in outcome.error.message
    assert "hunter2" not in outcome.error.message
    defect = next(event for event in read(journal.path) if event["event"] == "defect")
    assert "in bug" in defect["traceback"]
    assert "hunter3" not in defect["traceback"]
    assert "hunter2" not in journal.path.read_text()
    assert diary.did == ["a", "undo a"]


def test_facts_that_cannot_be_journaled_fail_the_step(go: Go, diary: Diary, tmp_path: Path) -> None:
    with Journal.open(tmp_path, RUN) as journal:
        leaky = diary.step("leaky", run=lambda scope: {"password": Secret("hunter2")})
        outcome = go([leaky], journal=journal)
    assert statuses(outcome) == {"leaky": "failed"}
    assert diary.did == ["undo leaky"]
    assert "hunter2" not in journal.path.read_text()


# -- retries, timeouts, done, skip --


def test_a_plain_failure_is_tried_again_as_often_as_the_step_says(
    go: Go, tmp_path: Path, watcher: Any
) -> None:
    tries: list[int] = []

    def flaky(scope: Scope) -> dict[str, Any]:
        tries.append(1)
        if len(tries) < 3:
            raise StepFailed("connection lost")
        return {"tries": len(tries)}

    with Journal.open(tmp_path, RUN) as journal:
        outcome = go([Step("copy", flaky, retries=2)], journal=journal, listeners=[watcher])
    assert outcome.ok
    assert outcome.steps[0].facts == {"tries": 3}
    again = [event for event in read(journal.path) if event["event"] == "step_retry"]
    assert [(event["attempt"], event["message"]) for event in again] == [
        (1, "connection lost"),
        (2, "connection lost"),
    ]
    assert any("trying again" in event[2] for event in watcher.events if event[0] == "note")
    tries.clear()
    assert not go([Step("copy", flaky, retries=1)]).ok
    assert len(tries) == 2


@pytest.mark.parametrize("raised", [Refused("no"), NeedsPerson("look"), TypeError("bug")])
def test_a_refusal_or_a_defect_is_not_tried_again(go: Go, raised: Exception) -> None:
    tries: list[int] = []

    def run(scope: Scope) -> None:
        tries.append(1)
        raise raised

    assert not go([Step("a", run, retries=5)]).ok
    assert len(tries) == 1


def test_a_step_that_takes_too_long_is_stopped_and_fails(go: Go, diary: Diary) -> None:
    outcome = go(
        [diary.step("slow", run=until_cancelled, timeout=0.02, retries=3, on="prod")],
    )
    assert statuses(outcome) == {"slow": "failed"}
    assert outcome.error is not None
    assert outcome.error.message == 'step "slow" on prod took longer than 0.02 s'
    assert diary.did == ["undo slow"]


def test_an_always_step_has_its_timeout_too(go: Go) -> None:
    outcome = go([Step("end", until_cancelled, timeout=0.02, always=True)])
    assert outcome.error is not None
    assert "took longer" in outcome.error.message


def test_what_is_done_already_or_planned_as_skipped_does_not_run_and_is_not_undone(
    go: Go, diary: Diary, watcher: Any
) -> None:
    outcome = go(
        [
            diary.step("a", done=lambda: True),
            diary.step("b", "a", skip="not asked for"),
            diary.step("c", "b", done=lambda: False),
            diary.step("d", "c", fails=StepFailed("x")),
        ],
        listeners=[watcher],
    )
    assert diary.did == ["c", "d", "undo d", "undo c"]
    assert statuses(outcome)["a"] == statuses(outcome)["b"] == "skipped"
    assert outcome.steps[1].facts == {"reason": "not asked for"}
    assert ("finished", "a", "skipped") in watcher.events
    assert ("started", "a") not in watcher.events


def test_a_question_that_fails_fails_the_step_without_undoing_what_never_ran(
    go: Go, diary: Diary
) -> None:
    def ask() -> bool:
        raise StepFailed("unreachable")

    outcome = go([diary.step("a", done=ask)])
    assert statuses(outcome) == {"a": "failed"}
    assert diary.did == []


# -- interrupts --


def test_an_interrupt_stops_undoes_and_ends_as_interrupted(go: Go, diary: Diary) -> None:
    cancel = threading.Event()

    def wait(scope: Scope) -> None:
        cancel.set()
        until_cancelled(scope)

    outcome = go(
        [
            diary.step("a"),
            diary.step("b", "a", run=wait),
            diary.step("c", "b"),
            diary.step("z", always=True),
        ],
        cancel=cancel,
    )
    assert diary.did == ["a", "undo b", "undo a", "z"]
    assert statuses(outcome) == {"a": "undone", "b": "cancelled", "c": "not run", "z": "ok"}
    assert isinstance(outcome.error, Interrupted)
    assert outcome.error.exit_code == 130


def test_an_interrupt_before_the_start_runs_nothing_but_the_end(go: Go, diary: Diary) -> None:
    cancel = threading.Event()
    cancel.set()
    outcome = go([diary.step("a"), diary.step("z", always=True)], cancel=cancel)
    assert diary.did == ["z"]
    assert isinstance(outcome.error, Interrupted)


def test_a_step_that_stops_slowly_after_an_interrupt_is_not_a_timeout(go: Go) -> None:
    cancel = threading.Event()

    def slow(scope: Scope) -> None:
        cancel.set()
        scope.cancel.wait(10)
        time.sleep(0.15)
        scope.check()

    outcome = go([Step("a", slow, timeout=0.1)], cancel=cancel)
    assert isinstance(outcome.error, Interrupted)
    assert statuses(outcome) == {"a": "cancelled"}


def test_an_interrupt_ends_the_pause_before_a_retry(go: Go) -> None:
    cancel = threading.Event()

    def fail(scope: Scope) -> None:
        cancel.set()
        raise StepFailed("no")

    plan = Plan("try", RUN, (Step("a", fail, retries=3),))
    began = time.monotonic()
    outcome = execute(plan, Null(), (), cancel=cancel, backoff=30)
    assert time.monotonic() - began < 5
    assert isinstance(outcome.error, Interrupted)


def test_a_second_interrupt_does_not_end_the_clean_up(go: Go, diary: Diary) -> None:
    cancel = threading.Event()
    said: list[str] = []

    def wait(scope: Scope) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        until_cancelled(scope)

    def undo(scope: Scope) -> None:
        # A signal may reach a thread that waits; a person presses the keys again, too.
        end = time.monotonic() + 5
        while len(said) < 2 and time.monotonic() < end:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        assert not scope.cancel.is_set()
        diary.did.append("undone to the end")

    with interruptible(cancel, said.append):
        outcome = go([Step("a", wait, undo=undo)], cancel=cancel)
    assert diary.did == ["undone to the end"]
    assert isinstance(outcome.error, Interrupted)
    assert len(said) >= 2


def test_ctrl_c_without_a_handler_still_cleans_up() -> None:
    code = """
import os, signal, threading
from biso_tasks.flow.journal import Null
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.flow.run import execute
def wait(scope):
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    scope.cancel.wait(10)
    scope.check()
step = Step("a", wait, undo=lambda scope: print("undone"))
print(execute(Plan("t", "r", (step,)), Null(), (), cancel=threading.Event()).error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True)
    assert done.stdout.split() == [b"undone", b"130"], done.stderr.decode()


# -- journal and listeners --


class FullDisk:
    """A journal that takes so many events and no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, event: str, **fields: Any) -> None:
        self.room -= 1
        if self.room < 0:
            raise JournalError("no space left on device", hint="make room")

    def redact(self, text: str) -> str:
        return text


@pytest.mark.parametrize("room", range(8))
def test_a_journal_that_fails_stops_the_run_but_not_its_clean_up(
    go: Go, diary: Diary, room: int
) -> None:
    outcome = go(
        [diary.step("a"), diary.step("b", "a"), diary.step("z", always=True)],
        journal=FullDisk(room),
        parallel=1,
    )
    assert outcome.error is not None
    assert "no space left" in outcome.error.message
    ran = [name for name in diary.did if name in ("a", "b")]
    undone = [name for name in diary.did if name.startswith("undo")]
    if room < 5:  # with room for both steps to end, only the end of the run is lost
        assert undone == [f"undo {name}" for name in reversed(ran)]
    assert len(ran) == max(0, room // 2) if room < 5 else 2
    assert diary.did[-1] == "z"
    assert room < 5 or statuses(outcome) == {"a": "ok", "b": "ok", "z": "ok"}
    # What is done is not called untouched or rolled back (1) for want of a line about it.
    assert outcome.error.exit_code == (1 if room < 5 else 75)
    assert outcome.error.hint


def test_the_journal_tells_the_whole_run(go: Go, diary: Diary, tmp_path: Path) -> None:
    with Journal.open(tmp_path, RUN) as journal:
        noted = diary.step("b", "a", run=lambda scope: scope.note("42 files"))
        go([diary.step("a"), noted], journal=journal)
    events = read(journal.path)
    assert [event["event"] for event in events] == [
        "run_started",
        "step_started",
        "step_finished",
        "step_started",
        "step_note",
        "step_finished",
        "run_finished",
    ]
    assert events[0]["task"] == "try"
    assert [step["name"] for step in events[0]["steps"]] == ["a", "b"]
    assert events[2]["facts"] == {"by": "a"}
    assert events[-1]["ok"] is True
    assert events[-1]["error"] is None


def test_a_listener_that_raises_breaks_nothing_and_is_reported_once(
    go: Go, diary: Diary, watcher: Any
) -> None:
    class Broken:
        def step_started(self, step: Step) -> None:
            raise RuntimeError("no terminal")

        def step_progress(self, *args: Any) -> None:
            raise SystemExit(1)

        def step_note(self, *args: Any) -> None: ...

        def step_finished(self, *args: Any) -> None: ...

    def work(scope: Scope) -> None:
        for n in range(5):
            scope.progress(n, 5, "files")

    outcome = go([Step("a", work), diary.step("b")], listeners=[Broken(), watcher])
    assert outcome.ok
    assert sorted((one.listener, one.method) for one in outcome.listener_errors) == [
        ("Broken", "step_progress"),
        ("Broken", "step_started"),
    ]
    assert ("progress", "a", 4, 5, "files") in watcher.events


def test_listeners_are_told_one_at_a_time(go: Go, watcher: Any) -> None:
    def work(scope: Scope) -> None:
        for n in range(50):
            scope.progress(n, None, "files")

    outcome = go([Step(f"s{n}", work) for n in range(4)], listeners=[watcher])
    assert outcome.ok
    assert outcome.listener_errors == ()
    assert len(watcher.events) == 4 * 52


def test_a_thousand_steps_run_in_a_moment(go: Go) -> None:
    steps = [
        Step(f"s{n}", lambda scope: None, needs=(f"s{n - 1}",) if n % 7 else ())
        for n in range(1000)
    ]
    began = time.process_time()
    assert go(steps).ok
    assert time.process_time() - began < 5


def test_flow_knows_nothing_of_the_rest_of_the_house() -> None:
    code = (
        "import sys, biso_tasks.flow.run, biso_tasks.flow.recipe, biso_tasks.flow.interrupt\n"
        "print(sorted(m for m in sys.modules if m.startswith('biso_tasks.')\n"
        " and not m.startswith('biso_tasks.flow') or m in ('pluggy', 'fabric', 'psycopg')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "['biso_tasks.errors']"
    assert issubclass(JournalError, BisoError)


# -- steps that have nothing to do with each other --


def test_of_independent_steps_one_that_fails_stops_none_and_none_is_undone(diary: Diary) -> None:
    steps = (
        diary.step("a", fails=StepFailed("no")),
        diary.step("b"),
        diary.step("c", "a"),
        diary.step("d", fails=Refused("nor this")),
    )
    plan = Plan("try", RUN, steps, independent=True)
    outcome = execute(plan, Null(), [], parallel=1, cancel=threading.Event())
    assert diary.did == ["a", "b", "d"]
    assert statuses(outcome) == {"a": "failed", "b": "ok", "c": "not run", "d": "failed"}
    assert outcome.error is not None
    assert outcome.error.message == "no"


def test_an_interrupt_stops_independent_steps_too(diary: Diary) -> None:
    cancel = threading.Event()

    def stopped(scope: Scope) -> None:
        cancel.set()
        until_cancelled(scope)

    steps = (Step("a", stopped), diary.step("b"))
    outcome = execute(
        Plan("try", RUN, steps, independent=True), Null(), [], parallel=1, cancel=cancel
    )
    assert statuses(outcome) == {"a": "cancelled", "b": "not run"}
    assert isinstance(outcome.error, Interrupted)


def test_without_a_journal_independent_steps_stop(diary: Diary) -> None:
    class Full(Null):
        def write(self, event: str, **fields: Any) -> None:
            if event == "step_started" and fields["name"] == "b":
                raise JournalError("disk full")

    plan = Plan("try", RUN, (diary.step("a"), diary.step("b"), diary.step("c")), independent=True)
    outcome = execute(plan, Full(), [], parallel=1, cancel=threading.Event())
    assert diary.did == ["a"]
    assert isinstance(outcome.error, JournalError)


def test_what_a_step_waits_for_is_ended_where_it_does_not_stop_by_itself(
    go: Go, monkeypatch: pytest.MonkeyPatch, watcher: Any
) -> None:
    """A command that hangs takes no notice of `cancel`: without this an interrupt would wait for it
    as long as it hangs."""
    monkeypatch.setattr("biso_tasks.flow.running.LATE", 0.1)
    hangs, cancel = threading.Event(), threading.Event()
    moments: list[float] = []

    def hung(scope: Scope) -> None:
        cancel.set()
        assert hangs.wait(10)
        raise StepFailed("its command was ended")

    def late(moment: float) -> None:
        moments.append(moment)
        hangs.set()

    began = time.monotonic()
    outcome = go([Step("a", hung)], cancel=cancel, late=late, listeners=[watcher])
    assert statuses(outcome) == {"a": "cancelled"}
    assert isinstance(outcome.error, Interrupted)
    assert len(moments) == 1
    # what began after it was asked to stop is a clean-up
    assert began <= moments[0] <= time.monotonic() - 0.1
    assert any(event[:2] == ("note", "a") for event in watcher.events)


def test_nothing_is_ended_while_a_step_beside_goes_on(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is over its own time was asked to stop; what is ended could be the other's."""
    monkeypatch.setattr("biso_tasks.flow.running.LATE", 0.05)
    ended = threading.Event()

    def slow(scope: Scope) -> None:
        assert scope.cancel.wait(10)
        time.sleep(0.3)

    def beside(scope: Scope) -> None:
        time.sleep(0.4)
        assert not ended.is_set()

    steps = [Step("a", slow, timeout=0.02), Step("b", beside)]
    outcome = go(steps, late=lambda moment: ended.set())
    assert outcome.error is not None
    assert outcome.error.message == 'step "a" took longer than 0.02 s'
