"""What `doctor` and `list` say of backup sets: on a new site, on one whose sets grow old, and for
one task."""

from __future__ import annotations

import contextlib
import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from restore_site import Restored

from biso_tasks.actions.schedule.since import forget_timers, note_timers
from biso_tasks.config.load import load
from biso_tasks.host import LocalHost
from biso_tasks.instance.lock import lock_folder

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]


def doctor(world: Restored, task: str = "", code: int = 0) -> list[dict[str, Any]]:
    """What it says of backup sets."""
    found = world.run("doctor", code, for_=task)["checks"]
    assert code or all(one["ok"] for one in found), found
    return [one for one in found if one["name"] == "backup sets"]


@pytest.fixture
def new(world: Restored) -> Restored:
    """A site whose store holds nothing yet."""
    file = world.built.root / "biso.toml"
    text = file.read_text()
    file.write_text(re.sub(r'^path = ".*?"', 'path = "./.biso/none"', text, flags=re.MULTILINE))
    return world


def test_a_new_site_is_well_and_a_backup_needs_no_backup(new: Restored) -> None:
    for task in ("", "backup", "prune"):
        (line,) = doctor(new, task)
        assert line["ok"] and "no good one yet: `biso backup` makes it" in line["detail"]
    assert doctor(new, "refresh-test") == [], "a refresh of what is live needs none"
    listed = new.run("list", env="", from_="")
    assert (listed["sets"], listed["stale"]) == ([], [])


def test_what_is_to_use_a_set_needs_one(new: Restored) -> None:
    (line,) = doctor(new, "verify", code=3)
    assert not line["ok"] and "no complete good set" in line["detail"]
    assert "biso backup" in line["remedy"]
    file = new.built.root / "biso.toml"
    file.write_text(re.sub(r"^\[refresh\]", '[refresh]\nsource = "latest"', file.read_text(),
                           flags=re.MULTILINE))  # fmt: skip
    (line,) = doctor(new, "refresh-test", code=3)
    assert not line["ok"] and "no complete good set" in line["detail"]


def test_of_a_restore_production_is_looked_at_as_what_it_goes_into(new: Restored) -> None:
    """Without --to it goes into what was backed up; many a restore goes into test."""
    checks = new.run("doctor", 3, for_="restore")["checks"]
    (bad,) = [one for one in checks if not one["ok"]]
    assert (bad["host"], bad["name"]) == ("prod", "backup sets")
    assert "no complete good set" in bad["detail"]
    for host in ("prod", "test"):
        names = {one["name"] for one in checks if one["host"] == host}
        assert {"swap", "stage directory", "services", "database"} <= names
    assert "roles" not in {one["name"] for one in checks}


def test_a_restore_may_go_into_production_and_finds_the_set(world: Restored) -> None:
    (line,) = doctor(world, "restore")
    assert (line["host"], line["ok"]) == ("prod", True)
    assert f"{world.id} is what would be used" in line["detail"]
    datadir = world.prod.datadir
    datadir.rename(datadir.with_name("away"))
    try:
        checks = world.run("doctor", 3, for_="restore")["checks"]
    finally:
        datadir.with_name("away").rename(datadir)
    assert [(one["host"], one["name"]) for one in checks if not one["ok"]] == [("prod", "places")]


def test_timers_that_never_made_a_set_are_said(new: Restored) -> None:
    site = load(new.built.root / "biso.toml")
    note_timers(site)
    try:
        assert doctor(new)[0]["ok"]
        past = datetime.now(UTC) - timedelta(days=3)
        (site.state / "scheduled").write_text(past.isoformat())
        (line,) = doctor(new, code=3)
        assert "though timers were installed 3 days ago" in line["detail"]
        assert doctor(new, "backup")[0]["ok"], "a first backup can be made all the same"
        (said,) = new.run("list", env="", from_="")["stale"]
        assert line["detail"] in said
    finally:
        forget_timers(site)


def test_a_set_of_today_that_was_never_drilled_is_no_complaint(world: Restored) -> None:
    for task in ("", "backup", "verify", "prune"):
        (line,) = doctor(world, task)
        assert line["ok"] and world.id in line["detail"]
    assert world.run("list", env="", from_="")["stale"] == []


def test_sets_that_grew_old_are_complaints_of_doctor_and_no_hindrance_to_a_task(
    world: Restored,
) -> None:
    state = world.set_folder / "state.toml"
    before = state.read_text()
    past = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="seconds")
    state.write_text(re.sub(r'^when = ".*?"', f'when = "{past}"', before, flags=re.MULTILINE))
    try:
        lines = doctor(world, code=3)
        assert [one["detail"].partition(" (")[0].partition(";")[0] for one in lines] == [
            "the newest good set is 40 days old", "no good set was ever verified",
            "no good set was ever drilled",
        ]  # fmt: skip
        assert all(one["remedy"] for one in lines)
        for task in ("backup", "verify", "prune"):
            assert doctor(world, task)[0]["ok"]
    finally:
        state.write_text(before)


def test_a_run_that_is_at_work_is_nothing_to_mend(world: Restored) -> None:
    """Or a monitoring system would call somebody whenever the nightly backup runs."""
    folder = world.prod.datadir.parent / f".biso-tasks-{world.prod.datadir.name}"
    folder.mkdir(mode=0o700)
    owner = {"run": "r-at-work", "who": "somebody", "since": "now"}
    try:
        with (
            contextlib.closing(LocalHost("prod")) as host,
            lock_folder(host, str(folder), owner, user=None, what="prod"),
        ):
            checks = world.run("doctor", 0, for_="")["checks"]
        (line,) = [one["detail"] for one in checks if one["name"] == "backup"]
        assert line.startswith("not looked at: ") and "r-at-work" in line
    finally:
        shutil.rmtree(folder)


def test_a_damaged_newest_set_is_not_what_a_task_could_use(world: Restored) -> None:
    state = world.set_folder / "state.toml"
    before = state.read_text()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    state.write_text(f'{before}\n[damaged]\nwhen = "{now}"\nrun = "r1"\ntext = "half of it"\n')
    try:
        line, damaged = doctor(world, code=3)
        assert "no good backup set at all" in line["detail"]
        assert damaged["detail"] == f"{world.id} is damaged: half of it"
        assert "biso backup" in damaged["remedy"]
        assert not doctor(world, "verify", code=3)[0]["ok"]
    finally:
        state.write_text(before)
