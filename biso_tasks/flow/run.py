"""Executes a plan: steps in parallel where their needs allow, and everything undone when one fails.

Order of a run: steps → (after a failure or an interrupt: the running ones are asked to stop and
awaited, then every started step is undone, last started first) → the steps that run `always`. Where
the steps are independent, only an interrupt stops them.
"""

from __future__ import annotations

import heapq
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from biso_tasks.errors import BisoError, Interrupted, NeedsPerson, ObserverFailed, StepFailed
from biso_tasks.flow.interrupt import interruptible
from biso_tasks.flow.journal import EventLog, JournalError
from biso_tasks.flow.listen import Listener, Listeners, Status, attempt
from biso_tasks.flow.outcome import Outcome, StepResult
from biso_tasks.flow.plan import Plan, Scope, Step
from biso_tasks.flow.running import RunningSteps
from biso_tasks.flow.work import Ended, Worker, place

__all__ = ["Outcome", "Scope", "StepResult", "execute"]

POLL: Final = 0.05  # seconds until a signal is noticed


def execute(
    plan: Plan,
    journal: EventLog,
    listeners: Sequence[Listener],
    *,
    parallel: int = 4,
    cancel: threading.Event,
    backoff: float = 1.0,
    late: Callable[[float], object] = lambda moment: None,
) -> Outcome:
    """Run the plan to its end; never raises for what a step does. Setting `cancel` is an interrupt.
    `late` is called where steps that were asked to stop do not, with the moment of time.monotonic()
    at which they were asked: what they wait for since before hangs, or takes too long.

    `parallel` is the number of steps that may run at once; `backoff` the seconds before the first
    retry, doubled each time. Only a failure of the plain kind (exit code 1) is tried again. Raises
    CycleError or ConfigError for a plan that cannot be ordered, before anything runs. Call it
    inside `interruptible()`; without, Ctrl-C is an interrupt all the same, but nothing says so.
    """
    order = plan.order()
    with (
        _ctrl_c(cancel),
        ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="step") as pool,
    ):
        run = _Run(plan, order, pool, journal, Listeners(listeners), cancel, backoff, late)
        try:
            return run.whole(max(1, parallel))
        finally:
            run.stop_running()


class _Run:
    """One run's state. The scheduler's thread alone changes it; workers only report."""

    def __init__(
        self,
        plan: Plan,
        order: tuple[Step, ...],
        pool: ThreadPoolExecutor,
        journal: EventLog,
        listeners: Listeners,
        cancel: threading.Event,
        backoff: float,
        late: Callable[[float], object],
    ) -> None:
        self._plan = plan
        self._order = order
        self._pool = pool
        self._journal = journal
        self._listeners = listeners
        self._cancel = cancel
        self._late = late
        self._worker = Worker(journal, listeners, backoff)
        # A SimpleQueue may be interrupted by a signal handler that uses it; a Condition may not.
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._running = RunningSteps()
        self._started: list[Step] = []
        self._results: dict[str, StepResult] = {}
        self._failure: BisoError | None = None
        self._complete = False
        self._untold: BaseException | None = None
        self._person: NeedsPerson | None = None
        self._undo_errors: list[tuple[str, BisoError]] = []
        self._left: tuple[str, BisoError] | None = None

    def whole(self, parallel: int) -> Outcome:
        began = time.monotonic()
        self._log(
            "run_started",
            task=self._plan.name,
            run=self._plan.run_id,
            steps=self._plan.as_json(),
        )
        self._steps([step for step in self._order if not step.always], parallel)
        if self._cancel.is_set() and self._failure is None:
            self._failure = Interrupted("interrupted: what was begun has been cleaned up")
        self._complete = self._failure is None
        if self._failure is not None and not self._plan.independent:
            for step in reversed(self._started):
                self._undo(step)
        for step in self._order:
            if step.always:
                self._steps([step], 1, at_the_end=True)
        for one in self._listeners.errors:
            self._log(
                "listener_failed", listener=one.listener, method=one.method, message=one.message
            )
        seconds = time.monotonic() - began
        error = self._error()
        status = "interrupted" if isinstance(error, Interrupted) else "failed"
        self._log(
            "run_finished",
            ok=error is None,
            status="ok" if error is None else status,
            seconds=round(seconds, 3),
            error=_as_json(error),
        )
        return Outcome(
            tuple(
                self._results.get(step.name)
                or StepResult(step.name, step.on, "not run", 0.0, {}, None)
                for step in self._order
            ),
            self._error(),
            seconds,
            self._listeners.errors,
            self._failure,
            tuple(self._undo_errors),
        )

    def stop_running(self) -> None:
        """Ask every running step to stop; they are awaited where the pool ends."""
        self._running.ask(time.monotonic())

    def _steps(self, steps: Sequence[Step], parallel: int, *, at_the_end: bool = False) -> None:
        """Run these to their end. At the end of the run neither an interrupt nor an earlier failure
        keeps a step from running."""
        index = {step.name: number for number, step in enumerate(steps)}
        missing = [len(index.keys() & set(step.needs)) for step in steps]
        followers: list[list[int]] = [[] for _ in steps]
        for number, step in enumerate(steps):
            for need in index.keys() & set(step.needs):
                followers[index[need]].append(number)
        # A heap of positions: among the ready ones, the plan's order counts.
        ready = [number for number, left in enumerate(missing) if not left]
        while ready or self._running:
            if not at_the_end and self._stops():
                self.stop_running()
                ready.clear()
            done: Step | None = None
            if ready and len(self._running) < parallel:
                step = steps[heapq.heappop(ready)]
                if step.skip:
                    self._skip(step, step.skip)
                    done = step
                else:
                    self._start(step)
            elif self._running:
                done = self._settle(self._wait())
            if done is not None:
                for follower in followers[index[done.name]]:
                    missing[follower] -= 1
                    if not missing[follower]:
                        heapq.heappush(ready, follower)

    def _stops(self) -> bool:
        """Whether nothing more is begun. What cannot be journaled stops those that have nothing to
        do with each other as well."""
        failed = self._failure is not None and not self._plan.independent
        return failed or self._cancel.is_set() or isinstance(self._failure, JournalError)

    def _start(self, step: Step) -> None:
        # What cannot be journaled does not start: without a journal nobody could recover it.
        logged = self._log("step_started", name=step.name, on=step.on, uses=step.uses)
        if not logged and not step.always:
            return
        running = self._running.add(step, time.monotonic())
        if not step.always:
            self._started.append(step)
        self._pool.submit(lambda: self._ended.put(self._worker.run(step, running.cancel)))

    def _wait(self) -> Ended | None:
        """What ended next, or None: then look around for signals and timeouts."""
        wait = self._running.look(time.monotonic(), POLL)
        late = self._running.late(time.monotonic())
        if late is not None:
            for step in late.steps:
                self._listeners.note(step, "it does not stop by itself: what it waits for is ended")
            self._late(late.since)
        try:
            return self._ended.get(timeout=wait)
        except queue.Empty:
            return None

    def _settle(self, ended: Ended | None) -> Step | None:
        """Book what a worker reported. Gives the step if what needs it may go on."""
        if ended is None:
            return None
        step = ended.step
        running = self._running.pop(step.name)
        seconds = time.monotonic() - running.began
        if not ended.ran and step in self._started:
            self._started.remove(step)
        if running.timed_out:
            late = StepFailed(
                f'step "{step.name}"{place(step)} took longer than {step.timeout:g} s',
                hint="find out why, or give the step a longer `timeout`",
            )
            late.__cause__ = ended.error
            self._failed(step, "failed", seconds, late)
            return None
        if ended.error is not None:
            status: Status = "cancelled" if running.cancel.is_set() else "failed"
            self._failed(step, status, seconds, self._worker.explain(step, ended.error))
            return None
        if not ended.ran:
            self._skip(step, "already done")
            return step
        trouble = self._record(step, "ok", seconds, ended.facts, None)
        if trouble is not None and self._complete:
            self._untold = self._untold or trouble
        elif trouble is not None:
            self._failed(step, "failed", seconds, self._worker.explain(step, trouble))
            return None
        return step

    def _failed(self, step: Step, status: Status, seconds: float, error: BisoError) -> None:
        if self._failure is None and status == "failed":
            self._failure = error
        elif self._person is None and isinstance(error, NeedsPerson):
            self._person = error
        elif step.always and status == "failed":
            self._left = self._left or (step.name, error)
        self._record(step, status, seconds, {}, error)

    def _record(
        self,
        step: Step,
        status: Status,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
    ) -> BaseException | None:
        """Journal, remember, tell. Gives what was raised where a success cannot be journaled."""
        _, trouble = attempt(
            lambda: self._journal.write(
                "step_finished",
                name=step.name,
                on=step.on,
                status=status,
                seconds=round(seconds, 3),
                facts=facts,
                error=_as_json(error),
            )
        )
        if trouble is not None and error is None and not self._complete:
            return trouble
        self._results[step.name] = StepResult(step.name, step.on, status, seconds, facts, error)
        self._listeners.finished(step, status, seconds, facts, error)
        return trouble if error is None else None

    def _skip(self, step: Step, reason: str) -> None:
        facts = {"reason": reason}
        self._log(
            "step_finished",
            name=step.name,
            on=step.on,
            status="skipped",
            seconds=0.0,
            facts=facts,
            error=None,
        )
        self._results[step.name] = StepResult(step.name, step.on, "skipped", 0.0, facts, None)
        self._listeners.finished(step, "skipped", 0.0, facts, None)

    def _undo(self, step: Step) -> None:
        undo = step.undo
        if undo is None:
            return
        self._listeners.note(step, "undoing")
        self._log("undo_started", name=step.name, on=step.on)
        began = time.monotonic()
        # The run's `cancel` does not reach here: an interrupt must not end the clean-up.
        scope = self._worker.scope(step, threading.Event())
        outbox: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._pool.submit(lambda: outbox.put(attempt(lambda: undo(scope))[1]))
        raised = outbox.get()
        seconds = time.monotonic() - began
        before = self._results[step.name]
        status: Status = "undone"
        error: BisoError | None = None
        if raised is not None:
            status = "failed"
            error = self._worker.explain(step, raised)
            self._undo_errors.append((step.name, error))
            self._listeners.note(step, f"could not be undone: {error.message}")
        # A step that failed by itself stays failed, undone or not.
        shown = status if before.status == "ok" or error is not None else before.status
        self._results[step.name] = StepResult(
            step.name, step.on, shown, before.seconds, before.facts, error or before.error
        )
        self._log(
            "undo_finished",
            name=step.name,
            on=step.on,
            status=status,
            seconds=round(seconds, 3),
            error=_as_json(error),
        )
        self._listeners.finished(step, status, seconds, {}, error)

    def _error(self) -> BisoError | None:
        """What the run ends with. Exit 1 and 130 promise that the target is untouched or rolled
        back: after a failed undo that is not so, and a person has to look."""
        first = self._failure
        if first is None and self._untold is not None:
            return self._untold_error(self._untold)
        if first is None or isinstance(first, NeedsPerson):
            return first
        if self._undo_errors:
            name, undo = self._undo_errors[0]
            person = NeedsPerson(
                f'{first.message}; and step "{name}" could not be undone: {undo.message}',
                hint=undo.hint or "run `invoke recover`, then `invoke doctor`",
            )
            person.__cause__ = first
            return person
        if self._person is None and self._left is not None:
            name, left = self._left
            return first.with_hint(
                f'{first.remedy}; after it step "{name}" failed as well: {left.remedy}'
            )
        return self._person or first

    def _untold_error(self, trouble: BaseException) -> ObserverFailed:
        """The work is done and stays done: "a step failed" would be wrong."""
        hint = trouble.hint if isinstance(trouble, BisoError) else ""
        told = ObserverFailed(
            f"{self._plan.name} is done, but its journal does not say so: "
            f"{str(trouble).splitlines()[0]}",
            hint=hint or "nothing needs to be run again",
        )
        told.__cause__ = trouble
        return told

    def _log(self, event: str, **fields: Any) -> bool:
        """Whether the event is on disk. A journal that fails is a failure of the run, as long as
        there is something to undo, and must not keep it from cleaning up."""
        _, error = attempt(lambda: self._journal.write(event, **fields))
        if error is None:
            return True
        if self._complete:
            self._untold = self._untold or error
        elif self._failure is None:
            self._failure = (
                error
                if isinstance(error, BisoError)
                else JournalError(f"{event} is not journaled: {error}")
            )
        return False


def _ctrl_c(cancel: threading.Event) -> AbstractContextManager[None]:
    """Where nobody handles Ctrl-C, it would end this thread in the middle of a clean-up."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return interruptible(cancel, lambda text: None)
    return nullcontext()


def _as_json(error: BisoError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "kind": error.kind,
        "message": error.message,
        "hint": error.remedy,
        "exit_code": error.exit_code,
    }
