"""The maintenance lease: on for as long as it is held, off without us, and as it was before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.config.model import Services
from biso_tasks.demo import php
from biso_tasks.errors import Locked, NeedsPerson, Refused, StepFailed
from biso_tasks.host import lease
from biso_tasks.instance.busy import busy_files
from biso_tasks.instance.maintenance import Patience, leased, mend

pytestmark = pytest.mark.real

OWNER = {"run": "20260301_141502-backup-1a2b", "who": "anna@laptop", "since": "2026-03-01"}
SOON = Patience(pause=0.02, longest_pause=0.05, give_up=20, answer=10)
HERE = Path(__file__).parent


def lent(place: Any, longest: float = 60, patience: Patience = SOON, **more: Any) -> Any:
    return leased(place.instance, OWNER, longest=longest, patience=patience, **more)


def until(true: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def clean(place: Any) -> bool:
    """Out of maintenance, and nothing of ours is left."""
    return not place.flag.exists() and list(place.record.parent.iterdir()) == []


def guard_of(window: Any) -> int:
    """The guard's process on this machine: the child of the `setsid` that waits for it."""
    pid = window._held._child.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


@pytest.fixture(params=["place", pytest.param("far", marks=pytest.mark.needs("sshd", "ssh"))])
def either(request: pytest.FixtureRequest) -> Any:
    """The same promises hold on this machine and behind SSH."""
    return request.getfixturevalue(request.param)


# -- on and off --


def test_maintenance_is_on_in_the_block_and_off_after_it(either: Any) -> None:
    with lent(either) as window:
        assert either.flag.exists()
        assert window.alive and not window.was_on
    assert clean(either)
    assert not window.alive
    assert either.calls() == ["on", "off"]


def test_the_record_is_written_before_anything_is_switched(place: Any) -> None:
    place.up("queue")
    with lent(place, hold=["queue"]):
        pass
    record = json.loads((place.webroot / "seen").read_text())
    assert record["run"] == OWNER["run"]
    assert record["was_on"] is False
    assert record["services"] == ["queue"]
    assert abs(record["deadline"] - time.time() - 60) < 30


def test_the_seconds_are_those_between_on_and_off(place: Any) -> None:
    with lent(place) as window:
        time.sleep(0.3)
        seconds = window.close()
        assert not place.flag.exists()
        time.sleep(0.5)
        assert window.close() == seconds
    assert 0.3 <= seconds == window.seconds < 5


def test_a_site_that_was_in_maintenance_stays_so(place: Any) -> None:
    place.flag.touch()
    with lent(place) as window:
        assert window.was_on
    assert place.flag.exists()
    assert place.calls() == []
    assert not place.record.exists()


def test_a_failure_in_the_block_ends_maintenance_and_is_what_is_raised(place: Any) -> None:
    with pytest.raises(ZeroDivisionError), lent(place):
        raise ZeroDivisionError
    assert clean(place)


def test_a_failure_in_the_block_counts_more_than_a_lease_that_lapsed(place: Any) -> None:
    def fail() -> None:
        place.flag.unlink()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), lent(place):
        fail()


def test_a_site_that_stays_in_maintenance_counts_more_than_a_failure_in_the_block(
    place: Any,
) -> None:
    place.set("fails", "x" * 30)
    with pytest.raises(NeedsPerson) as failure, lent(place, patience=replace(SOON, answer=0.3)):
        raise ZeroDivisionError
    assert isinstance(failure.value.__context__, ZeroDivisionError)
    place.set("fails", "")


def test_a_biso_cli_that_ends_well_and_does_nothing_is_an_error(place: Any) -> None:
    place.set("lies", "on")
    with pytest.raises(StepFailed, match=r"there is no .*maintenance\.on"), lent(place):
        pass
    assert clean(place)


def test_a_biso_cli_that_fails_is_quoted_and_the_services_run_again(place: Any) -> None:
    place.set("refuses")
    place.up("queue")
    with pytest.raises(StepFailed, match="Kein Speicherplatz"), lent(place, hold=["queue"]):
        pass
    assert until(lambda: clean(place))
    assert place.running() == {"queue"}


def test_an_off_that_fails_is_tried_again(either: Any) -> None:
    with lent(either):
        either.set("fails", "xx")
    assert clean(either)
    assert either.calls() == ["on", "off", "off", "off"]


def test_an_off_that_goes_on_failing_needs_a_person_and_the_guard_goes_on(place: Any) -> None:
    place.set("fails", "x" * 30)
    soon = replace(SOON, answer=0.3)
    with pytest.raises(NeedsPerson, match="Datenbank: weg"), lent(place, patience=soon):
        pass
    place.set("fails", "")
    assert until(lambda: clean(place))


def test_an_off_that_lies_is_no_off(place: Any) -> None:
    with lent(place, patience=replace(SOON, answer=0.3)) as window:
        place.set("lies", "off")
        with pytest.raises(NeedsPerson, match="still there"):
            window.close()
        (place.webroot / "lies").unlink()
    assert until(lambda: clean(place))


def test_an_off_that_hangs_is_stopped_and_tried_again(place: Any) -> None:
    with lent(place, patience=replace(SOON, program=1)):
        place.set("hangs")
    assert clean(place)
    assert place.calls() == ["on", "off", "off"]


def test_maintenance_that_somebody_else_ends_is_told(place: Any) -> None:
    with pytest.raises(StepFailed, match="somebody else"), lent(place):
        place.flag.unlink()
    assert clean(place)


@pytest.mark.needs("root", "sudo")
def test_a_site_of_another_user_is_reached_through_sudo(foreign: Any) -> None:
    foreign.up("queue")
    with lent(foreign, hold=["queue"]) as window:
        assert foreign.flag.owner() == foreign.record.owner() == "nobody"
        assert "alive" in mend(foreign.instance)[0]
        assert window.close() > 0
    assert clean(foreign)
    assert foreign.running() == {"queue"}


DOCKER = r"""#!/bin/bash
echo "$*" >>"$3/docker"
[ /proc/self/fd/0 -ef /dev/null ] || { echo 'I read what is not mine' >&2; exit 1; }
case "$4 $5" in
  'ps --services') printf '%s\n' web83 queue ;;
  'exec -T') cd "$7" && shift 8 && exec "$@" ;;
  'stop queue' | 'start queue') ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"""


def test_in_a_container_biso_cli_and_services_go_through_docker(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    services = Services(kind="compose", directory=str(tmp_path), web="web83", database="db")
    environment = replace(place.instance.environment, services=services)
    app = replace(place.instance.app, environment=environment)
    instance = replace(place.instance, environment=environment, app=app)
    with leased(instance, OWNER, longest=60, hold=["queue", "cron"], patience=SOON) as window:
        assert place.flag.exists() and window.services == ("queue",)
    assert clean(place)
    said = [line.split(" ", 3)[3] for line in (tmp_path / "docker").read_text().splitlines()]
    moves = [line for line in said if not line.startswith("ps ")]
    inside = f"exec -T -w {place.webroot} web83 bash biso-cli maintenance"
    assert moves == ["stop queue", f"{inside} on", f"{inside} off", "start queue"]


# -- the ends without us --


def test_maintenance_ends_at_its_limit_and_the_window_says_so(either: Any) -> None:
    with lent(either, longest=0.8) as window:
        assert window.alive
        assert until(lambda: not either.flag.exists())
        assert until(lambda: not window.alive)
        time.sleep(0.3)
        with pytest.raises(StepFailed, match=r"limit of 0\.8 s"):
            window.close()
    assert 0.8 <= window.seconds < 5
    assert clean(either)


def test_maintenance_ends_when_nothing_is_heard(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 600.0)
    with lent(place, patience=replace(SOON, silence=1.0)) as window:
        assert until(lambda: not place.flag.exists())
        assert until(lambda: not window.alive)
        with pytest.raises(StepFailed, match="silent"):
            window.close()
    assert clean(place)


def test_heartbeats_keep_it_alive(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    with lent(place, patience=replace(SOON, silence=1.0)) as window:
        time.sleep(1.5)
        assert window.alive and place.flag.exists()


def test_a_machine_that_stood_still_is_not_taken_for_a_silent_link(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    with lent(place, patience=replace(SOON, silence=1.0)) as window:
        os.kill(guard_of(window), signal.SIGSTOP)
        time.sleep(1.3)
        os.kill(guard_of(window), signal.SIGCONT)
        time.sleep(0.2)
        assert window.alive and place.flag.exists()


@pytest.mark.needs("sshd", "ssh")
@pytest.mark.parametrize("end", ["client", "server"])
def test_a_link_that_is_cut_ends_maintenance_and_services_run_again(
    far: Any, server: Any, end: str
) -> None:
    far.up("queue")
    far.set("fails", "xx")  # and that after the session is gone
    with lent(far, hold=["queue"]) as window:
        if end == "client":
            os.kill(window._held._child.pid, signal.SIGKILL)
        else:
            server.end_sessions()
        assert until(lambda: not far.flag.exists())
        assert until(lambda: not window.alive)
        with pytest.raises(StepFailed, match=r"lost|ended"):
            window.close()
    assert until(lambda: clean(far))
    assert far.running() == {"queue"}


CONTROLLER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import build
from biso_tasks.host import LocalHost, SshHost
from biso_tasks.instance.maintenance import Patience, leased
root, config = Path(sys.argv[2]), sys.argv[3:]
host = SshHost("prod", "prod", *map(Path, config)) if config else LocalHost("prod")
place = build(root, host)
with leased(place.instance, {"run": "r", "who": "w"}, longest=60, hold=["queue"],
            patience=Patience(pause=0.5, give_up=20)):
    print("on", flush=True)
    time.sleep(600)
"""


def controller(place: Any, *config: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", CONTROLLER, str(HERE), str(place.root), *config]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=HERE.parent.parent)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"on\n"
    return child


@pytest.mark.parametrize(
    "where", ["here", pytest.param("ssh", marks=pytest.mark.needs("sshd", "ssh"))]
)
def test_a_controller_that_is_killed_leaves_no_maintenance_behind(
    place: Any, where: str, request: pytest.FixtureRequest
) -> None:
    config: list[str] = []
    if where == "ssh":
        folder = request.getfixturevalue("server").folder
        config = [str(folder / "config"), str(folder / "known_hosts")]
    place.up("queue")
    place.set("fails", "xx")  # longer than what ends the controller's processes waits
    child = controller(place, *config)
    assert place.flag.exists() and place.running() == set()
    child.kill()
    child.wait()
    assert until(lambda: clean(place))
    assert until(lambda: place.running() == {"queue"})
    assert place.calls() == ["on", "off", "off", "off"]


def test_a_host_that_shuts_down_ends_maintenance_first(place: Any) -> None:
    with lent(place) as window:
        os.kill(guard_of(window), signal.SIGHUP)
        os.kill(guard_of(window), signal.SIGTERM)
        window._held.tell("")  # or with the next heartbeat
        assert until(lambda: not place.flag.exists())
        with pytest.raises(StepFailed, match="told to end"):
            window.close()
    assert clean(place)


# -- services that are held --


def test_services_are_held_around_maintenance_and_only_those_that_ran(place: Any) -> None:
    place.up("cron", "queue")
    with lent(place, hold=["cron", "queue", "mailer"]) as window:
        assert place.running() == set()
        assert window.services == ("cron", "queue")
    assert place.running() == {"cron", "queue"}
    assert place.moved() == ["stop cron off", "stop queue off", "start queue off", "start cron off"]


def test_a_service_that_will_not_stop_is_named_and_the_others_run_again(place: Any) -> None:
    place.up("cron", "queue", "mailer")
    (place.services / "stuck-queue").touch()
    with pytest.raises(StepFailed, match="'queue'"), lent(place, hold=["cron", "queue", "mailer"]):
        pass
    assert place.running() == {"cron", "queue", "mailer"}
    assert place.calls() == []
    assert clean(place)


def test_a_service_that_does_not_start_at_once_is_tried_again(place: Any) -> None:
    place.up("queue")
    with lent(place, hold=["queue"]):
        (place.services / "broken-queue").write_text("xx")
    assert place.running() == {"queue"}
    assert clean(place)


def test_a_service_that_does_not_start_needs_a_person_and_the_site_is_served(place: Any) -> None:
    place.up("cron", "queue")
    with lent(place, hold=["cron", "queue"], patience=replace(SOON, answer=2)) as window:
        (place.services / "broken-queue").write_text("x" * 500)
        window.close()
        assert not place.flag.exists()
        with pytest.raises(NeedsPerson, match="queue could not be started"):
            window.settle()
        assert place.running() == {"cron"}
        (place.services / "broken-queue").unlink()
        # before the block's end waits for it once more, on a busy machine too
        assert until(lambda: place.running() == {"cron", "queue"})
    assert until(lambda: clean(place))
    assert place.running() == {"cron", "queue"}


def test_what_the_guard_starts_does_not_keep_its_lock_nor_its_deafness(
    place: Any, tmp_path: Path
) -> None:
    """A daemon that inherits the lock would keep the lease alive; one that inherits ignored
    signals could not be stopped any more."""
    place.up("queue")
    daemon = '\nif [ "$2" = start ]; then sleep 600 & echo $! >daemon; fi\n'
    with (place.services / "ctl").open("a") as ctl:
        ctl.write(daemon)
    with lent(place, hold=["queue"]):
        pass
    pid = int((place.services / "daemon").read_text())
    try:
        ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
        assert int(ignored, 16) & (1 << signal.SIGTERM - 1 | 1 << signal.SIGPIPE - 1) == 0
        open_files = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [name for name in open_files if "maintenance" in name or "pipe" in name]
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("names", [["web83"], ["db"]])
def test_what_maintenance_and_the_dump_need_cannot_be_held(place: Any, names: list[str]) -> None:
    compose = Services(kind="compose", directory="/srv", web="web83", database="db")
    instance = replace(
        place.instance, environment=replace(place.instance.environment, services=compose)
    )
    with pytest.raises(Refused, match="hold"), leased(instance, OWNER, longest=1, hold=names):
        pass


def test_services_cannot_be_held_where_nothing_says_how(place: Any) -> None:
    environment = replace(place.instance.environment, services=Services())
    instance = replace(place.instance, environment=environment)
    block = leased(instance, OWNER, longest=1, hold=["queue"])
    with pytest.raises(Refused, match=r"services\.kind"), block:
        pass


# -- what is left when the guard is gone too --


def left_behind(place: Any, *, was_on: bool, services: tuple[str, ...] = ()) -> None:
    """As a host is found after a reboot in the middle of a window."""
    place.flag.touch()
    place.instance.state.write(
        "maintenance",
        {**OWNER, "was_on": was_on, "services": list(services), "machine": "another boot"},
    )
    (place.record.parent / "maintenance.lock").touch()


def test_mend_has_nothing_to_do_and_asks_once(place: Any) -> None:
    class Counting:
        def __init__(self) -> None:
            self.runs = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(place.instance.host, name)

        def run(self, *words: Any, **more: Any) -> Any:
            self.runs += 1
            return place.instance.host.run(*words, **more)

    host: Any = Counting()
    assert mend(replace(place.instance, host=host)) == ()
    assert host.runs == 1


def test_mend_ends_what_a_reboot_left(place: Any) -> None:
    place.up("cron")
    left_behind(place, was_on=False, services=("cron", "queue"))
    lines = mend(place.instance)
    assert OWNER["run"] in lines[0] and "restarted" in lines[0]
    assert "queue" in lines[1] and len(lines) == 2
    assert clean(place)
    assert place.running() == {"cron", "queue"}
    assert mend(place.instance) == ()


def test_mend_leaves_a_site_in_maintenance_that_was_in_it(place: Any) -> None:
    left_behind(place, was_on=True)
    assert len(mend(place.instance)) == 1
    assert place.flag.exists() and place.calls() == []
    assert not place.record.exists()


def test_mend_leaves_a_live_lease_alone(place: Any) -> None:
    with lent(place) as window:
        (line,) = mend(place.instance)
        assert "alive" in line and OWNER["run"] in line
        assert window.alive and place.flag.exists() and place.record.exists()
    assert place.calls() == ["on", "off"]


def test_mend_needs_a_person_where_off_fails_and_then_goes_on(place: Any) -> None:
    left_behind(place, was_on=False)
    place.set("fails", "x")
    with pytest.raises(NeedsPerson, match="Datenbank: weg") as failure:
        mend(place.instance)
    assert "recover" in failure.value.hint
    assert place.record.exists()
    assert len(mend(place.instance)) == 1
    assert clean(place)


def test_a_guard_that_was_killed_leaves_what_mend_ends(place: Any) -> None:
    with lent(place) as window:
        os.kill(guard_of(window), signal.SIGKILL)
        assert until(lambda: not window.alive)
        with pytest.raises(StepFailed, match="guard of the maintenance was lost"):
            window.close()
    assert place.flag.exists()
    assert until(lambda: "ended" in "".join(mend(place.instance)))
    assert clean(place)


def test_a_lease_mends_first_what_another_left(place: Any) -> None:
    left_behind(place, was_on=False)
    with lent(place) as window:
        assert not window.was_on
        assert OWNER["run"] in window.notes[0]
    assert clean(place)


def test_two_leases_do_not_stand_beside_each_other(place: Any) -> None:
    with lent(place) as window:
        with pytest.raises(Locked), lent(place):
            pass
        assert window.alive and place.flag.exists()
    assert clean(place)


def test_a_host_without_the_programs_is_refused_before_anything(place: Any, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "date", "flock", "timeout"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)

    class Poor:
        def __getattr__(self, name: str) -> Any:
            return getattr(place.instance.host, name)

        def run(self, command: Any, **more: Any) -> Any:
            poor = replace(command, argv=("env", f"PATH={tools}", *command.argv))
            return place.instance.host.run(poor, **more)

    host: Any = Poor()
    block = leased(replace(place.instance, host=host), OWNER, longest=1)
    with pytest.raises(Refused, match="setsid"), block:
        pass
    assert place.calls() == [] and not place.record.exists()


@pytest.mark.needs("php")
def test_the_stand_in_goes_into_maintenance_and_out_again(place: Any, tmp_path: Path) -> None:
    app = Path(php.__file__).parent / "bisoapp" / "webroot"
    shutil.copytree(app, place.webroot, dirs_exist_ok=True)
    (place.webroot / "config.php").write_text(
        "<?php Config::set('env', 'PROD');"
        f"Config::set('datadir', {json.dumps(str(place.flag.parent))});"
        "Config::set('gaia.db', ['host' => '', 'port' => 1, 'dbname' => 'x', 'user' => 'x',"
        " 'password' => '']);"
    )
    program = php.install_php(tmp_path / "lib", tmp_path / "bin")
    environment = replace(place.instance.environment, biso_cli=(str(program), "biso-cli"))
    instance = replace(
        place.instance,
        environment=environment,
        app=replace(place.instance.app, environment=environment),
    )
    with leased(instance, OWNER, longest=60):
        assert place.flag.exists()
    assert clean(place)


# -- files that are still being written --


def test_files_open_for_writing_are_busy_and_logs_are_not(place: Any) -> None:
    datadir = place.flag.parent
    (datadir / "tmp").mkdir()
    for name in ("read.pdf", "fehler.log", "tmp/halb", "brief [1]*.pdf", "weg.pdf"):
        (datadir / name).write_text("x")
    writing = ("brief [1]*.pdf", "neu")
    with _holding(
        datadir, read="read.pdf", append=("fehler.log", "tmp/halb", "weg.pdf"), gone="weg.pdf"
    ):
        assert busy_files(place.instance) == ()
        with _holding(datadir, append=writing):
            found = busy_files(place.instance)
        assert found == tuple(sorted(str(datadir / name) for name in writing))
        assert busy_files(place.instance) == ()


@contextmanager
def _holding(
    folder: Path, *, read: str = "", append: Sequence[str] = (), gone: str = ""
) -> Iterator[None]:
    """Another process has these files open: nobody but root looks into one that holds secrets, as
    this one may have since our program ran in it."""
    code = (
        "import sys; held = [open(one, how) for how, *all in eval(sys.argv[1]) for one in all]\n"
        "print(flush=True); sys.stdin.read()"
    )
    wanted = [["a", *(str(folder / one) for one in append)]]
    wanted += [["r", str(folder / read)]] if read else []
    with subprocess.Popen(
        [sys.executable, "-c", code, repr(wanted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        if gone:
            (folder / gone).unlink()
        yield
        child.communicate()
