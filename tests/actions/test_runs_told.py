"""What a script and a plugin are told of runs: `runs`, `report`, and the hooks that watch."""

from __future__ import annotations

from pathlib import Path

import pytest
from restore_site import Restored

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

DRILL = {"set_": "", "all_": False, "drill": True, "on": "", "from_": ""}
SEEN = """
from biso_tasks.api import hookimpl

@hookimpl
def biso_run_started(plan):
    note("started " + plan.name)

@hookimpl
def biso_run_finished(report):
    note("finished " + report.task)

def note(text):
    with open({path!r}, "a") as handle:
        handle.write(text + "\\n")
"""


def test_a_run_is_of_the_task_that_was_given_whatever_recipe_it_took(
    world: Restored, tmp_path: Path
) -> None:
    """A drill is a `verify`, a refresh from a set a `refresh-test`: to `runs`, to its report, to
    plugins that watch or veto by the task."""
    seen = tmp_path / "seen"
    (tmp_path / "more").mkdir()
    (tmp_path / "more/watch.py").write_text(SEEN.replace("{path!r}", repr(str(seen))))
    file = world.built.root / "biso.toml"
    file.write_text(file.read_text().replace(
        'plugins = ["plugins"]', f'plugins = ["plugins", "{tmp_path}/more"]'
    ))  # fmt: skip
    drilled = world.run("verify", **DRILL)
    given = {"from_": "", "to": "", "no_anonymize": True, "keep_stage": False, "confirm": "test"}
    refreshed = world.run("refresh-test", source="latest", **given)
    assert seen.read_text().split("\n")[:-1] == [
        "started verify", "finished verify", "started refresh-test", "finished refresh-test",
    ]  # fmt: skip
    newest, before = world.run("runs", number="2")["runs"]
    assert [(one["run"], one["task"]) for one in (before, newest)] == [
        (drilled["run"], "verify"), (refreshed["run"], "refresh-test"),
    ]  # fmt: skip
    for run in (drilled, refreshed):
        report = world.run("report", run=run["run"], open_=False)["report"]
        assert (report["task"], report["run"], report["status"]) == (run["task"], run["run"], "ok")
        assert [one["name"] for one in report["steps"]] == [one["name"] for one in run["steps"]]
    report = world.run("report", run=drilled["run"], open_=False)["report"]
    assert (report["sets"], report["findings"], report["drilled"]) == ([world.id], [], True)


def test_the_report_of_a_backup_names_its_set(world: Restored) -> None:
    (run,) = [one for one in world.run("runs", number="100")["runs"] if one["task"] == "backup"]
    report = world.run("report", run=run["run"][-4:], open_=False)["report"]
    assert (report["set"], report["path"]) == (world.id, str(world.set_folder))
    assert report["bytes"] == world.run("list", env="", from_="")["sets"][0]["bytes"]
    assert report["maintenance_seconds"] > 0 and report["exit_code"] == 0
    assert run["status"] == "ok" and run["started"].endswith("Z") and run["seconds"] > 0
