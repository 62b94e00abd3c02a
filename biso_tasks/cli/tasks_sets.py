"""The tasks about backup sets: making, looking at, verifying, keeping and restoring them."""

from __future__ import annotations

from biso_tasks.cli.declare import READING, declare

__all__ = ["TASKS"]


@declare(
    env="the environment (default: backup.environment)",
    only="some areas only: webroot, data, database, with commas between",
    no_maintenance="leave the site out of maintenance: files and rows may differ by moments",
)
def backup(env: str = "", only: str = "", no_maintenance: bool = False) -> None:
    """Make one consistent backup set of an environment: webroot, data dir, databases."""


@declare(
    called="list",
    common=READING,
    env="one environment only",
    from_="a store, or copied sets: HOST:PATH",
)
def list_(env: str = "", from_: str = "") -> None:
    """List the backup sets with state, age, size and areas."""


@declare(common=READING, set_="a set's id, or latest", from_="a store, or copied sets: HOST:PATH")
def show(set_: str, from_: str = "") -> None:
    """Show one backup set: manifest, counts, versions."""


@declare(
    set_="a set's id, or latest",
    reason="why it is kept",
    until="until when: a date (2027-01-31) or a duration (30d); default: for good",
)
def pin(set_: str, reason: str = "", until: str = "") -> None:
    """Keep a backup set, whatever the retention says."""


@declare(set_="a set's id, or latest")
def unpin(set_: str) -> None:
    """Let the retention decide about a backup set again."""


@declare(
    set_="a set's id (default: latest)",
    all_="every set",
    drill="restore it into a stage, migrate, compare the counts, discard",
    on="where the drill is made: a test environment (default: refresh.to)",
    from_="a store, or copied sets: HOST:PATH",
    env="whose sets (default: backup.environment)",
)
def verify(
    set_: str = "",
    all_: bool = False,
    drill: bool = False,
    on: str = "",
    from_: str = "",
    env: str = "",
) -> None:
    """Verify backup sets: checksums, completeness, dumps; with --drill by restoring them."""


@declare(
    set_="a set's id, or latest",
    to="the environment to restore into (default: the one that was backed up)",
    only="some areas only: webroot, data, database, with commas between",
    from_="a store, or copied sets: HOST:PATH, where the host that made them is gone",
    table="one table alone, into a schema of its own",
    path="one path of the data dir alone",
)
def restore(
    set_: str, to: str = "", only: str = "", from_: str = "", table: str = "", path: str = ""
) -> None:
    """Restore a backup set into an environment: staged, checked, swapped in."""


@declare(env="the test environment (default: refresh.to)", name="what to call it")
def baseline(env: str = "", name: str = "") -> None:
    """Keep the state of a test instance, to go back to it with reset-test."""


@declare(env="the test environment (default: refresh.to)", name="which baseline (default: newest)")
def reset_test(env: str = "", name: str = "") -> None:
    """Put a test instance back to its baseline: staged, checked, swapped in."""


@declare(
    env="whose data is released (default: refresh.from)",
    gate="print the script for a restricted account that hands releases out, and do nothing else",
)
def release(env: str = "", gate: bool = False) -> None:
    """Prepare, anonymise, prove and seal a set that may be handed out."""


@declare(env="the environment (default: backup.environment)")
def prune(env: str = "") -> None:
    """Remove the backup sets, stages and previous instances that the retention does not keep."""


TASKS = (
    backup, list_, show, pin, unpin, verify, restore, baseline, reset_test, release, prune,
)  # fmt: skip
