"""Daemons: they outlive their starter, and only the very process that was started is ended."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from biso_tasks.demo.process import (
    DemoError,
    Running,
    daemon,
    descendants,
    end,
    find_owner,
    is_alive,
    run,
)

pytestmark = pytest.mark.real


def test_a_daemon_has_a_session_of_its_own_and_writes_to_its_log(tmp_path):
    log = tmp_path / "log"
    process = daemon(["/bin/sh", "-c", "echo out; echo err >&2; sleep 60"], log=log)
    try:
        assert is_alive(process)
        assert os.getsid(process.pid) != os.getsid(0)
        while len(log.read_text().split()) < 2:
            assert is_alive(process)
    finally:
        end(process)
    assert not is_alive(process)
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_a_process_that_got_the_id_of_an_ended_one_is_left_alone():
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            stranger = Running(other.pid, "began at another time")
            assert not is_alive(stranger)
            end(stranger)
            assert other.poll() is None
        finally:
            other.kill()


def test_a_process_that_ignores_the_first_signal_gets_the_next(tmp_path):
    process = daemon(
        ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], log=tmp_path / "l"
    )
    end(process, ladder=((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)))
    assert not is_alive(process)


def test_descendants_are_found_below_their_parents(tmp_path):
    process = daemon(["/bin/sh", "-c", "(sleep 61; :) & (sleep 62; :) & wait"], log=tmp_path / "l")
    try:
        while len(descendants(process)) < 4:
            assert is_alive(process)
    finally:
        below = descendants(process)
        end(process)
        for one in below:
            end(one)
    assert not any(is_alive(one) for one in below)


def test_a_failing_program_is_an_error_with_its_last_words():
    with pytest.raises(DemoError, match=r"sh ended with code 3: .*last words"):
        run(["/bin/sh", "-c", "echo first; echo last words >&2; exit 3"])


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(DemoError, match="could not be started"):
        run(["/nowhere/program"])


def test_a_server_runs_as_another_user_only_where_we_are_root():
    owner = find_owner("no-such-user-here", "nobody")
    assert (owner is not None) == (os.geteuid() == 0)
    if owner is not None:
        code = "import os; print(os.getuid(), os.getgroups())"
        done = run(["/usr/bin/env", "python3", "-c", code], owner=owner, check=False)
        if done.returncode == 0:
            assert done.stdout.decode().strip() == f"{owner.uid} []"
