"""What a holder on a host says and when it ends, tried in seconds. Locks, cut links and killed
controllers are in test_lifetime.py."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.host import lease
from biso_tasks.host.command import Command, script
from biso_tasks.host.lease import Held, hold
from biso_tasks.host.local import LocalHost
from biso_tasks.host.process import TAIL_LIMIT
from biso_tasks.host.protocol import CommandFailed, HostError


@pytest.fixture
def local() -> Iterator[LocalHost]:
    host = LocalHost("here")
    yield host
    host.close()


def started(text: str, *, address: str = "ssh.example") -> Held:
    """A process that stands for the ssh to a host far away: of it only the end and what it said
    are known."""
    far: Any = SimpleNamespace(name="far", address=address, login="biso")
    child = subprocess.Popen(
        ["bash", "-c", text], start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return Held(far, Command(("holder",)), child)


def test_lines_are_given_by_number_as_they_come(local: LocalHost) -> None:
    with hold(local, script("echo one; sleep 0.3; echo two; printf three; read -r _; cat")) as held:
        assert held.line() == "one"
        assert held.line(number=1) == "two"
        assert held.line() == "one"
        assert held.alive and held.code is None
        assert held.output == "one\ntwo\nthree" or held.output == "one\ntwo\n"


def test_a_line_that_never_came_is_empty_once_it_has_ended(local: LocalHost) -> None:
    with hold(local, script("echo one; printf half; exit 4")) as held:
        assert held.line(number=1) == "half"
        assert held.line(number=2) == ""
        assert held.line(number=7) == ""
        assert held.wait(5) == 4 and held.code == 4 and not held.alive


def test_a_line_is_waited_for_until_the_timeout_and_not_longer(local: LocalHost) -> None:
    with hold(local, script("echo one; cat >&2")) as held:
        assert held.line() == "one"
        began = time.monotonic()
        with pytest.raises(HostError, match=r"here: `.*` said nothing in 0\.4 s") as caught:
            held.line(timeout=0.4, number=1)
        assert 0.35 < time.monotonic() - began < 3
        assert "run the task again" in str(caught.value.hint)
        assert held.alive, "whoever holds it decides what that means"


def test_a_holder_that_prints_for_ever_fills_no_memory(local: LocalHost) -> None:
    endless = "echo one; head -c 20000000 /dev/zero; echo done >&2; cat"
    with hold(local, script(endless)) as held:
        assert held.line() == "one"
        assert held.wait(1) is None
        assert TAIL_LIMIT <= len(held.output) < TAIL_LIMIT + 8192
        assert "done" in held._err.text(), "and it is read on: nothing waits for us"
    with hold(local, script("for i in {1..60000}; do echo $i; done; cat")) as held:
        assert held.line(number=9) == "10"
        assert held.wait(1) is None
        assert TAIL_LIMIT <= len(held.output) < TAIL_LIMIT + 10


def test_what_it_is_told_arrives_between_heartbeats(
    local: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    text = 'while IFS= read -r line; do [ -z "$line" ] && echo beat || echo "told $line"; done'
    with hold(local, script(text)) as held:
        assert held.line() == "beat"
        assert held.line(number=3) == "beat"
        held.tell("release ä")
        end = time.monotonic() + 5
        while "told release ä\n" not in held.output and time.monotonic() < end:
            time.sleep(0.02)
        assert held.output.count("told") == 1


def test_telling_one_that_has_ended_is_no_error(local: LocalHost) -> None:
    with hold(local, script("exit 3")) as held:
        assert held.wait(5) == 3
        held.tell("release")
        assert not held.alive


def test_a_heartbeat_comes_at_once_and_then_every_so_often(
    local: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.4)
    with hold(local, script("while read -r -t 2 _; do date +%s%N; done")) as held:
        times = [int(held.line(number=number)) / 1e9 for number in range(4)]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert all(0.2 < gap < 1.5 for gap in gaps), gaps


def test_closing_ends_it_in_order_and_again_is_nothing(local: LocalHost, tmp_path: Path) -> None:
    done = tmp_path / "done"
    held = hold(local, script('echo on; while read -r -t 60 _; do :; done; echo > "$1"', str(done)))
    assert held.line() == "on"
    held.close()
    assert done.exists() and held.code == 0
    held.close()


def test_one_that_does_not_listen_is_stopped(
    local: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(local, script("trap '' HUP; echo on; sleep 60 & wait"))
    assert held.line() == "on"
    waited: list[float] = []
    child, wait = held._child, held._child.wait
    monkeypatch.setattr(child, "wait", lambda seconds=None: waited.append(seconds) or wait(0.1))
    held.close()
    assert waited[0] == 5
    assert not held.alive


def test_a_link_that_breaks_is_the_link_s_failure() -> None:
    with started("echo 'Connection to ssh.example closed by remote host.' >&2; exit 255") as held:
        assert held.wait(5) == 255
        assert isinstance(held.failure(), HostError)
        assert not isinstance(held.failure(), CommandFailed)
    with started("exit 255") as held:
        held.wait(5)
        assert "ended without an exit code" in held.failure().message
    with started("echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255") as held:
        held.wait(5)
        assert "far" in held.failure().message


def test_what_fails_by_itself_is_quoted_with_its_code() -> None:
    with started("echo 'no space left' >&2; exit 3") as held:
        held.wait(5)
        failure = held.failure()
        assert isinstance(failure, CommandFailed)
        assert failure.result.code == 3 and "no space left" in failure.message
    # 255 of a program on this very machine is its own.
    with started("echo odd >&2; exit 255", address="") as held:
        held.wait(5)
        failure = held.failure()
        assert isinstance(failure, CommandFailed) and failure.result.code == 255
    with started("sleep 0.5", address="") as held:
        failure = held.failure()
        assert isinstance(failure, CommandFailed) and failure.result.code == -1
