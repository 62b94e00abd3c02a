"""A task for many installations: their plans, one question, a bounded number at once, one table,
one report. One that fails stops none of the others.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from biso_tasks.cli.call import Call, interactive, told
from biso_tasks.cli.fleet.child import GRACE, Ended, end, words
from biso_tasks.cli.fleet.holding import Holders
from biso_tasks.cli.fleet.kinds import JOBS, Kind
from biso_tasks.cli.fleet.members import Member, Members, choose
from biso_tasks.cli.fleet.verdicts import figures, verdict
from biso_tasks.cli.output import say
from biso_tasks.cli.reporting import write_report
from biso_tasks.cli.together import together
from biso_tasks.errors import BisoError, Interrupted, ObserverFailed, StepFailed, UsageError
from biso_tasks.flow.interrupt import interruptible
from biso_tasks.flow.journal import Journal
from biso_tasks.flow.plan import Plan, Scope, Step, fingerprint
from biso_tasks.flow.run import execute
from biso_tasks.host.process import Lifeline
from biso_tasks.ui.confirm import confirm, must_ask
from biso_tasks.ui.errors import as_json
from biso_tasks.ui.plan import render
from biso_tasks.ui.progress import choose as choose_progress
from biso_tasks.ui.table import Cell, table
from biso_tasks.ui.terminal import Stream, can_colour
from biso_tasks.ui.text import duration

__all__ = ["fleet"]

_MOST: Final = 64
# What every document has, or is told apart: the plan and the steps stay in the member's own report.
_COMMON: Final = frozenset(
    {"ok", "task", "run", "exit_code", "seconds", "steps", "error", "plan", "report"}
)


@dataclass(slots=True)
class _Fleet:
    """One command for many. `planned` and `ended` are by name: of those that gave an answer."""

    call: Call
    task: str
    kind: Kind
    arguments: Mapping[str, Any]
    members: Members
    jobs: int
    holders: Holders
    planned: dict[str, Ended] = field(default_factory=dict)
    failed: dict[str, BisoError] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    untold: list[BisoError] = field(default_factory=list)


def fleet(call: Call, task: str, kind: Kind, arguments: Mapping[str, Any], jobs: str) -> None:
    """Run `task` for each installation that its option means. Raises UsageError, Refused before
    anything is contacted, and at the end what speaks for those that failed."""
    value = str(arguments.get(kind.option) or "")
    for name in kind.single:
        if arguments.get(name):
            flag = f"--{name.rstrip('_').replace('_', '-')}"
            raise UsageError(
                f"{flag} is about one installation, and --{kind.option} {value!r} may mean several",
                hint=f"leave {flag} out, or name one environment",
            )
    members = choose(task, kind, value, arguments)
    options = call.options
    asks = kind.asks and not options.plan
    if asks:
        must_ask(value, yes=options.yes, interactive=interactive(), given=options.confirm)
    holders = Holders(member.holds for member in members.chosen)
    one = _Fleet(call, task, kind, arguments, members, _jobs(jobs), holders)
    with _lifeline() as lifeline:
        if options.plan or (asks and not options.yes):
            _look(one, lifeline)
        plan = _plan(one, lifeline, value if asks else "")
        _show(one, plan)
        if options.plan:
            _raise_failed(one, "plans")
            return
        if asks:
            confirm(
                value,
                yes=options.yes,
                interactive=interactive(),
                given=options.confirm,
                kind="the pattern of all",
            )
        interrupted = _run(one, plan)
    _tell(one, plan)
    if interrupted:
        raise Interrupted("interrupted: what was begun anywhere has been cleaned up")
    _raise_failed(one, "installations")
    if one.untold:
        raise ObserverFailed(
            f"{task} is done everywhere, but not all of its report is written: "
            f"{one.untold[0].message}",
            hint=f"{one.untold[0].hint}; nothing needs to be run again",
        )


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise UsageError(f"--jobs {text!r} is no number from 1 to {_MOST}", hint=f"--jobs {JOBS}")
    return int(text)


@contextmanager
def _lifeline() -> Iterator[Lifeline]:
    lifeline = Lifeline(grace=GRACE)
    try:
        yield lifeline
    finally:
        lifeline.close()


def _look(one: _Fleet, lifeline: Lifeline) -> None:
    """Ask each for its plan."""
    cancel = threading.Event()

    def ask(member: Member, folder: Path) -> None:
        own = (*words(one.task, one.kind.option, member, one.arguments), "--plan")
        step = Step(member.name, lambda scope: None)
        scope = Scope(step, cancel, lambda done, total, unit: None, lambda text: None)
        try:
            answer = end(lifeline, member, own, folder, scope)
        except BisoError as error:
            one.failed[member.name] = error
            return
        one.planned[member.name] = answer
        if answer.error is not None:
            one.failed[member.name] = answer.error

    # Nothing is written into the site, as long as nobody agreed.
    with (
        tempfile.TemporaryDirectory(prefix="biso-plans-") as folder,
        ThreadPoolExecutor(one.jobs, thread_name_prefix="plan") as pool,
    ):
        asked = [pool.submit(ask, member, Path(folder)) for member in one.members.chosen]
        try:
            for future in asked:
                future.result()
        except BaseException:
            cancel.set()
            pool.shutdown(cancel_futures=True)
            raise


def _plan(one: _Fleet, lifeline: Lifeline, confirmed: str) -> Plan:
    notes = [
        f"{name} cannot be planned, and will be told as failed: {error.message}"
        for name, error in one.failed.items()
    ]
    if one.members.left_out:
        notes.append(
            f"left out, as {'production' if one.kind.test_only else 'test'}: "
            f"{', '.join(one.members.left_out)}; {one.task} takes such by their own names"
            f"{', if at all' if one.kind.test_only else ''}"
        )
    if len({thing for member in one.members.chosen for thing in member.holds}) < sum(
        len(member.holds) for member in one.members.chosen
    ):
        notes.append("those that use the same store, or the same test environment, wait in turn")
    return Plan(
        one.task,
        one.call.run_id,
        tuple(_step(one, lifeline, member) for member in one.members.chosen),
        (confirmed,) if confirmed else (),
        tuple(notes),
        independent=True,
    )


def _step(one: _Fleet, lifeline: Lifeline, member: Member) -> Step:
    planned = one.planned.get(member.name)
    steps = [] if planned is None else list(planned.document.get("plan") or [])
    shown = fingerprint(steps) if steps else ""

    def run(scope: Scope) -> dict[str, Any]:
        if member.name in one.failed:
            raise one.failed[member.name]
        own = (*words(one.task, one.kind.option, member, one.arguments), "--yes")
        folder = one.members.state / "runs" / one.call.run_id
        with one.holders.holding(member.holds, scope.check):
            answer = end(lifeline, member, own, folder, scope, shown=shown)
        one.ended[member.name] = answer
        said = answer.document
        report = said.get("report") if isinstance(said.get("report"), str) else None
        if answer.error is not None:
            if report is not None:
                scope.note(f"its report: {report}")
            raise answer.error
        return {
            "run": said.get("run"),
            "result": figures(answer),
            **({} if report is None else {"report": report}),
        }

    return Step(
        member.name,
        run,
        uses=one.task,
        on=member.environment if member.environment != member.name else "",
        changes=_branches(steps, "changes") or (() if one.kind.reads else (_OWN,)),
        destroys=_branches(steps, "destroys"),
    )


_OWN: Final = "what its own plan says, which its own report keeps"


def _branches(steps: Iterable[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(
        f"{step['name']}: {text}" for step in steps if not step.get("skip") for text in step[key]
    )


def _show(one: _Fleet, plan: Plan) -> None:
    call = one.call
    if one.planned or call.options.plan:
        stream = sys.stdout if call.options.plan and not call.options.json else sys.stderr
        shown = render(plan, header=_header(one), colour=can_colour(stream))
        Stream(stream).write(shown)
    elif not one.kind.reads:
        names = ", ".join(member.name for member in one.members.chosen)
        say(f"{one.task} of {len(one.members.chosen)} installations, {one.jobs} at once: {names}")
        for note in plan.notes:
            say(f"  {note}")
    call.document["plan"] = plan.as_json()
    if call.options.plan:
        call.document["installations"] = [
            _told(
                one, member, one.planned.get(member.name), one.failed.get(member.name), plans=True
            )
            for member in one.members.chosen
        ]


def _header(one: _Fleet) -> tuple[tuple[str, str], ...]:
    return (
        ("installations", f"{len(one.members.chosen)} of {one.members.place}"),
        ("at once", str(one.jobs)),
    )


def _run(one: _Fleet, plan: Plan) -> bool:
    """Whether it was interrupted. The outcome is in the call."""
    call, state = one.call, one.members.state
    cancel = threading.Event()
    with (
        Journal.open(state, plan.run_id) as journal,
        choose_progress(sys.stderr, call.options.verbose, call.options.json, plan=plan) as progress,
        interruptible(cancel, progress.say),
    ):
        header = [list(pair) for pair in _header(one)]
        journal.write("plan", header=header, notes=list(plan.notes))
        call.outcome = execute(plan, journal, [progress], parallel=one.jobs, cancel=cancel)

    def report() -> None:
        call.document["report"] = str(write_report(state, plan.run_id))

    one.untold = told(call, report)
    for error in one.untold:
        say(error.message)
    return cancel.is_set()


def _tell(one: _Fleet, plan: Plan) -> None:
    """The table, and the same for --json."""
    assert one.call.outcome is not None
    rows: list[tuple[Cell, ...]] = []
    listed = []
    for member, result in zip(one.members.chosen, one.call.outcome.steps, strict=True):
        answer = one.ended.get(member.name)
        ran = result.status != "not run"
        what = result.error.message if result.error else figures(answer) if answer else ""
        if result.error is not None:
            one.failed[member.name] = result.error
            what += f" → {result.error.remedy}" if result.error.remedy else ""
        rows.append(
            (member.name, verdict(result.error, run=ran), duration(result.seconds) if ran else "",
             what)
        )  # fmt: skip
        listed.append(_told(one, member, answer, result.error, seconds=result.seconds))
    one.call.document["installations"] = listed
    one.call.text(table(rows, head=("installation", "", "took", "")))


def _told(
    one: _Fleet,
    member: Member,
    answer: Ended | None,
    error: BisoError | None,
    *,
    seconds: float = 0.0,
    plans: bool = False,
) -> dict[str, Any]:
    document = {} if answer is None else answer.document
    code = error.exit_code if error else answer.code if answer else None
    return {
        "name": member.name,
        "environment": member.environment,
        "file": str(member.file),
        "exit_code": code,
        "seconds": round(seconds, 3),
        "run": document.get("run"),
        "report": document.get("report"),
        "error": None if error is None else as_json(error),
        "result": {key: value for key, value in document.items() if key not in _COMMON},
        **({"plan": document.get("plan", [])} if plans else {}),
    }


def _raise_failed(one: _Fleet, what: str) -> None:
    if one.failed:
        raise together(one.failed, len(one.members.chosen), what, StepFailed)
