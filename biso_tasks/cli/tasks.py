"""All tasks, for `invoke` and for `biso`: those that are built in, and one for each recipe that the
site declares."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from biso_tasks.cli import tasks_sets, tasks_site
from biso_tasks.cli.declare import READING, declare
from biso_tasks.cli.output import stdout_aside
from biso_tasks.config.load import find, load
from biso_tasks.config.model import Site
from biso_tasks.errors import BisoError
from biso_tasks.flow.recipe import parse
from biso_tasks.hooks.loader import attempt
from biso_tasks.hooks.manager import PluginManager

__all__ = ["OWN", "namespace", "site_here"]


@declare(
    from_="the environment to copy (default: refresh.from)",
    to="the test environment (default: refresh.to)",
    source="live, or a backup set: latest, released or its id",
    no_anonymize="leave personal data as it is, where the site allows that",
    keep_stage="keep the stage after a failure, to look into it",
)
def refresh_test(
    from_: str = "",
    to: str = "",
    source: str = "",
    no_anonymize: bool = False,
    keep_stage: bool = False,
) -> None:
    """Refresh the test instance from production: staged, anonymised, proven, swapped in."""


@declare(env="the environment (default: refresh.to)")
def rollback(env: str = "") -> None:
    """Exchange the current instance with the previous one (twice: back again)."""


@declare(env="the test environment (default: refresh.to)")
def anonymize(env: str = "") -> None:
    """Anonymise a test instance: staged, proven, swapped in."""


@declare(
    env="the environment to look at (default: refresh.from)",
    write="add what privacy.toml does not name yet; no line of it is changed",
    check="exit 3 where privacy.toml and the instance have drifted apart, for cron and CI",
)
def privacy_scan(env: str = "", write: bool = False, check: bool = False) -> None:
    """Show which columns and files of an instance hold what, and the drift from privacy.toml."""


@declare(env="one environment only")
def recover(env: str = "") -> None:
    """Put every environment back into a clean state after an interruption, from any machine."""


@declare(
    common=READING,
    for_="what one task needs, e.g. refresh-test",
    env="as it is seen from this environment, with the one that copy_of pairs it with",
)
def doctor(for_: str = "", env: str = "") -> None:
    """Check everything that a run needs, on every host, before it is needed."""


@declare(called="test", args="arguments for pytest, in one string")
def run_tests(args: str = "") -> None:
    """Run the tests; real parts that are missing are named with the command that installs them."""


OWN = (
    *(refresh_test, rollback, anonymize, privacy_scan, recover, doctor, run_tests),
    *tasks_sets.TASKS,
    *tasks_site.TASKS,
)
"""The tasks that every site has."""


def _recipe_task(name: str, text: str) -> Task[Any]:
    def recipe() -> None: ...

    recipe.__doc__ = text or f"The recipe {name} of this site."
    return declare(called=name, fixed={"command": "recipe", "recipe": name})(recipe)


def namespace() -> Collection:
    """All tasks, and one for each recipe that the site or one of its plugins declares. A broken
    biso.toml costs only those: it says so when a task needs it."""
    found = Collection(*OWN)
    site = site_here()
    if site is None:
        return found
    declared = [(change.name, change.help) for change in site.recipes if change.steps]
    for name, text in (*declared, *_of_plugins(site)):
        if name not in found.tasks:
            found.add_task(_recipe_task(name, text))
    return found


def _of_plugins(site: Site) -> list[tuple[str, str]]:
    """Name and help of the recipes that plugins give. What is wrong with a plugin is said by the
    task that needs it."""
    hooks = PluginManager(say=lambda text: None)
    sections = dict(site.plugin_sections)

    def given() -> list[tuple[str, str]]:
        hooks.load(site.plugins, site.disable, root=site.root, sections=sections)
        texts = [text for _, found in hooks.collect("biso_recipes", site=site) for text in found]
        recipes = [parse(text.text, text.source) for text in texts]
        return [(recipe.name, recipe.help) for recipe in recipes]

    with stdout_aside():
        found, _ = attempt(given)
    return found or []


def site_here() -> Site | None:
    """The site of the working directory; None where there is none, or a broken one."""
    try:
        file = find(Path.cwd(), os.environ)
        return None if file is None or not file.exists() else load(file)
    except BisoError as error:
        if "--list" in sys.argv or "-l" in sys.argv:
            sys.stderr.write(f"{error.message}\n")
        return None
