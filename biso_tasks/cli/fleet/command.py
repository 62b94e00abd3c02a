"""A task for many installations: their plans, one question, a bounded number at once, one table,
one report. One that fails stops none of the others.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from biso_tasks.cli.call import Call, interactive, told
from biso_tasks.cli.declare import flag
from biso_tasks.cli.fleet.child import GRACE, Ended, end
from biso_tasks.cli.fleet.holding import Holders
from biso_tasks.cli.fleet.kinds import JOBS, Kind
from biso_tasks.cli.fleet.members import Member, choose
from biso_tasks.cli.fleet.planning import Wish, look, make_plan
from biso_tasks.cli.fleet.verdicts import entry, row
from biso_tasks.cli.output import say
from biso_tasks.cli.reporting import write_report
from biso_tasks.cli.together import together
from biso_tasks.errors import BisoError, Interrupted, ObserverFailed, StepFailed, UsageError
from biso_tasks.flow.interrupt import interruptible
from biso_tasks.flow.journal import Journal
from biso_tasks.flow.outcome import Outcome
from biso_tasks.flow.plan import Plan, Scope
from biso_tasks.flow.run import execute
from biso_tasks.host.process import Lifeline
from biso_tasks.ui.confirm import confirm, must_ask
from biso_tasks.ui.plan import render
from biso_tasks.ui.progress import choose as choose_progress
from biso_tasks.ui.table import table
from biso_tasks.ui.terminal import Stream, can_colour

__all__ = ["fleet"]

_MOST: Final = 64


def fleet(call: Call, task: str, kind: Kind, arguments: Mapping[str, Any], jobs: str) -> None:
    """Run `task` for each installation that its option means. Raises UsageError, Refused before
    anything is contacted, and at the end what speaks for those that failed."""
    value, options = str(arguments.get(kind.option) or ""), call.options
    _require_for_many(kind, arguments, value)
    wish = Wish(task, kind, arguments, choose(task, kind, value, arguments), _jobs(jobs))
    pattern = value if kind.asks and not options.plan else ""
    must_ask(pattern, yes=options.yes, interactive=interactive(), given=options.confirm)
    holders = Holders(member.holds for member in wish.members.chosen)
    answers: dict[str, Ended] = {}
    with closing(Lifeline(grace=GRACE)) as lifeline:

        def start(member: Member, scope: Scope, shown: str) -> Ended:
            folder = wish.members.state / "runs" / call.run_id
            with holders.holding(member.holds, scope.check):
                answer = end(
                    lifeline, member, wish.words(member, "--yes"), folder, scope, shown=shown
                )
            answers[member.name] = answer
            return answer

        planned = look(wish, lifeline) if options.plan or (pattern and not options.yes) else {}
        plan = make_plan(wish, call.run_id, planned, start, pattern)
        _show(call, wish, plan, planned)
        if options.plan:
            _raise_failed({name: one.error for name, one in planned.items()}, "plans")
            return
        confirm(
            pattern,
            yes=options.yes,
            interactive=interactive(),
            given=options.confirm,
            kind="the pattern of all",
        )
        outcome, interrupted, untold = _run(call, wish, plan)
    _tell(call, wish, outcome, answers)
    if interrupted:
        raise Interrupted("interrupted: what was begun anywhere has been cleaned up")
    _raise_failed({one.name: one.error for one in outcome.steps}, "installations")
    if untold:
        raise ObserverFailed(
            f"{task} is done everywhere, but not all of its report is written: {untold[0].message}",
            hint=f"{untold[0].hint}; nothing needs to be run again",
        )


def _require_for_many(kind: Kind, arguments: Mapping[str, Any], value: str) -> None:
    for name in kind.single:
        if arguments.get(name):
            raise UsageError(
                f"{flag(name)} is about one installation, and --{kind.option} {value!r} may mean "
                "several",
                hint=f"leave {flag(name)} out, or name one environment",
            )


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise UsageError(f"--jobs {text!r} is no number from 1 to {_MOST}", hint=f"--jobs {JOBS}")
    return int(text)


def _show(call: Call, wish: Wish, plan: Plan, planned: Mapping[str, Ended]) -> None:
    """All plans, where they were made; else who is meant, each with a plan of its own."""
    chosen = wish.members.chosen
    if planned:
        stream = sys.stdout if call.options.plan and not call.options.json else sys.stderr
        Stream(stream).write(render(plan, header=_header(wish), colour=can_colour(stream)))
    elif not wish.kind.reads:
        names = ", ".join(member.name for member in chosen)
        say(f"{wish.task} of {len(chosen)} installations, {wish.jobs} at once: {names}")
        for note in plan.notes:
            say(f"  {note}")
    call.document["plan"] = plan.as_json()
    if call.options.plan:
        call.document["installations"] = [
            {
                **entry(one, planned[one.name], planned[one.name].error),
                "plan": planned[one.name].document.get("plan", []),
            }
            for one in chosen
        ]


def _header(wish: Wish) -> tuple[tuple[str, str], ...]:
    return (
        ("installations", f"{len(wish.members.chosen)} of {wish.members.place}"),
        ("at once", str(wish.jobs)),
    )


def _run(call: Call, wish: Wish, plan: Plan) -> tuple[Outcome, bool, list[BisoError]]:
    """The outcome, whether it was interrupted, and what of it could not be written down."""
    state, cancel = wish.members.state, threading.Event()
    with (
        Journal.open(state, plan.run_id) as journal,
        choose_progress(sys.stderr, call.options.verbose, call.options.json, plan=plan) as progress,
        interruptible(cancel, progress.say),
    ):
        journal.write("plan", header=[list(one) for one in _header(wish)], notes=list(plan.notes))
        outcome = execute(plan, journal, [progress], parallel=wish.jobs, cancel=cancel)
    call.outcome = outcome

    def report() -> None:
        call.document["report"] = str(write_report(state, plan.run_id))

    untold = told(call, report)
    for error in untold:
        say(error.message)
    return outcome, cancel.is_set(), untold


def _tell(call: Call, wish: Wish, outcome: Outcome, answers: Mapping[str, Ended]) -> None:
    """The table, and the same for --json."""
    ended = [
        (member, result, answers.get(member.name))
        for member, result in zip(wish.members.chosen, outcome.steps, strict=True)
    ]
    call.document["installations"] = [
        entry(member, answer, result.error, result.seconds) for member, result, answer in ended
    ]
    rows = [row(member, answer, result) for member, result, answer in ended]
    call.text(table(rows, head=("installation", "", "took", "")))


def _raise_failed(errors: Mapping[str, BisoError | None], what: str) -> None:
    failed = {name: error for name, error in errors.items() if error is not None}
    if failed:
        raise together(failed, len(errors), what, StepFailed)
