"""A backup that is killed, fails or is cut off at every single step, and whose programs are:
nothing is listed as good that is not, production is out of maintenance within a minute, the next
one succeeds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fault_cases import (
    EVERYTHING,
    LASTING,
    PLENTY,
    StepCase,
    full_cases,
    program_cases,
    require_told,
    runs,
    set_cases,
)
from fault_programs import after_the_copy, instead, killed_in, processes, small_disk
from fault_sets import Watched, backup_again, out_of_maintenance, watch
from fault_world import Run, World

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
]


@pytest.mark.parametrize("case", set_cases(), ids=str)
def test_a_backup_that_ends_at_a_step_leaves_no_set_that_is_not_good_and_no_maintenance(
    world: World, case: StepCase
) -> None:
    watched: list[Watched] = []
    for run, spec in runs(world, case, before=lambda: watched.append(watch(world, case.recipe))):
        if case.step == "window" and case.manner.side == "middle":
            assert "in maintenance" in Path(spec["reached"]).read_text("utf-8")
        _holds(world, case, watched[-1], run, spec["act"])


def _holds(world: World, case: StepCase, watched: Watched, run: Run, act: str) -> None:
    require_told(run, act)
    if act == "reboot":
        # Who would have ended the maintenance is gone with the host.
        assert world.recover().code == 0
    took = out_of_maintenance(world, case.recipe, seconds=60)
    print(f"out of maintenance after {took:.2f} s")
    fresh = watched.require_sound()
    if run.code == 0:
        assert fresh, "it said that all is well, and there is no set"
    if run.code != 6 and act not in LASTING and case.step not in ("close-set", "unlock"):
        # It ended in good order: nothing is left for anybody to recover.
        assert world.check(run) == "old"
        assert run.document.get("set") == (fresh[0] if fresh else None)
    world.over = "local"
    backup_again(world, watched, {} if fresh else watched.copied())
    assert world.check(run) == "old"
    world.over = case.over


def test_a_backup_that_is_killed_goes_on_with_the_files_it_had_copied(world: World) -> None:
    world.reset("again")
    watched = watch(world)
    spec = world.spec(step="window", side="after", act="kill")
    run = world.run(spec, *world.words("backup"))
    assert run.code == -9
    copied = watched.copied()
    assert sorted(copied) == [f"neu {number}.pdf" for number in range(6)]
    backup_again(world, watched, copied)
    assert world.check(run) == "old"


# Each does its work for a while, and is then killed or says that it failed. `$real` is the program.
_PROGRAMS = {
    "pg_dump": (
        'case "$*" in *--version*) exec "$real" "$@";; esac\n'
        '"$real" "$@" | head -c 2000\nkill -9 $$',
        "pg_dump",
    ),
    "pg_dump lies": (
        'case "$*" in *--version*) exec "$real" "$@";; esac\n"$real" "$@" | head -c 2000',
        "has no end",
    ),
    "gzip": ('"$real" "$@" | head -c 2000\nkill -9 $$', "gzip|pigz"),
    "sha256sum of the dump": ('[ $# -gt 0 ] || kill -9 $$\nexec "$real" "$@"', "sha256sum"),
    "sha256sum of the files": ('"$real" "$@"\n[ $# -eq 0 ] || kill -9 $$', "checksums of"),
    "rsync": ('"$real" "$@"\nkill -9 $$', "copy into .*failed"),
    "rsync lies": ("cat >/dev/null\nexit 0", "did not arrive, although they are there"),
    "sync": ("echo 'sync: Input/output error' >&2\nexit 1", "Input/output error"),
}
_QUICK = ("pg_dump", "sha256sum of the files", "rsync lies", "sync")


@pytest.mark.parametrize("name", [*_PROGRAMS] if EVERYTHING else _QUICK)
def test_a_program_that_is_killed_or_fails_on_the_host_makes_no_set(
    world: World, name: str
) -> None:
    world.reset("again")
    watched = watch(world)
    text, said = _PROGRAMS[name]
    with instead(world, name.partition(" ")[0], text):
        run = world.run(world.spec(), *world.words("backup"))
    assert run.code == 1, run.err
    assert re.search(said, run.document["error"]["message"]), run.document["error"]
    assert "Traceback" not in run.err
    out_of_maintenance(world, seconds=60)
    assert watched.require_sound() == []
    assert world.check(run) == "old"
    backup_again(world, watched, {})


def test_what_a_step_does_by_threads_is_disturbed_as_its_own(world: World) -> None:
    """Both trees are listed at the same time, and each database is dumped by one of its own."""
    points = world.points("backup", "again")
    for step, word in (("window", " find "), ("dump", "start ")):
        assert any(word in verb for verb in points[step]), points[step]


def test_a_backup_that_fails_behind_its_seal_names_the_good_set(world: World) -> None:
    verbs = world.points("backup", "again")["seal"]
    (call,) = (number for number, verb in enumerate(verbs, 1) if "[ -L latest ]" in verb)
    world.reset("again")
    watched = watch(world)
    spec = world.spec(scope="seal", call=call, side="before", act="fail")
    run = world.run(spec, *world.words("backup"))
    assert run.reached and run.code == 1, run.err
    assert watched.require_sound() == [run.document["set"]]
    assert world.check(run) == "old"


# Asked before the restart and reading after it, or asking after it.
_DUMPS = {
    "in-the-middle": '"$real" "$@" | { head -c 2000; sleep 3; cat; }\nexit "${PIPESTATUS[0]}"',
    "before": 'sleep 3\nexec "$real" "$@"',
}


@pytest.mark.parametrize("crash", [False, True] if EVERYTHING else [False])
@pytest.mark.parametrize("when", _DUMPS if EVERYTHING else ["in-the-middle"])
def test_a_postgresql_that_restarts_while_it_is_dumped_makes_no_set(
    world: World, when: str, crash: bool
) -> None:
    world.reset("again")
    watched = watch(world)
    spec = world.spec(
        scope="dump", call=1, side="during", delay=0.5, act="restart", crash=crash, of="prod"
    )
    text = f'case "$*" in *--version*) exec "$real" "$@";; esac\n{_DUMPS[when]}'
    with instead(world, "pg_dump", text):
        run = world.run(spec, *world.words("backup"))
    assert run.reached
    assert run.code == 1, run.err
    assert "dumping database" in run.document["error"]["message"]
    out_of_maintenance(world, seconds=60)
    assert watched.require_sound() == []
    assert world.check(run) == "old"
    backup_again(world, watched, watched.copied())


@pytest.mark.parametrize(("program", "step"), program_cases())
def test_a_program_that_is_killed_in_any_step_makes_no_set(
    world: World, program: str, step: str
) -> None:
    world.reset("again")
    watched = watch(world)
    spec = world.spec()
    text = killed_in(world, step)
    late = world.prod.datadir / "spaet.pdf"
    with instead(world, program, after_the_copy(world, text) if step == "window" else text):
        run = world.run(spec, *world.words("backup"))
    killed = (world.folder / "fault/steps/killed").exists()
    assert killed or step not in ("copy-files", "window") or program != "rsync"
    assert killed or step != "dump" or program != "pg_dump"
    assert run.code == (1 if killed else 0), run.err
    out_of_maintenance(world, seconds=60)
    assert bool(watched.require_sound()) != killed
    late.unlink(missing_ok=True)
    assert world.check(run) == "old"
    backup_again(world, watched, watched.copied() if killed else {})


# What says that there is no room: the system, what looks at the dump, the look before a run.
_FULL = "No space left on device|is the disk full|has .* free; .* needs "


@pytest.mark.parametrize(("step", "left"), full_cases())
def test_a_disk_that_gets_full_before_any_step_is_named_and_makes_no_set(
    world: World, step: str, left: int
) -> None:
    world.reset("again")
    late = world.prod.datadir / "spaet.pdf"
    with small_disk(world) as store:
        filler = store.parent / "filler"
        watched = Watched(world, "backup", store, {})
        spec = world.spec(
            step=step, side="before", act="full", fill=str(filler), leave=left, of="prod"
        )
        with instead(world, "rsync", after_the_copy(world)):
            run = world.run(spec, *world.words("backup"))
        assert run.reached
        out_of_maintenance(world, seconds=60)
        filler.unlink(missing_ok=True)  # to look at a set takes a little room as well
        fresh = watched.require_sound()
        late.unlink(missing_ok=True)
        if step in ("close-set", "unlock") or (left == PLENTY and run.code == 0):
            assert run.code == 0 and fresh, run.err
        else:
            assert run.code in (1, 3) and not fresh, run.err
            said = run.document["error"]["message"]
            assert re.search(_FULL, said), said
            assert str(store.parent) in said, said  # the store, or its filesystem
        backup_again(world, watched, {} if fresh else watched.copied())
        assert world.check(run) == "old"


# The first verb at which production is in maintenance.
_IN_THE_WINDOW = {"scope": "window (in maintenance)", "call": 1, "of": "prod"}


def test_a_maintenance_whose_guard_is_killed_as_well_is_ended_by_recover(world: World) -> None:
    """As after a reboot: what was switched on is written down on the host."""
    world.reset("again")
    watched = watch(world)
    spec = world.spec(**_IN_THE_WINDOW, act="pause", side="after")
    Path(spec["resume"]).write_text("wait", "utf-8")
    child = world.start(spec, *world.words("backup"))
    _await(Path(spec["reached"]), child)
    assert (world.prod.datadir / "maintenance.on").exists()
    assert not world.queues[0].exists()
    guards = processes(world, b"# the guard of a maintenance")
    assert guards
    for pid in [*guards, child.pid]:
        os.kill(pid, signal.SIGKILL)
    run = world.finish(child, spec)
    time.sleep(1)
    assert (world.prod.datadir / "maintenance.on").exists()
    again = world.recover()
    assert again.code == 0, again.err
    assert out_of_maintenance(world, seconds=1) < 1
    assert world.check(run) == "old"
    backup_again(world, watched, watched.copied())


@pytest.mark.whole  # waits for a silent link
def test_a_silent_link_ends_the_maintenance_within_a_minute(world: World) -> None:
    world.reset("again")
    watched = watch(world)
    world.over = "ssh"
    spec = world.spec(**_IN_THE_WINDOW, act="silent", side="after", cut=("prod",))
    child = world.start(spec, *world.words("backup"))
    _await(Path(spec["reached"]), child)
    took = out_of_maintenance(world, seconds=60)
    print(f"out of maintenance after {took:.0f} s")
    run = world.finish(child, spec, seconds=180)
    assert run.code in (1, 6), run.err
    assert watched.require_sound() == []


@pytest.mark.whole  # waits for a slow rsync
def test_an_rsync_that_outlives_its_killed_run_cannot_change_the_next_set(world: World) -> None:
    """The death of a run need not end what it started on the host: it may go on to write into the
    files that the next run goes on with."""
    world.reset("again")
    watched = watch(world)
    world.over = "ssh"
    spec = world.spec()
    with instead(world, "rsync", 'trap "" PIPE HUP\n"$real" --bwlimit=1 "$@" 2>/dev/null'):
        child = world.start(spec, *world.words("backup"))
        _await_copying(world, child)
        os.kill(child.pid, signal.SIGKILL)
        run = world.finish(child, spec)
    world.over = "local"
    again = world.run(world.spec(), *world.words("backup"))
    assert again.code == 0, again.err
    alive = processes(world, b"--bwlimit=1")
    assert alive, "it ended too early to show anything"
    watched.require_sound(settled=True)
    until = time.monotonic() + 60
    while processes(world, b"--bwlimit=1"):
        assert time.monotonic() < until
        time.sleep(0.1)
    watched.require_sound(settled=True)
    assert world.check(run) == "old"


def _await_copying(world: World, child: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not [*(world.store / "sets").glob(".partial-*/data/.neu*")]:
        assert child.poll() is None, f"it never copied: {world._said(child)}"
        assert time.monotonic() < until
        time.sleep(0.01)


def _await(path: Path, child: subprocess.Popen[str], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert child.poll() is None, "the run never came there"
        assert time.monotonic() < until
        time.sleep(0.02)
