"""One command from beginning to end: the site, the plan, the question, the run, the report."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from biso_tasks.actions.kit import Work, bind_recipe
from biso_tasks.actions.recipes import Book, read_book
from biso_tasks.cli.installed import require_packages
from biso_tasks.cli.memory import leave_no_core
from biso_tasks.cli.observers import Observers, tell_no_run
from biso_tasks.cli.output import Output, say
from biso_tasks.cli.reporting import write_report
from biso_tasks.cli.site import find_site, load_hooks, watching
from biso_tasks.config.findings import BadConfig
from biso_tasks.config.focus import focus
from biso_tasks.config.model import Environment
from biso_tasks.errors import (
    BisoError,
    Defect,
    Interrupted,
    ObserverFailed,
    Refused,
    StepFailed,
)
from biso_tasks.flow.interrupt import interruptible, raising
from biso_tasks.flow.journal import Journal, new_run_id
from biso_tasks.flow.plan import Plan, fingerprint
from biso_tasks.flow.recipe import Recipe
from biso_tasks.flow.run import Outcome, execute
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.host.endable import end_older
from biso_tasks.session import Session
from biso_tasks.ui import errors as error_text
from biso_tasks.ui.confirm import confirm_all, must_ask
from biso_tasks.ui.history import Last, last_time
from biso_tasks.ui.plan import render
from biso_tasks.ui.progress import choose
from biso_tasks.ui.terminal import Stream, can_colour

__all__ = ["SHOWN", "Call", "Options", "interactive", "run_command", "told"]

SHOWN: Final = "BISO_SHOWN"  # the fingerprint of the plan that somebody agreed to


@dataclass(frozen=True, slots=True)
class Options:
    """The options that every task has."""

    plan: bool = False
    yes: bool = False
    json: bool = False
    verbose: bool = False
    confirm: str | None = None


@dataclass(slots=True)
class Call:
    """What a task's body works with. `document` becomes the JSON; `run_id` names the run."""

    task: str
    options: Options
    output: Output
    run_id: str
    document: dict[str, Any] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)
    outcome: Outcome | None = None
    observed: PluginManager | None = None
    book: Book | None = None
    redact: Callable[[str], str] = str
    unforeseen: Exception | None = None

    def session(self, *, on: str = "", observed: bool = True, recipes: bool = True) -> Session:
        """The site's session, plugins loaded; the site as it is seen from the environment `on`, if
        any. Raises ConfigError. From here on, observers are told where the command fails before its
        run; not with --plan, nor where nothing was to be run (`observed` is False). What is wrong
        in any recipe is told before anything is contacted, but to a command that runs none
        (`recipes` is False)."""
        leave_no_core()
        try:
            site = find_site()
        except BadConfig as error:
            if observed and not self.options.plan:
                self.observed = watching(error)
            raise
        hooks = load_hooks(site)
        if observed and not self.options.plan:
            self.observed = hooks
        if observed and recipes:
            self.book = read_book(site, hooks)
            self.book.require_right()
        if on:
            site = focus(site, on)
        session = Session(site, hooks, say=say, mends=not self.options.plan)
        self.redact = session.redact
        return self.stack.enter_context(session)

    def text(self, text: str) -> None:
        self.output.text(text)

    def outlook(
        self, name: str, *, on: str = "", changes: Sequence[str], destroys: Sequence[str] = ()
    ) -> None:
        """With --plan: one thing that a command without a recipe would do."""
        planned = self.document.setdefault("plan", [])
        if not planned:
            self.text("What would be done (nothing is changed):")
        planned.append(
            {
                "name": name,
                "on": on,
                "uses": "",
                "needs": [],
                "changes": list(changes),
                "destroys": list(destroys),
            }
        )
        for what in (*changes, *destroys):
            self.text(f"  {on or name}: {what}")

    @contextmanager
    def aside(self, task: str = "") -> Iterator[None]:
        """A run of its own within this command, of `task` or this one: with an id of its own, and
        neither its outcome nor what it says becomes this command's."""
        before = self.outcome, self.document, self.run_id
        self.outcome, self.document, self.run_id = None, {}, new_run_id(task or self.task)
        try:
            yield
        finally:
            self.outcome, self.document, self.run_id = before

    @property
    def asks(self) -> bool:
        """Whether somebody is there who can be asked, and wants to be."""
        return interactive() and not self.options.yes and not self.options.json

    def require_named(self, environment: Environment) -> None:
        """Raises Refused, before anything is contacted, where this command would change a
        production environment whose name was not given and cannot be asked for."""
        if environment.role == "production" and not self.options.plan:
            must_ask(
                environment.name,
                yes=self.options.yes,
                interactive=interactive(),
                production=True,
                given=self.options.confirm,
            )

    def recipe(self, name: str) -> Recipe:
        """Raises ConfigError where it is a variant that a change of biso.toml does not fit."""
        assert self.book is not None
        self.book.require_right(name)
        return self.book.recipes[name]

    def run_recipe(
        self,
        session: Session,
        work: Work,
        *,
        recipe: str = "",
        confirm: Sequence[str] = (),
        lightly: bool = False,
        header: tuple[tuple[str, str], ...] = (),
        facts: Callable[[], Mapping[str, Any]] = dict,
    ) -> Outcome | None:
        """Plan, show, ask, run, report. Returns None with --plan. Raises the run's error.

        What the recipe, its steps and `confirm` name has to be typed, a production environment's
        name whatever --yes says, unless what is done there is taken `lightly`. `facts` are asked
        after the run, for the JSON and the journal's end.
        """
        assert self.book is not None
        spec = self.recipe(recipe or work.task)
        plan = bind_recipe(spec, work, self.book.actions, confirm=confirm)
        plan.order()
        _require_shown(plan)
        self._show(plan, header, last_time(session.site.state, plan))
        if self.options.plan:
            return None
        vetoes = [
            f"{name}: {veto.reason}"
            for name, veto in session.hooks.collect("biso_confirm", plan=plan)
        ]
        if vetoes:
            raise Refused("; ".join(vetoes), hint="a plugin of this site refuses this plan")
        roles = {name: session.environment(name).role for name in plan.confirm}
        confirm_all(
            [
                (name, role == "production" and not (lightly and name in confirm))
                for name, role in roles.items()
            ],
            yes=self.options.yes,
            interactive=interactive(),
            given=self.options.confirm,
        )
        try:
            return self._execute(session, plan, header, facts)
        finally:
            work.open.close()

    def _show(self, plan: Plan, header: tuple[tuple[str, str], ...], last: Last | None) -> None:
        stream = sys.stdout if self.options.plan and not self.options.json else sys.stderr
        Stream(stream).write(render(plan, header=header, last=last, colour=can_colour(stream)))
        self.document["plan"] = plan.as_json()

    def _execute(
        self,
        session: Session,
        plan: Plan,
        header: tuple[tuple[str, str], ...],
        facts: Callable[[], Mapping[str, Any]],
    ) -> Outcome:
        cancel = threading.Event()
        observers = Observers(session.hooks, plan)
        with (
            Journal.open(session.site.state, plan.run_id, redact=session.redact) as journal,
            choose(sys.stderr, self.options.verbose, self.options.json, plan=plan) as progress,
            interruptible(cancel, progress.say),
        ):
            journal.write("plan", header=[list(one) for one in header], notes=list(plan.notes))
            observers.run_started()
            outcome = execute(plan, journal, [progress, observers], cancel=cancel, late=end_older)
            self.outcome = outcome

            def result() -> None:
                said = dict(facts())
                self.document |= said
                journal.write("result", facts=said)

            untold = told(self, result)
        untold += told(self, lambda: self._report(session, plan, outcome, observers))
        if outcome.error is not None:
            # The run's own error decides the exit code; who was not told is said all the same.
            for failure in (*observers.failures, *(error.message for error in untold)):
                say(failure)
            raise outcome.error
        if untold:
            raise ObserverFailed(
                f"{plan.name} is done, but not all of its report is written: {untold[0].message}",
                hint=f"{untold[0].hint}; nothing needs to be run again",
            )
        if observers.failures or outcome.listener_errors:
            failed = [*observers.failures, *(one.message for one in outcome.listener_errors)]
            raise ObserverFailed(
                f"{plan.name} is done, but a plugin that only watches failed: {'; '.join(failed)}",
                hint="correct or disable the plugin; nothing needs to be run again",
            )
        return outcome

    def _report(self, session: Session, plan: Plan, outcome: Outcome, observers: Observers) -> None:
        page = write_report(session.site.state, plan.run_id)
        observers.run_finished(plan, outcome, page)
        self.document["report"] = str(page)


def run_command(task: str, options: Options, body: Callable[[Call], None]) -> int:
    """Run a task's body; print its error as one line with its remedy; give the exit code. What
    nobody foresaw is an error like others (kind "defect"), its traceback shown with -v."""
    output = Output(as_json=options.json)
    call = Call(task, options, output, run_id=new_run_id(task))
    started = time.monotonic()
    # A listing is a tuple for each file of a site, and none is part of a cycle: looking for cycles
    # among them after every 700 took a quarter of the time that reading it took.
    gc.set_threshold(100_000, 50, 50)
    if options.plan:
        call.document["plan"] = []
    error = _attempt(call, body)
    if error is not None:
        error_text.show(error, sys.stderr)
        if options.verbose and call.unforeseen is not None:
            say(call.redact("".join(traceback.format_exception(call.unforeseen))))
        if call.observed is not None and call.outcome is None:
            # Nobody may be looking at the terminal: a timer's run that finds the lock taken.
            seconds = time.monotonic() - started
            for failure in tell_no_run(call.observed, task, call.run_id, error, seconds):
                say(failure)
    code = 0 if error is None else error.exit_code
    steps = call.outcome.steps if call.outcome is not None else ()
    output.document(
        {
            "ok": error is None,
            "task": task,
            "run": call.run_id,
            "exit_code": code,
            "seconds": round(time.monotonic() - started, 3),
            "steps": [
                {
                    "name": step.name,
                    "on": step.on,
                    "status": step.status,
                    "seconds": round(step.seconds, 3),
                }
                for step in steps
            ],
            "error": None if error is None else error_text.as_json(error),
            **call.document,
        }
    )
    return code


def _attempt(call: Call, body: Callable[[Call], None]) -> BisoError | None:
    """Run the body to its end, all that it opened closed; what went wrong."""
    try:
        # Until the run has ended a signal stops what is begun; afterwards only its report is left.
        with raising(lambda: call.outcome is not None), call.stack:
            require_packages()
            body(call)
    except KeyboardInterrupt:
        return Interrupted(_EARLY)
    except BisoError as error:
        return error
    except Exception as error:  # noqa: BLE001 (the last line: whatever it is, it is told properly)
        return _defect(call, error)
    return None


def _defect(call: Call, error: Exception) -> BisoError:
    call.unforeseen = error
    said = call.redact(" ".join(f"{type(error).__name__}: {error}".split()))
    what = f"stopped on {said}: this is a defect of biso-tasks"
    hint = "run it again with -v, and report it with the traceback that is shown then"
    if call.outcome is not None and call.outcome.ok:
        # "A step failed" would say that the target is what it was.
        return ObserverFailed(f"{call.task} is done, but what came after it {what}", hint=hint)
    return Defect(
        f"{call.task} {what}", hint=f"{hint}; `biso recover` puts right what was begun, if anything"
    )


def told(call: Call, write: Callable[[], None]) -> list[BisoError]:
    """What kept a finished run from being written down: it has ended as it has ended."""
    try:
        write()
    except BisoError as error:
        return [error]
    except OSError as error:
        return [
            StepFailed(
                f"{error.filename}: cannot be written: {error.strerror}",
                hint="make room for it, or set `site.state` in biso.toml",
            )
        ]
    except Exception as error:  # noqa: BLE001 (it must not hide how the run ended)
        return [_defect(call, error)]
    return []


def _require_shown(plan: Plan) -> None:
    """Raises Refused where somebody was shown another plan, by the command that started this one
    for several installations."""
    # The first run of the process is what was shown, not a baseline that is kept after it.
    shown = os.environ.pop(SHOWN, "")
    if shown and shown != fingerprint(plan.as_json()):
        raise Refused(
            f"what {plan.name} would do is no longer what its plan said: something has changed",
            hint="nothing was touched; start again, and look at the new plan",
        )


_EARLY = "interrupted before anything was begun: nothing was changed"


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
