"""`demo`: build the demo site, back it up, prove the backup, refresh test, say what to try next."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from biso_tasks.cli.backing import backup
from biso_tasks.cli.call import Call
from biso_tasks.cli.keeping import verify
from biso_tasks.cli.refreshing import refresh_test
from biso_tasks.cli.site import demo_path
from biso_tasks.config.load import find
from biso_tasks.demo import site as demo_site
from biso_tasks.errors import UsageError

__all__ = ["demo", "demo_root"]


def demo(call: Call, stop: bool, clean: bool, no_ssh: bool) -> None:
    """Build the demo beside the top-level biso.toml; with `stop` or `clean`, end it."""
    root = demo_root()
    if call.options.plan:
        _foresee(call, root, stop=stop, clean=clean)
        return
    if clean:
        demo_site.clean(root)
        call.text("The demo is gone: its servers, its databases, its files.")
        return
    if stop:
        demo_site.stop(root)
        call.text("The demo's servers have stopped. `biso demo` starts them again.")
        return
    call.text("Building a production and a test instance of a stand-in BISO ...")
    built = demo_site.build(root, ssh=False if no_ssh else None)
    demo_path(root / ".biso")
    for note in built.notes:
        call.text(note)
    hosts = "two SSH servers on this machine" if built.ssh else "this machine"
    call.text(
        f"production  {built.prod.webroot}\n"
        f"test        {built.test.webroot}\n"
        f"on          {hosts}, each with a PostgreSQL of its own\n"
    )
    call.document["ssh"] = built.ssh
    # The question is for people's own data; this site was made a moment ago.
    call.options = replace(call.options, yes=True)
    call.text("Backing production up: a moment of maintenance, then it is out of the way ...")
    with call.aside("backup"):
        backup(call, "", "", False)
        made = call.document["set"]
    call.document["set"] = made
    call.text("\nRestoring that set beside the test instance, to see that it can be used ...")
    with call.aside("verify"):
        verify(call, "", False, True, "", "")
    call.text("\nRefreshing test from production ...")
    refresh_test(call)
    call.text(
        "\nTry next:\n"
        "  ./biso refresh-test --plan     what a refresh does, step by step\n"
        "  ./biso refresh-test            do it; type the name of the test environment\n"
        "  ./biso rollback                the old test instance back; again: forth\n"
        "  ./biso list                    the backup sets; show, verify, restore\n"
        "  ./biso report --open           what happened, as a page\n"
        "  ./biso doctor                  what a run needs, checked\n"
        "  ./biso demo --stop | --clean   end the demo; remove it\n"
    )


def _foresee(call: Call, root: Path, *, stop: bool, clean: bool) -> None:
    home = demo_site.home(root)
    there = demo_site.load(root) is not None
    if clean:
        call.outlook("demo", changes=(), destroys=[f"{home}, its servers and databases"])
    elif stop:
        call.outlook("demo", changes=[f"stops the servers of {home}"])
    else:
        built = f"starts the site in {home}" if there else f"builds two instances in {home}"
        rest = ("backs production up", "restores that set beside test", "refreshes test")
        call.outlook("demo", changes=(built, *rest))


def demo_root() -> Path:
    """The folder of the biso.toml that describes the demo site. Raises UsageError elsewhere."""
    file = find(Path.cwd(), os.environ)
    if file is None or not file.exists() or ".biso/demo/" not in file.read_text("utf-8", "replace"):
        raise UsageError(
            "the demo is built beside the biso.toml that came with this tool, and the one here "
            "describes another site"
            if file is not None
            else "there is no biso.toml here or above",
            hint="go to the folder of the checkout and run ./biso demo",
        )
    return file.parent
