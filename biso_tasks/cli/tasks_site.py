"""The tasks about the site itself: set it up, look at what there is and what was done."""

from __future__ import annotations

from biso_tasks.cli.declare import READING, declare

__all__ = ["TASKS"]


@declare(
    webroot="the installation to look at (default: this folder)",
    ssh="its host: an ssh_config alias or user@host:port",
    test_webroot="the test instance, where there is one",
    test_ssh="the test instance's host",
    name="the site's name",
    run_as="the user that BISO runs as",
)
def init(
    webroot: str = "",
    ssh: str = "",
    test_webroot: str = "",
    test_ssh: str = "",
    name: str = "",
    run_as: str = "",
) -> None:
    """Write a biso.toml by looking at a webroot or a host; never overwrites one."""


@declare(common=READING, number="how many to show")
def runs(number: str = "20") -> None:
    """List the runs of this site, newest first."""


@declare(common=READING, run="a run's id (default: the newest)", open_="open it in a browser")
def report(run: str = "latest", open_: bool = False) -> None:
    """Show the report of a run: Markdown here, HTML beside its journal."""


@declare(common=READING)
def plugins() -> None:
    """List what is loaded, and from where."""


@declare(common=READING)
def hooks() -> None:
    """List the hooks with their signatures."""


@declare(name="the plugin's name: letters, digits and _")
def plugin_new(name: str) -> None:
    """Write a plugin that works, with its test, to be changed into what this site needs."""


@declare(
    stop="stop the demo's servers",
    clean="stop them and remove everything the demo made",
    no_ssh="build both instances on this machine without SSH",
)
def demo(stop: bool = False, clean: bool = False, no_ssh: bool = False) -> None:
    """Build a production and a test instance, back up, refresh test, and say what to try next."""


@declare(
    kind="systemd or cron (default: what runs on this machine)",
    user="root only: units of root's own systemd instead of the system's",
    remove="take away what was installed, and nothing else",
)
def schedule(kind: str = "", user: bool = False, remove: bool = False) -> None:
    """Show the timers for backup, prune, verify and refresh; --yes installs them here."""


@declare(
    database="megabytes of database",
    files="how many files",
    files_mb="megabytes of files",
    rounds="how often each is measured; medians of all are told",
    only="some figures: refresh, backup, growth, restore, reset, verify, start, wide, privacy",
    clean="remove what a run that was killed has left",
)
def bench(
    database: str = "100",
    files: str = "4000",
    files_mb: str = "100",
    rounds: str = "5",
    only: str = "",
    clean: bool = False,
) -> None:
    """Measure refresh, backup, restore ... against the documented procedure, in a checkout."""


TASKS = (init, runs, report, plugins, hooks, plugin_new, schedule, demo, bench)
