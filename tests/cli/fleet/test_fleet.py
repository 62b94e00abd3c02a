"""One command for many installations, on SSH servers of their own."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_world import Fleet
from transcript import BISO, at_a_terminal

from biso_tasks.flow.journal import read

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
]


def until(true: Callable[[], object], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def odd(fleet: Fleet, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The second is broken, the third slow."""
    broken, slow = fleet.site.names[1:3]
    php = fleet.site.built.bin_dir / "php"
    sleepy = fleet.site.root / "sleepy-php"
    sleepy.write_text(f'#!/bin/sh\nsleep 2\nexec "{php}" "$@"\n')
    sleepy.chmod(0o755)
    fleet.site.write(
        {
            broken: {"webroot": "/nowhere/at/all"},
            slow: {"php": [str(sleepy)], "biso_cli": [str(sleepy), "biso-cli"]},
        }
    )
    yield broken, slow
    fleet.site.write()


def test_one_that_is_broken_and_one_that_is_slow_keep_nobody_from_ending(
    fleet: Fleet, odd: tuple[str, str]
) -> None:
    broken, slow = odd
    names = fleet.site.names
    done = fleet.run(3, "backup", "--env", "kanton-*", "--jobs", "3", folder=True)
    told = {one["name"]: one for one in done["installations"]}
    assert list(told) == list(names), "in the order of their names, whenever they ended"
    assert {name for name, one in told.items() if one["exit_code"] != 0} == {broken}
    assert "/nowhere/at/all" in told[broken]["error"]["message"]
    for name in names:
        assert len(fleet.sets(name)) == (0 if name == broken else 1)
        if name != broken:
            assert told[name]["result"]["set"] in fleet.sets(name)
            assert Path(told[name]["report"]).is_file()
    assert f"1 of {len(names)} installations failed: {broken}" in done["error"]["message"]
    assert not fleet.flags()

    # side by side as far as was allowed, and nobody waited for the slow one
    events = read(Path(done["report"]).with_name("journal.jsonl"))
    running = most = 0
    for event in events:
        running += {"step_started": 1, "step_finished": -1}.get(event["event"], 0)
        most = max(most, running)
    assert most == 3
    ends = [one["name"] for one in events if one["event"] == "step_finished"]
    assert len(ends) == len(names)
    assert ends.index(slow) > ends.index(names[3])

    # one table, one report
    lines = [line for line in done["stderr"].splitlines() if line.startswith("kanton-")]
    assert [line.split()[0] for line in lines] == list(names)
    assert f"{told[names[0]]['result']['set']} (" in lines[0]
    page = Path(done["report"]).read_text()
    assert all(name in page for name in names)
    assert Path(told[names[0]]["report"]).as_uri() in page
    listed = fleet.run(0, "runs", folder=True)["runs"]
    assert listed[0]["run"] == done["run"]


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.whole), signal.SIGKILL],
)
def test_whoever_ends_it_ends_all_of_them_cleanly(
    fleet: Fleet, odd: tuple[str, str], number: signal.Signals
) -> None:
    before = {name: fleet.sets(name) for name in fleet.site.names}
    with fleet.start("backup", "--env", "*", "--json", folder=True, process_group=0) as process:
        assert until(lambda: len(members(process.pid)) > 1)
        assert until(fleet.flags), "in the midst of it"
        mine = members(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert until(lambda: not any(map(alive, mine))), "no process is left"
    assert until(lambda: not fleet.flags()), "and nobody is in maintenance"
    after = {name: fleet.sets(name) for name in fleet.site.names}
    if number != signal.SIGKILL:
        assert process.returncode == 130, err
        document = json.loads(out)
        codes = {one["exit_code"] for one in document["installations"]}
        assert 130 in codes
        assert codes <= {0, 3, 130, None}
        good = [one["name"] for one in document["installations"] if one["exit_code"] == 0]
        assert [name for name in after if after[name] != before[name]] == good


def members(pid: int) -> list[int]:
    """The commands that it has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            if parent == pid and b"biso_tasks.cli.main" in words:
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return False


def test_each_test_instance_gets_its_own_production_and_no_production_is_ever_meant(
    fleet: Fleet,
) -> None:
    first, second = fleet.site.names[0], fleet.site.names[-1]
    for name in (first, second):
        mark(fleet, name, f"only {name}")
    done = fleet.run(0, "refresh-test", "--to", f"{first}*,{second}*", "--yes")
    assert [one["name"] for one in done["installations"]] == [f"{first}-test", f"{second}-test"]
    assert f"left out, as production: {first}, {second}" in done["stderr"]
    for name in (first, second):
        assert marks(fleet, f"{name}-test") == [f"only {name}"]
    for one in done["installations"]:
        assert one["result"]["proof"]["leaks"] == []
        assert one["result"]["downtime_seconds"] > 0


def mark(fleet: Fleet, name: str, text: str) -> None:
    dbname = name.replace("-", "_")
    fleet.site.built.prod.psql(f"UPDATE params SET kunde = '{text}'", dbname=dbname)


def marks(fleet: Fleet, name: str) -> list[str]:
    dbname = name.replace("-", "_")
    said = fleet.site.built.test.psql("SELECT DISTINCT kunde FROM params", dbname=dbname)
    return said.strip().splitlines()


def test_all_plans_are_shown_and_the_pattern_is_typed_once(fleet: Fleet) -> None:
    """What is carried out then is held against what was shown: another plan would be refused."""
    pattern = f"{fleet.site.names[0]}-t*"
    words = [*BISO, "refresh-test", "--to", pattern]
    assert fleet.run(3, *words[-3:])["error"]["kind"] == "refused"
    env = {**fleet.environ(), "COLUMNS": "160", "TERM": "dumb"}
    wrong = at_a_terminal(words, "something else\n", fleet.site.root, env, code=3)
    assert "Plan: refresh-test" in wrong
    assert "swap: exchanges" in wrong
    assert "nothing was changed" in wrong
    right = at_a_terminal(words, f"{pattern}\n", fleet.site.root, env)
    assert re.search(rf"{fleet.site.names[0]}-test +ok", right), right


def test_a_plan_that_is_no_longer_what_was_shown_is_not_carried_out(fleet: Fleet) -> None:
    name = f"{fleet.site.names[0]}-test"
    environ = {**fleet.environ(), "BISO_SHOWN": "another plan"}
    words = [*BISO, "anonymize", "--env", name, "--yes", "--json"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "no longer what its plan said" in json.loads(done.stdout)["error"]["message"]


def test_with_plan_all_plans_are_told_and_nothing_is_written(fleet: Fleet) -> None:
    runs = fleet.site.root / ".biso/runs"
    before = sorted(runs.iterdir()) if runs.exists() else []
    two = [f"{name}-test" for name in fleet.site.names[:2]]
    done = fleet.run(0, "refresh-test", "--to", ",".join(two), "--plan")
    assert [one["name"] for one in done["plan"]] == two
    assert all(any("swap: exchanges" in text for text in one["changes"]) for one in done["plan"])
    assert all(one["destroys"] for one in done["plan"])
    names = [step["name"] for step in done["installations"][0]["plan"]]
    assert names[0] == "lock" and "prove" in names
    assert (sorted(runs.iterdir()) if runs.exists() else []) == before


def test_those_that_share_a_store_wait_for_each_other(fleet: Fleet) -> None:
    """In one biso.toml, `backup.path` is the same for all; here it is even the same disk."""
    two = ",".join(fleet.site.names[:2])
    changes: dict[str, dict[str, Any]] = {
        name: {"ssh": f"host-{fleet.site.names[0]}"} for name in fleet.site.names[:2]
    }
    fleet.site.write(changes)
    try:
        done = fleet.run(0, "backup", "--env", two, "--jobs", "2")
    finally:
        fleet.site.write()
    assert "wait in turn" in done["stderr"]
    assert len({one["result"]["set"] for one in done["installations"]}) == 2
