"""What each task does. A function takes the call and the task's own arguments."""

from __future__ import annotations

import re
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from biso_tasks.actions.own import OwnWork, held_by
from biso_tasks.cli.backing import backup
from biso_tasks.cli.baselines import baseline, reset_test
from biso_tasks.cli.bench import bench
from biso_tasks.cli.call import Call, Options, run_command
from biso_tasks.cli.demo import demo
from biso_tasks.cli.examining import doctor
from biso_tasks.cli.fleet.command import fleet
from biso_tasks.cli.fleet.kinds import JOBS, KINDS
from biso_tasks.cli.fleet.members import is_many
from biso_tasks.cli.init import init
from biso_tasks.cli.keeping import prune, verify
from biso_tasks.cli.plugin_new import plugin_new
from biso_tasks.cli.privacy import privacy_scan
from biso_tasks.cli.recovering import recover
from biso_tasks.cli.refreshing import anonymize, refresh_test, rollback
from biso_tasks.cli.releasing import release
from biso_tasks.cli.restoring import restore
from biso_tasks.cli.scheduling import schedule
from biso_tasks.cli.selftest import selftest
from biso_tasks.cli.sets import list_sets, pin, show, unpin
from biso_tasks.cli.site import find_site, load_hooks, state_here
from biso_tasks.errors import UsageError
from biso_tasks.flow import journal
from biso_tasks.hooks.reference import markdown as hooks_reference
from biso_tasks.ui import runs as runs_text
from biso_tasks.ui.history import past_runs
from biso_tasks.ui.report import as_json as report_json
from biso_tasks.ui.report import load as load_report
from biso_tasks.ui.report_markdown import markdown as report_markdown
from biso_tasks.ui.table import table

__all__ = ["run"]


def run(command: str, arguments: Mapping[str, Any]) -> int:
    """Run a command by its name; gives the exit code."""
    own = dict(arguments)
    common = {
        "plan": own.pop("plan", False),
        "yes": own.pop("yes", False),
        "json": own.pop("json", False),
        "verbose": own.pop("verbose", False),
        "confirm": own.pop("confirm", "") or None,
    }
    task = own.pop("recipe", command)
    jobs = own.pop("jobs", JOBS)
    kind = KINDS.get(command)
    if kind is not None and is_many(own.get(kind.option, "")):
        many = partial(fleet, task=task, kind=kind, arguments=own, jobs=jobs)
        return run_command(task, Options(**common), many)
    body = _COMMANDS[command]
    if command == "recipe":
        own["name"] = task
    return run_command(task, Options(**common), lambda call: body(call, **own))


def _recipe(call: Call, name: str) -> None:
    session = call.session()
    held = held_by(call.recipe(name))
    work = OwnWork(session, name, call.run_id, holds=held[0] if held else "")
    work.look_again()
    work.bind_values()
    call.run_recipe(session, work, recipe=name)


def _runs(call: Call, number: str) -> None:
    if not re.fullmatch("[0-9]{1,6}", number) or not int(number):
        raise UsageError(f"--number {number!r} is no number of runs", hint="--number 20")
    found = journal.runs(state_here())[: int(number)]
    call.document["runs"] = runs_text.as_json(found)
    call.text(runs_text.render(found))


def _report(call: Call, run: str, open_: bool) -> None:
    state = state_here()
    path = journal.find(state, run)
    report = load_report(path)
    report = replace(report, past=past_runs(state, report))
    call.document["report"] = report_json(report)
    call.text(report_markdown(report))
    page = path.parent / "report.html"
    if page.exists():
        call.text(f"HTML: {page}")
        if open_ and not call.options.plan:
            webbrowser.open(page.as_uri())


def _plugins(call: Call) -> None:
    found = load_hooks(find_site()).plugins()
    call.document["plugins"] = [
        {"name": p.name, "kind": p.kind, "source": p.source, "status": p.status,
         "hooks": list(p.hooks), "warnings": list(p.warnings), "error": p.error}
        for p in found
    ]  # fmt: skip
    rows = [(p.name, p.kind, p.status, p.error or ", ".join(p.hooks) or "no hooks") for p in found]
    call.text(table(rows, head=("plugin", "kind", "status", "hooks")))
    for p in found:
        for warning in p.warnings:
            call.text(f"{p.name}: {warning}")


def _hooks(call: Call) -> None:
    text = hooks_reference()
    call.document["hooks"] = text
    call.text(text)


_COMMANDS: dict[str, Callable[..., None]] = {
    "refresh-test": refresh_test,
    "anonymize": anonymize,
    "privacy-scan": privacy_scan,
    "rollback": rollback,
    "backup": backup,
    "list": list_sets,
    "show": show,
    "pin": pin,
    "unpin": unpin,
    "verify": verify,
    "restore": restore,
    "baseline": baseline,
    "reset-test": reset_test,
    "release": release,
    "prune": prune,
    "recipe": _recipe,
    "recover": recover,
    "doctor": doctor,
    "init": init,
    "runs": _runs,
    "report": _report,
    "plugins": _plugins,
    "hooks": _hooks,
    "plugin-new": plugin_new,
    "schedule": schedule,
    "demo": demo,
    "bench": bench,
    "test": selftest,
}
