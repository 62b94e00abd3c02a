"""What a run did, read back from its journal: steps, times, errors, proof; as JSON and Markdown
here, as a page in `report_html`.

Besides the runner's events (see flow.journal) two of a caller's are understood, each optional:
`plan` with `header` ([[label, value], …]) and `notes` ([sentence, …]), and `result` with `facts`
(what the run as a whole gave, e.g. `source`). The facts `downtime_seconds`, `maintenance_seconds`,
`proof` (or a step's columns, values, files, leaks), `source`, `previous` and `residual_risk` count
for the run, whichever step gave them; of a result all do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from biso_tasks.flow.journal import JournalError, read
from biso_tasks.ui.report_away import Served, served
from biso_tasks.ui.report_privacy import PersonalData, personal_data
from biso_tasks.ui.report_step import ReportError, ReportStep

__all__ = ["Past", "Report", "ReportError", "ReportStep", "as_json", "from_events", "load"]

# Facts that a reader asks for first, in this order.
RUN_FACTS: Final = ("source", "downtime_seconds", "maintenance_seconds", "previous", "proof")
RISK: Final = "residual_risk"
PROOF: Final = ("columns", "values", "files", "leaks")


@dataclass(frozen=True, slots=True)
class Past:
    """A run of the same task, this one or one before it; `bytes` that it moved, 0 for none."""

    run: str
    started: datetime
    seconds: float
    status: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """A run. `status` is ok, failed, interrupted or unfinished (the journal has no end: the run is
    going on, or was cut off; `exit_code` is None then). `facts` are those of the run as a whole,
    `risks` what a reader must know although all went well. `observers` are the listeners that
    failed. `seconds` of an unfinished run reach to its last event. `personal` is None where no copy
    of an instance was made. `past` are the last runs of its task, itself first. `served` says which
    environment was away when; it is empty where none was."""

    task: str
    run: str
    started: datetime
    seconds: float
    status: str
    exit_code: int | None
    steps: tuple[ReportStep, ...]
    header: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    risks: tuple[str, ...] = ()
    observers: tuple[str, ...] = ()
    error: ReportError | None = None
    personal: PersonalData | None = None
    past: tuple[Past, ...] = ()
    served: tuple[Served, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def downtime_seconds(self) -> float | None:
        """How long the instance did not serve, None where no step said."""
        value = self.facts.get("downtime_seconds")
        return float(value) if isinstance(value, int | float) else None

    @property
    def proof(self) -> Mapping[str, Any] | None:
        """columns, values, files, leaks; None where nothing was proven."""
        value = self.facts.get("proof")
        return value if isinstance(value, Mapping) else None


def load(path: Path) -> Report:
    """The report of a journal; one whose last line was cut off is read up to there. Raises
    JournalError where it cannot be read or holds no run."""
    try:
        return from_events(read(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JournalError(
            f"{path}: no report can be made of this journal ({type(error).__name__}: {error})",
            hint="it is damaged, or was written by another version of biso-tasks",
        ) from error


def from_events(events: Iterable[Mapping[str, Any]]) -> Report:
    """As `load`, from the events themselves. Raises ValueError where no run was started."""
    events = list(events)
    start = next((one for one in events if one["event"] == "run_started"), None)
    if start is None:
        raise ValueError("no run was started")
    zero, last = float(start["t"]), float(events[-1]["t"])
    steps = {one["name"]: _planned(one) for one in start["steps"]}
    for event in events:
        name = event.get("name")
        if isinstance(name, str) and name in steps:
            steps[name] = _told(steps[name], event, zero)
    steps = {name: _cut_off(step, last - zero) for name, step in steps.items()}
    end = next((one for one in reversed(events) if one["event"] == "run_finished"), None)
    error = _error(end.get("error")) if end else None
    observers = tuple(
        f"{one['listener']}.{one['method']}" for one in events if one["event"] == "listener_failed"
    )
    results = _of(events, "result")
    facts, risks = _run_facts([*(step.facts for step in steps.values()), *results])
    for result in results:
        facts |= {key: value for key, value in result.items() if key not in facts}
    personal = personal_data(tuple(steps.values()), facts.get("proof"))
    started = datetime.fromisoformat(start["at"]).astimezone(UTC)
    seconds = float(end["seconds"]) if end else last - zero
    return Report(
        task=str(start["task"]),
        run=str(start["run"]),
        started=started,
        seconds=seconds,
        status=str(end["status"]) if end else "unfinished",
        exit_code=_exit_code(error, observers) if end else None,
        steps=tuple(steps.values()),
        header=tuple((str(a), str(b)) for one in _plans(events) for a, b in one.get("header", [])),
        notes=tuple(str(note) for one in _plans(events) for note in one.get("notes", [])),
        facts=facts,
        risks=tuple(dict.fromkeys((*risks, *(personal.risks if personal else ())))),
        observers=observers,
        error=error,
        personal=personal,
        served=served(steps.values(), started, seconds),
    )


def as_json(report: Report) -> dict[str, Any]:
    """What CONTRACT §3 wants of --json, and what else the journal knows. JSON values only."""
    return {
        "ok": report.ok,
        "task": report.task,
        "run": report.run,
        "status": report.status,
        "exit_code": report.exit_code,
        "started": report.started.isoformat().replace("+00:00", "Z"),
        "seconds": report.seconds,
        **report.facts,
        "residual_risk": list(report.risks),
        **({} if report.personal is None else {"personal_data": report.personal.as_json()}),
        "notes": list(report.notes),
        "observers_failed": list(report.observers),
        "steps": [
            {
                "name": step.name,
                "on": step.on,
                "uses": step.uses,
                "needs": list(step.needs),
                "status": step.status,
                "began": step.began,
                "seconds": step.seconds or 0.0,
                "retries": step.retries,
                "reason": step.reason,
                "changes": list(step.changes),
                "destroys": list(step.destroys),
                "notes": list(step.notes),
                "facts": dict(step.facts),
                "error": _error_json(step.error),
                "undo_error": _error_json(step.undo_error),
            }
            for step in report.steps
        ],
        "error": _error_json(report.error),
        "served": [one.as_json() for one in report.served],
        "past": [
            {
                "run": one.run,
                "started": one.started.isoformat().replace("+00:00", "Z"),
                "seconds": one.seconds,
                "status": one.status,
                "bytes": one.bytes,
            }
            for one in report.past
        ],
    }


def _planned(raw: Mapping[str, Any]) -> ReportStep:
    return ReportStep(
        name=raw["name"],
        on=str(raw.get("on", "")),
        uses=str(raw.get("uses", "")),
        needs=tuple(raw.get("needs", ())),
        changes=tuple(raw.get("changes", ())),
        destroys=tuple(raw.get("destroys", ())),
        reason=str(raw.get("skip", "")),
    )


def _told(step: ReportStep, event: Mapping[str, Any], zero: float) -> ReportStep:
    """The step after one of its events."""
    match event["event"]:
        case "step_started":
            return replace(step, began=max(0.0, float(event["t"]) - zero), status="unfinished")
        case "step_retry":
            return replace(step, retries=step.retries + 1)
        case "step_note":
            return replace(step, notes=(*step.notes, str(event["text"])))
        case "step_finished" if event["status"] == "skipped":
            told = event.get("facts") or {}
            reason = str(told.get("reason", "")) or step.reason
            return replace(step, status="skipped", began=None, reason=reason)
        case "step_finished":
            seconds = float(event["seconds"])
            return replace(
                step,
                status=str(event["status"]),
                seconds=seconds,
                facts=_with_rate(event.get("facts") or {}, seconds),
                error=_error(event.get("error")),
            )
        case "undo_finished" if event["status"] == "failed":
            return replace(step, status="failed", undo_error=_error(event.get("error")))
        case "undo_finished" if step.status == "ok":
            return replace(step, status="undone")
        case _:
            return step


def _with_rate(facts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The facts, and the bytes a second of a step that moved some, behind those."""
    found: dict[str, Any] = {}
    for key, value in facts.items():
        found[key] = value
        if key == "bytes" and isinstance(value, int) and value and seconds > 0:
            found["rate"] = round(value / seconds)
    return found


def _cut_off(step: ReportStep, last: float) -> ReportStep:
    if step.status != "unfinished" or step.began is None:
        return step
    return replace(step, seconds=max(0.0, last - step.began))


def _run_facts(many: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The run's own facts, those told last, and every residual risk once."""
    found: dict[str, Any] = {}
    risks: list[str] = []
    for facts in many:
        found |= {key: facts[key] for key in RUN_FACTS if key in facts}
        if all(key in facts for key in PROOF):
            found["proof"] = {key: facts[key] for key in PROOF}
        told = facts.get(RISK, [])
        risks += [str(one) for one in ([told] if isinstance(told, str) else told)]
    return {key: found[key] for key in RUN_FACTS if key in found}, tuple(dict.fromkeys(risks))


def _of(events: Iterable[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [one.get("facts") or {} for one in events if one["event"] == name]


def _plans(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in events if one["event"] == "plan"]


def _exit_code(error: ReportError | None, observers: tuple[str, ...]) -> int:
    if error is not None:
        return error.exit_code
    return 75 if observers else 0


def _error(raw: Mapping[str, Any] | None) -> ReportError | None:
    if not raw:
        return None
    return ReportError(
        str(raw["kind"]), str(raw["message"]), str(raw.get("hint", "")), int(raw["exit_code"])
    )


def _error_json(error: ReportError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"kind": error.kind, "message": error.message, "hint": error.hint}
