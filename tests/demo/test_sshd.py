"""The demo's SSH servers: two machines to look at, one key, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biso_tasks.demo import sshd
from biso_tasks.demo.process import DemoError, is_alive

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh", "sshd", "rsync")]

ALIASES = ("one", "two")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / 'mit "Zeichen" %h ä'
    yield path
    sshd.remove(path)


def _ssh(folder: Path, alias: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["ssh", "-F", folder / "config", "-o", "BatchMode=yes", alias, *words]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_both_let_us_in_and_look_like_two_machines(folder):
    one, two = sshd.start_servers(folder, ALIASES, path="/opt/demo bin:/usr/bin:/bin")
    assert one.port != two.port
    keys = {line.split()[2] for line in (folder / "known_hosts").read_text().splitlines()}
    assert len(keys) == 2
    for alias in ALIASES:
        done = _ssh(folder, alias, "id -u")
        assert done.stdout.strip() == str(os.geteuid()), done.stderr
    seen = _ssh(folder, "one", "tr '\\0' '\\n' </proc/self/environ; echo; echo $PATH").stdout
    assert "/opt/demo bin:/usr/bin:/bin" in seen


def test_another_host_key_is_refused(folder):
    sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin")
    known = folder / "known_hosts"
    one, two = known.read_text().splitlines()
    swapped = [f"one {' '.join(two.split()[1:])}", f"two {' '.join(one.split()[1:])}"]
    known.write_text("\n".join(swapped) + "\n")
    assert "verification failed" in _ssh(folder, "one", "true").stderr


def test_they_are_found_again_and_come_back_on_their_ports(folder):
    servers = sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin")
    assert sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin") == servers
    keys = (folder / "known_hosts").read_bytes()
    sshd.stop(folder)
    assert not any(is_alive(server.process) for server in servers)
    again = sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin")
    assert [server.port for server in again] == [server.port for server in servers]
    assert (folder / "known_hosts").read_bytes() == keys


def test_a_session_ends_with_its_server(folder):
    (server, _) = sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin")
    with subprocess.Popen(
        ["ssh", "-F", folder / "config", "one", "echo started; sleep 300"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"started\n"
        begun = time.monotonic()
        sshd.stop(folder)
        assert session.wait(timeout=20) != 0
        assert time.monotonic() - begun < 15
    assert not is_alive(server.process)


def test_nothing_is_left_after_removal(folder, holding):
    sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin")
    sshd.remove(folder)
    assert not folder.exists()
    assert holding(folder) == []


def test_a_machine_without_the_programs_is_told_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(sshd, "missing_programs", lambda: ("sshd", "rsync"))
    with pytest.raises(DemoError, match="missing: sshd, rsync") as error:
        sshd.start_servers(folder, ALIASES, path="/usr/bin:/bin")
    assert "apt install" in error.value.hint
    assert not folder.exists()
