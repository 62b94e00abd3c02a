"""Tells the observer plugins what happens, one by one and isolated: none can break a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biso_tasks.errors import BisoError
from biso_tasks.flow.listen import Status
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.flow.run import Outcome
from biso_tasks.hooks.manager import ObserverFailure, PluginManager
from biso_tasks.hooks.types import ErrorReport, Report, StepReport

__all__ = ["Observers", "tell_no_run"]


class Observers:
    """A flow listener that passes steps on to the hooks; `failures` are sentences about observers
    that raised."""

    def __init__(self, hooks: PluginManager, plan: Plan) -> None:
        self._hooks = hooks
        self._plan = plan
        self.failures: list[str] = []

    def run_started(self) -> None:
        self._keep(self._hooks.observe("biso_run_started", plan=self._plan))

    def step_started(self, step: Step) -> None:
        self._keep(self._hooks.observe("biso_before_step", step=step))

    def step_progress(self, step: Step, done: int, total: int | None, unit: str) -> None:
        return None

    def step_note(self, step: Step, text: str) -> None:
        return None

    def step_finished(
        self,
        step: Step,
        status: Status,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
    ) -> None:
        result = StepReport(
            step.name, step.on, status, seconds, error.message if error is not None else ""
        )
        self._keep(self._hooks.observe("biso_after_step", step=step, result=result))

    def run_finished(self, plan: Plan, outcome: Outcome, html: Path) -> None:
        error = outcome.error
        report = Report(
            task=plan.name,
            run=plan.run_id,
            ok=outcome.ok,
            exit_code=0 if error is None else error.exit_code,
            seconds=outcome.seconds,
            environments=tuple(sorted({step.on for step in plan.steps if step.on})),
            steps=tuple(
                StepReport(
                    one.name,
                    one.on,
                    one.status,
                    one.seconds,
                    one.error.message if one.error is not None else "",
                )
                for one in outcome.steps
            ),
            error=None if error is None else ErrorReport(error.kind, error.message, error.remedy),
            html=html,
        )
        self._keep(self._hooks.observe("biso_run_finished", report=report))

    def _keep(self, failures: list[ObserverFailure]) -> None:
        self.failures += _sentences(failures)


def tell_no_run(
    hooks: PluginManager, task: str, run: str, error: BisoError, seconds: float
) -> list[str]:
    """Tell `biso_run_finished` of a command that failed before its run began: no steps, no
    environments, no report. Gives sentences about observers that raised."""
    report = Report(
        task=task,
        run=run,
        ok=False,
        exit_code=error.exit_code,
        seconds=seconds,
        error=ErrorReport(error.kind, error.message, error.remedy),
    )
    return _sentences(hooks.observe("biso_run_finished", report=report))


def _sentences(failures: list[ObserverFailure]) -> list[str]:
    return [f"{one.plugin} ({one.hook}): {one.message}" for one in failures]
