"""`recover` itself: killed at each of its verbs and run again, next to a live run, after a kill
whose commands still run on the host, and after a site that answered badly was being swapped back.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from fault_cases import EVERYTHING
from fault_world import LIVE, Run, World

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]


def _commit(verbs: list[str]) -> int:
    """The number of the verb that is the commit point: the transaction of the renames."""
    return 1 + next(i for i, verb in enumerate(verbs) if "RENAME TO" in verb)


@pytest.mark.parametrize("committed", [False, True], ids=["before-commit", "after-commit"])
def test_a_recover_that_is_killed_at_any_of_its_verbs_is_finished_by_the_next_one(
    world: World, committed: bool
) -> None:
    commit = _commit(world.points("rollback", "again")["exchange"])
    broken: dict[str, Any] = {
        "scope": "exchange", "call": commit, "act": "kill",
        "side": "after" if committed else "before",
    }  # fmt: skip
    wanted = "new" if committed else "old"
    world.reset("again")
    run = world.run(world.spec(**broken), "rollback", "--yes", "--json")
    spec = world.spec()
    assert world.run(spec, "recover", "--json", there=True).code == 0
    assert world.check(run, rollback=True) == wanted
    verbs = json.loads(Path(spec["trace"]).read_text("utf-8"))["run"]
    step = 1 if EVERYTHING else max(1, len(verbs) // 2)
    for call in range(1, len(verbs) + 1, step):
        world.reset("again")
        run = world.run(world.spec(**broken), "rollback", "--yes", "--json")
        first = world.spec(scope="run", call=call, side="after", act="kill")
        killed = world.run(first, "recover", "--json", there=True)
        assert killed.reached, f"verb {call}"
        again = world.recover()
        assert again.code == 0, f"verb {call} ({verbs[call - 1][:80]}): {again.err}"
        assert world.check(run, rollback=True) == wanted, f"verb {call} ({verbs[call - 1][:80]})"


def test_a_second_recover_finds_nothing_to_do_and_changes_nothing(world: World) -> None:
    world.reset("again")
    spec = world.spec(step="migrate", side="after", act="kill")
    run = world.run(spec, "refresh-test", "--yes", "--json")
    first, second = world.recover(), world.recover()
    done = [
        {one["environment"]: one["done"] for one in run.document["environments"]}["test"]
        for run in (first, second)
    ]
    assert done[0]
    assert done[1] == []
    assert world.check(run) == "old"


@pytest.mark.parametrize(
    ("killed", "said", "served"),
    [
        ("before", "takes back", "old"),
        ("after", "finishes", "new"),
        pytest.param("stage", "", "old", marks=pytest.mark.whole),
    ],
)
def test_the_plan_of_a_recover_changes_nothing_and_is_what_it_then_does(
    world: World, killed: str, said: str, served: str
) -> None:
    rollback = killed != "stage"
    if rollback:
        commit = _commit(world.points("rollback", "again")["exchange"])
        broken = world.spec(scope="exchange", call=commit, act="kill", side=killed)
    else:
        broken = world.spec(step="migrate", side="after", act="kill")
    world.reset("again")
    run = world.run(broken, "rollback" if rollback else "refresh-test", "--yes", "--json")
    assert run.reached
    before = _settled(world)
    planned = world.run(world.spec(), "recover", "--plan", "--json", there=True)
    assert planned.code == 0, planned.err
    assert _seen(world) == before
    steps = {one["on"]: one for one in planned.document["plan"]}
    assert "prod" not in steps or not (steps["prod"]["changes"] or steps["prod"]["destroys"])
    recovered = world.recover()
    assert recovered.code == 0, recovered.err
    done = {one["environment"]: one["done"] for one in recovered.document["environments"]}
    if rollback:
        (change,) = steps["test"]["changes"]
        assert change.startswith(f"{said} the swap of run ")
        assert any(f"the {served} instance is served" in one for one in done["test"])
        assert f"the {served} instance is served" in change
    else:
        wanted = [one.replace("removes", "removed", 1) for one in steps["test"]["destroys"]]
        assert wanted == done["test"] and wanted
    assert world.check(run, rollback=rollback) == served
    after = world.run(world.spec(), "recover", "--plan", "--json", there=True)
    assert [one for one in after.document["plan"] if one["changes"] or one["destroys"]] == []


def _settled(world: World) -> Any:
    """As `_seen`, once what the killed run had started on the host has come to its end."""
    seen = _seen(world)
    for _ in range(40):
        time.sleep(0.25)
        before, seen = seen, _seen(world)
        if seen == before:
            break
    return seen


def _seen(world: World) -> Any:
    """Everything that recover could change: databases, who may connect, folders, the flag."""
    places = (world.stage_dir, world.test.webroot, world.test.datadir)
    words = ["find", *places, "-printf", "%p %i %T@ %m\\n"]
    found = subprocess.run(words, capture_output=True, check=False)
    # What goes while it looks is seen the next time: the killed run's commands may be ending yet.
    assert all(b"No such file" in line for line in found.stderr.splitlines()), found.stderr
    tree = found.stdout
    return world.databases(), sorted(tree.split(b"\n")), world.picture(LIVE)


def test_recover_and_a_second_refresh_leave_a_live_run_alone_and_name_its_owner(
    world: World,
) -> None:
    world.reset("again")
    spec = world.spec(step="migrate", side="before", act="pause")
    Path(spec["resume"]).write_text("wait", "utf-8")
    child = world.start(spec, "refresh-test", "--yes", "--json")
    _await(Path(spec["reached"]), child)
    owner = json.loads((world.stage_dir / "owner").read_text("utf-8"))
    here = world.databases(), sorted(path.name for path in world.stage_dir.iterdir())
    for task in (
        ("recover", "--json"),
        ("recover", "--plan", "--json"),
        ("refresh-test", "--yes", "--json"),
        ("rollback", "--yes", "--json"),
    ):
        other = world.run({**spec, "act": "none", "step": ""}, *task, there=True)
        assert other.code == 5, other.err
        assert owner["who"] in other.err
        assert owner["run"] in other.err
    assert (world.databases(), sorted(path.name for path in world.stage_dir.iterdir())) == here
    Path(spec["resume"]).unlink()
    run = world.finish(child, spec)
    assert run.code == 0, run.err
    assert world.check(run) == "new"


@pytest.mark.parametrize("over", ["ssh", pytest.param("local", marks=pytest.mark.whole)])
def test_the_lock_is_free_at_once_when_its_holder_s_run_was_killed(world: World, over: str) -> None:
    world.over = over
    world.reset("again")
    spec = world.spec(step="open-stage", side="before", act="kill")
    world.run(spec, "refresh-test", "--yes", "--json")
    began = time.monotonic()
    lock = world.stage_dir / "lock"
    while lock.exists() and subprocess.run(["flock", "-n", lock, "true"], check=False).returncode:
        assert time.monotonic() - began < 60, "the lock is still held after a minute"
        time.sleep(0.02)
    print(f"the lock was free after {time.monotonic() - began:.2f} s")
    assert time.monotonic() - began < 5


def test_commands_that_outlive_a_killed_run_cannot_spoil_what_recover_leaves(
    world: World,
) -> None:
    """BISO's own programs run on the host for as long as they like: the run's death does not end
    them. `recover` must not leave what they go on writing."""
    world.reset("again")
    php = world.test.php
    original = php.read_text("utf-8")
    slow = original.replace("exec ", 'case "$*" in *"migration exec"*) sleep 3;; esac\nexec ')
    assert slow != original
    php.write_text(slow, "utf-8")
    world.over = "ssh"
    try:
        spec = world.spec(scope="migrate", call=2, side="during", act="kill", delay=0.5)
        run = world.run(spec, "refresh-test", "--yes", "--json")
        assert run.reached
        again = world.recover()
    finally:
        php.write_text(original, "utf-8")
    assert again.code == 0, again.err
    assert world.check(run) == "old"
    time.sleep(3)
    assert world.check(run) == "old"


def test_a_record_that_was_half_written_when_the_run_was_killed_is_removed(world: World) -> None:
    world.reset("again")
    spec = world.spec(step="migrate", side="after", act="kill")
    run = world.run(spec, "refresh-test", "--yes", "--json")
    (world.stage_dir / ".intent.json.new").write_text('{"half', "utf-8")
    assert world.recover().code == 0
    assert world.check(run) == "old"


@pytest.mark.parametrize("recipe", ["refresh-test", "rollback"])
def test_an_instance_that_answers_badly_is_swapped_back(world: World, recipe: str) -> None:
    world.reset("again")
    run = _answers_badly(world, world.spec(), recipe)
    assert run.code == 1, run.err
    assert "answered badly" in run.err
    assert world.check(run, rollback=recipe == "rollback") == "old"


def test_a_swap_back_that_is_killed_at_any_of_its_verbs_is_finished_by_recover(
    world: World,
) -> None:
    world.reset("again")
    spec = world.spec()
    _answers_badly(world, spec, "rollback")
    verbs = json.loads(Path(spec["trace"]).read_text("utf-8"))["exchange"]
    commit = _commit(verbs)
    calls = range(commit + 1, len(verbs) + 1)
    for call in calls if EVERYTHING else [*calls][:: max(1, len(calls) // 3)]:
        world.reset("again")
        spec = world.spec(scope="exchange", call=call, side="after", act="kill")
        run = _answers_badly(world, spec, "rollback")
        assert run.reached, f"verb {call}"
        again = world.recover()
        assert again.code == 0, f"verb {call} ({verbs[call - 1][:80]}): {again.err}"
        world.check(run, rollback=True)


@pytest.mark.parametrize(
    ("step", "crash"),
    [
        ("stage-database", True),
        ("swap", False),
        pytest.param("stage-database", False, marks=pytest.mark.whole),
        pytest.param("swap", True, marks=pytest.mark.whole),
    ],
)
def test_postgresql_that_restarts_in_the_middle_leaves_old_or_new(
    world: World, step: str, crash: bool
) -> None:
    world.reset("again")
    where: dict[str, Any] = {"scope": "stage-database", "call": 2}
    if step == "swap":
        verbs = world.points("refresh-test", "again")["exchange"]
        world.reset("again")
        where = {"scope": "exchange", "call": _commit(verbs) - 1}
    spec = world.spec(**where, side="after", act="restart", crash=crash)
    run = world.run(spec, "refresh-test", "--yes", "--json")
    assert run.reached
    assert run.code in (0, 1, 6), run.err
    again = world.recover()
    assert again.code == 0, again.err
    world.check(run)


@pytest.mark.parametrize(
    "program",
    [
        "psql",
        "rsync",
        pytest.param("pg_dump", marks=pytest.mark.whole),
        pytest.param("php", marks=pytest.mark.whole),
    ],
)
def test_a_program_that_fails_on_the_host_leaves_what_is_served(world: World, program: str) -> None:
    world.reset("again")
    world.over = "ssh"
    fake = world.folder / "fake" / program
    fake.write_text(_FAILS, "utf-8")
    fake.chmod(0o755)
    try:
        run = world.run(world.spec(), "refresh-test", "--yes", "--json")
    finally:
        fake.unlink()
    if program == "php":  # it is named by its path: the one on the PATH is not asked
        assert run.code == 0, run.err
        return
    assert run.code in (1, 3), run.err
    assert world.check(run) == "old"
    assert "Traceback" not in run.err


@pytest.mark.parametrize("says", ["rubbish", "nothing", "failure"])
def test_a_biso_cli_that_prints_rubbish_leaves_what_is_served(world: World, says: str) -> None:
    world.reset("again")
    program = world.test.webroot / "biso-cli"
    text = {
        "rubbish": "<?php fwrite(STDOUT, random_bytes(4096));",
        "nothing": "<?php ",
        "failure": '<?php fwrite(STDERR, "\\xff kaputt\\n"); exit(3);',
    }[says]
    program.write_text(text, "utf-8")
    run = world.run(world.spec(), "refresh-test", "--yes", "--json")
    assert "Traceback" not in run.err
    if says == "failure":
        assert run.code in (1, 3), run.err
        assert world.check(run) == "old"
    else:
        # Exit 0 is all that can be known of it: what counts is proven and asked afterwards.
        assert world.check(run) == ("new" if run.code == 0 else "old")


def test_after_a_kill_just_before_the_commit_a_rollback_and_a_refresh_succeed(
    world: World,
) -> None:
    """The previous instance of last time is blocked for the swap as well: it must be opened again,
    or it could not be gone back to."""
    commit = _commit(world.points("refresh-test", "again")["exchange"])
    world.reset("again")
    spec = world.spec(scope="exchange", call=commit, side="before", act="kill")
    run = world.run(spec, "refresh-test", "--yes", "--json")
    assert world.recover().code == 0
    assert world.check(run) == "old"
    back = world.run(world.spec(), "rollback", "--yes", "--json")
    assert back.code == 0, back.err
    assert world.check(back, rollback=True) == "new"


def test_after_a_kill_behind_the_swap_the_next_refresh_succeeds(world: World) -> None:
    world.reset("first")
    spec = world.spec(step="swap", side="after", act="kill")
    run = world.run(spec, "refresh-test", "--yes", "--json")
    assert world.recover().code == 0
    assert world.check(run) == "new"
    served = world.picture(LIVE)
    again = world.run(world.spec(), "refresh-test", "--yes", "--json")
    assert again.code == 0, again.err
    assert world.picture(LIVE) == again.stage
    assert world.picture("biso_test__previous") == served


_FAILS = """#!/bin/sh
# Answers what is asked about it, and fails at its work.
case "$*" in *--version*|*-V*) exec "/usr/bin/${0##*/}" "$@";; esac
echo "${0##*/}: injected failure" >&2
exit 3
"""


def _answers_badly(world: World, spec: dict[str, Any], recipe: str) -> Run:
    """Run with a site whose code breaks as soon as the incoming database is served."""
    index = world.test.webroot / "index.php"
    original = index.read_text("utf-8")
    live = world.test.webroot / "data"
    inode = live.stat().st_ino
    broken = (
        f"<?php clearstatcache(true); if (fileinode('{live}') !== {inode})"
        " { http_response_code(500); exit; } ?><!-- broken -->"
    )
    index.write_text(broken + original, "utf-8")
    try:
        # PHP's cache looks at a file again after two seconds.
        until = time.monotonic() + 30
        while "<!-- broken -->" not in world.ask()[1]:
            assert time.monotonic() < until
            time.sleep(0.05)
        return world.run(spec, recipe, "--yes", "--json")
    finally:
        index.write_text(original, "utf-8")


def _await(path: Path, child: subprocess.Popen[str], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        if child.poll() is not None or time.monotonic() > until:
            child.send_signal(signal.SIGKILL)
            raise AssertionError("the run never came there")
        time.sleep(0.02)
