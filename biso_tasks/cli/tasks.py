"""The tasks, for `invoke` and for `biso`: one thin function each. What they do is in `commands`,
imported only when a task runs, so that `--list` stays quick.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from biso_tasks.config.load import find, load
from biso_tasks.config.model import Site
from biso_tasks.errors import BisoError

__all__ = ["namespace"]

_COMMON = {
    "plan": "print what would be done, and change nothing",
    "yes": "do not ask (production: give --confirm NAME as well)",
    "json": "one JSON document on stdout, all else on stderr",
    "verbose": "show more",
    "confirm": "the target's name, instead of typing it",
}
_SHORT = {"json": _COMMON["json"], "verbose": _COMMON["verbose"]}


def _run(command: str, **arguments: Any) -> None:
    # Paramiko, psycopg and rich belong to what a task does, not to naming it.
    code = import_module("biso_tasks.cli.commands").run(command, arguments)
    if code:
        raise Exit(code=code)


@task(
    name="refresh-test",
    help={
        "from_": "the environment to copy (default: refresh.from)",
        "to": "the test environment (default: refresh.to)",
        "source": "live, or a backup set: latest, released or its id",
        "no_anonymize": "leave personal data as it is, where the site allows that",
        "keep_stage": "keep the stage after a failure, to look into it",
        **_COMMON,
    },
)
def refresh_test(
    c: Context,
    from_: str = "",
    to: str = "",
    source: str = "",
    no_anonymize: bool = False,
    keep_stage: bool = False,
    confirm: str = "",
    plan: bool = False,
    yes: bool = False,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Refresh the test instance from production: staged, anonymised, proven, swapped in."""
    _run(
        "refresh-test", from_=from_, to=to, source=source, no_anonymize=no_anonymize,
        keep_stage=keep_stage, confirm=confirm, plan=plan, yes=yes, json=json, verbose=verbose,
    )  # fmt: skip


@task(help={"env": "the test environment", **_COMMON})
def rollback(
    c: Context,
    env: str = "",
    confirm: str = "",
    plan: bool = False,
    yes: bool = False,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Exchange the current test instance with the previous one (twice: back again)."""
    _run("rollback", env=env, confirm=confirm, plan=plan, yes=yes, json=json, verbose=verbose)


@task(help={"env": "the test environment", **_COMMON})
def anonymize(
    c: Context,
    env: str = "",
    confirm: str = "",
    plan: bool = False,
    yes: bool = False,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Anonymise a test instance: staged, proven, swapped in."""
    _run("anonymize", env=env, confirm=confirm, plan=plan, yes=yes, json=json, verbose=verbose)


@task(help={"env": "one environment only", **_SHORT})
def recover(c: Context, env: str = "", json: bool = False, verbose: bool = False) -> None:
    """Put every environment back into a clean state after an interruption, from any machine."""
    _run("recover", env=env, json=json, verbose=verbose)


@task(help={"for_": "what one task needs, e.g. refresh-test", **_SHORT})
def doctor(c: Context, for_: str = "", json: bool = False, verbose: bool = False) -> None:
    """Check everything that a run needs, on every host, before it is needed."""
    _run("doctor", for_=for_, json=json, verbose=verbose)


@task(
    help={
        "webroot": "the installation to look at (default: this folder)",
        "ssh": "its host: an ssh_config alias or user@host:port",
        "test_webroot": "the test instance, where there is one",
        "test_ssh": "the test instance's host",
        "name": "the site's name",
        "run_as": "the user that BISO runs as",
        **_SHORT,
    }
)
def init(
    c: Context,
    webroot: str = "",
    ssh: str = "",
    test_webroot: str = "",
    test_ssh: str = "",
    name: str = "",
    run_as: str = "",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Write a biso.toml by looking at a webroot or a host; never overwrites one."""
    _run(
        "init", webroot=webroot, ssh=ssh, test_webroot=test_webroot, test_ssh=test_ssh,
        name=name, run_as=run_as, json=json, verbose=verbose,
    )  # fmt: skip


@task(help={"number": "how many to show", **_SHORT})
def runs(c: Context, number: int = 20, json: bool = False, verbose: bool = False) -> None:
    """List the runs of this site, newest first."""
    _run("runs", number=number, json=json, verbose=verbose)


@task(help={"run": "a run's id (default: the newest)", "open_": "open it in a browser", **_SHORT})
def report(
    c: Context, run: str = "latest", open_: bool = False, json: bool = False, verbose: bool = False
) -> None:
    """Show the report of a run: Markdown here, HTML beside its journal."""
    _run("report", run=run, open_=open_, json=json, verbose=verbose)


@task(help=_SHORT)
def plugins(c: Context, json: bool = False, verbose: bool = False) -> None:
    """List what is loaded, and from where."""
    _run("plugins", json=json, verbose=verbose)


@task(help=_SHORT)
def hooks(c: Context, json: bool = False, verbose: bool = False) -> None:
    """List the hooks with their signatures."""
    _run("hooks", json=json, verbose=verbose)


@task(
    help={
        "stop": "stop the demo's servers",
        "clean": "stop them and remove everything the demo made",
        "no_ssh": "build both instances on this machine without SSH",
        **_SHORT,
    }
)
def demo(
    c: Context,
    stop: bool = False,
    clean: bool = False,
    no_ssh: bool = False,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Build a production and a test instance to try everything on, and refresh test."""
    _run("demo", stop=stop, clean=clean, no_ssh=no_ssh, json=json, verbose=verbose)


@task(name="test", help={"args": "arguments for pytest, in one string"})
def run_tests(c: Context, args: str = "") -> None:
    """Run the tests; real parts that are missing are named with the command that installs them."""
    _run("test", args=args)


def _recipe_task(name: str, text: str) -> Task[Any]:
    def run_recipe(
        c: Context,
        confirm: str = "",
        plan: bool = False,
        yes: bool = False,
        json: bool = False,
        verbose: bool = False,
    ) -> None:
        _run("recipe", recipe=name, confirm=confirm, plan=plan, yes=yes, json=json, verbose=verbose)

    run_recipe.__doc__ = text or f"The recipe {name} of this site."
    made: Task[Any] = task(name=name, help=_COMMON)(run_recipe)
    return made


def namespace() -> Collection:
    """All tasks, and one for each recipe that the site declares. A broken biso.toml costs only
    those: it says so when a task needs it."""
    tasks = [
        refresh_test, rollback, anonymize, recover, doctor, init, runs, report, plugins, hooks,
        demo, run_tests,
    ]  # fmt: skip
    found = Collection(*tasks)
    site = _site()
    for change in site.recipes if site is not None else ():
        if change.steps and change.name not in found.tasks:
            found.add_task(_recipe_task(change.name, change.help))
    return found


def _site() -> Site | None:
    try:
        file = find(Path.cwd(), os.environ)
        return None if file is None or not file.exists() else load(file)
    except BisoError as error:
        if "--list" in sys.argv or "-l" in sys.argv:
            sys.stderr.write(f"{error.message}\n")
        return None
