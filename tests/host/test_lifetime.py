"""Leases and tunnels: they work, they end with us, and nothing of ours stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.host import Host, HostError, Leg, command, hold, pipe, script
from biso_tasks.values import Dsn, Secret

pytestmark = pytest.mark.real

LOCK = """
exec 9>>"$1"
flock -n 9 || { cat "$2"; exit 75; }
echo "held by $3" >"$2"
cat "$2"
while read -r -t 60 _; do :; done
"""


def lock(folder: Path, who: str) -> Any:
    return script(LOCK, str(folder / "lock"), str(folder / "record"), who)


def test_a_lease_holds_a_lock_until_it_is_closed(host: Host, tmp_path: Path) -> None:
    with hold(host, lock(tmp_path, "me")) as held:
        assert held.line() == "held by me"
        assert held.alive
        with hold(host, lock(tmp_path, "you")) as second:
            assert second.line() == "held by me"
            assert second.wait(5) == 75
            assert not second.alive
    assert not held.alive
    with hold(host, lock(tmp_path, "you")) as third:
        assert third.line() == "held by you"


def test_a_holder_that_fails_says_why(host: Host) -> None:
    with hold(host, script("echo broken >&2; exit 3")) as held:
        assert held.line() == ""
        assert held.wait(5) == 3
        assert "broken" in str(held.failure())


def test_a_holder_that_says_nothing_is_not_waited_for_for_ever(local: Host) -> None:
    with (
        hold(local, script("sleep 30")) as held,
        pytest.raises(HostError, match=r"said nothing in 0\.3 s"),
    ):
        held.line(timeout=0.3)


def test_a_lease_whose_link_is_cut_is_no_longer_alive(
    start_sshd: Any, connect_to: Any, tmp_path: Path
) -> None:
    server = start_sshd()
    with hold(connect_to(server), lock(tmp_path, "me")) as held:
        held.line()
        server.cut()
        assert held.wait(10) == 255
        assert isinstance(held.failure(), HostError)
    with hold(connect_to(server), lock(tmp_path, "you")) as second:
        assert second.line() == "held by you"


def test_a_lease_runs_out_when_no_heartbeat_comes(tmp_path: Path, local: Host) -> None:
    silent = LOCK.replace("-t 60", "-t 1")  # shorter than the 5 s between heartbeats
    text = script(silent, str(tmp_path / "lock"), str(tmp_path / "record"), "me")
    with hold(local, text) as held:
        held.line()
        assert held.wait(4) is not None


@pytest.fixture
def echo_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


@pytest.fixture
def echo_socket(tmp_path: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5433"))
        server.listen()
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield str(tmp_path)


def serve(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            with client:
                while data := client.recv(65536):
                    client.sendall(data)


def asked(folder: str, port: int) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(f"{folder}/.s.PGSQL.{port}")
        client.sendall(b"hello")
        return client.recv(100)


def test_a_tunnel_reaches_a_tcp_port_through_a_private_socket(
    remote: Host, echo_server: int
) -> None:
    for name in ("127.0.0.1", "localhost"):
        with remote.tunnel(name, echo_server) as end:
            assert end.port == echo_server
            assert Path(end.host).stat().st_mode & 0o777 == 0o700
            assert asked(end.host, end.port) == b"hello"
    remote.close()
    assert not Path(end.host).exists()


def test_a_tunnel_is_shared_and_comes_back_with_the_connection(
    remote: Host, echo_server: int
) -> None:
    with remote.tunnel("127.0.0.1", echo_server) as one:
        pass
    with remote.tunnel("127.0.0.1", echo_server) as two:
        assert one == two
    remote.close()
    with remote.tunnel("127.0.0.1", echo_server) as three:
        assert asked(three.host, three.port) == b"hello"


def test_a_tunnel_reaches_a_socket_and_several_work_at_once(
    remote: Host, echo_socket: str, echo_server: int
) -> None:
    with (
        remote.tunnel(echo_socket, 5433) as one,
        remote.tunnel("127.0.0.1", echo_server) as two,
        remote.tunnel(echo_socket, 5433) as three,
    ):
        for end in (one, two, three):
            assert asked(end.host, end.port) == b"hello"


def test_a_tunnel_goes_through_a_jump_host(
    sshd: Any, sshd_two: Any, connect_to: Any, echo_server: int
) -> None:
    hop = f"Host hop\n  HostName 127.0.0.1\n  Port {sshd_two.port}\n"
    hop += f"  IdentityFile {sshd_two.client_key}\n"
    known = sshd.line + sshd_two.line
    host = connect_to(sshd, known=known, before=hop, extra="  ProxyJump hop")
    with host.tunnel("127.0.0.1", echo_server) as end:
        assert asked(end.host, end.port) == b"hello"


def test_a_tunnel_to_nothing_fails_before_it_is_used(remote: Host, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for place in ("127.0.0.1", str(tmp_path)):
        with (
            pytest.raises(HostError, match="cannot be reached there") as failure,
            remote.tunnel(place, port),
        ):
            pass
        assert "config.php" in failure.value.hint


def test_a_server_that_forbids_forwarding_is_said_so(
    start_sshd: Any, connect_to: Any, echo_server: int
) -> None:
    host = connect_to(start_sshd(extra="AllowTcpForwarding no"))
    server = Server(host, Dsn("127.0.0.1", echo_server, "biso", "biso", Secret("x")))
    with pytest.raises(HostError, match="does not forward") as failure, connect(server):
        pass
    assert "AllowTcpForwarding" in failure.value.hint


def test_a_tunnel_that_carries_or_leads_nowhere_any_more_is_not_blamed(remote: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        remote.require_forwarding("127.0.0.1", port)
    remote.require_forwarding("127.0.0.1", port)


def test_a_tunnel_over_a_cut_link_ends_its_connections(
    start_sshd: Any, connect_to: Any, echo_server: int
) -> None:
    server = start_sshd()
    host = connect_to(server)
    with host.tunnel("127.0.0.1", echo_server) as end, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(15)
        client.connect(f"{end.host}/.s.PGSQL.{end.port}")
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.cut()
        assert client.recv(1) == b""


def test_a_local_tunnel_is_the_same_place(local: Host) -> None:
    with local.tunnel("/run/postgresql", 5433) as end:
        assert (end.host, end.port) == ("/run/postgresql", 5433)


def test_more_transfers_than_sessions_fall_back_to_connections_of_their_own(
    start_sshd: Any, connect_to: Any
) -> None:
    host = connect_to(start_sshd(extra="MaxSessions 1"))
    children = [
        host.start(
            command("sh", "-c", "sleep 1; echo done"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    assert [child.communicate(timeout=30)[0] for child in children] == [b"done\n"] * 3


CONTROLLER = """
import subprocess, sys, threading
from pathlib import Path
from biso_tasks.host import LocalHost, SshHost, Leg, hold, pipe, script, command
config, known, port, folder = sys.argv[1:]
host = SshHost("prod", "prod", Path(config), Path(known))
host.run(command("true"))
held = hold(host, script('exec 9>>"$1"; flock 9; echo held; while read -r -t 60 _; do :; done',
                         folder + "/lock"))
print(held.line(), flush=True)
tunnel = host.tunnel("127.0.0.1", int(port))
end = tunnel.__enter__()
local = LocalHost("here")
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
host.start(command("sleep", "7777"), **quiet)
local.start(script("sleep 7778 & wait"), **quiet)
threading.Thread(target=lambda: pipe(
    Leg(host, command("cat", "/dev/zero")), Leg(local, script("cat >/dev/null")),
    cancel=threading.Event()), daemon=True).start()
import time; time.sleep(1)
print(Path(host.ssh_words()[2]).parent, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_of_ours_survives_our_own_sudden_end(
    number: int, sshd: Any, connect_to: Any, echo_server: int, tmp_path: Path
) -> None:
    host = connect_to(sshd)
    config, known = host._ssh_config, host._known_hosts
    child = subprocess.Popen(
        [
            *(sys.executable, "-c", textwrap.dedent(CONTROLLER)),
            *(str(config), str(known), str(echo_server), str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"held\n"
        directory = child.stdout.readline().decode().strip()
    assert directory.startswith("/")
    mine = matching(directory, "sleep\0007778")
    assert len(mine) >= 4  # master, lease, sleep, pipe, the local one
    os.kill(child.pid, number)
    child.wait()
    until = time.monotonic() + 10
    while matching(directory, "sleep\0007778") and time.monotonic() < until:
        time.sleep(0.1)
    assert matching(directory, "sleep\0007778") == {}
    assert not Path(directory).exists()
    with hold(host, lock(tmp_path, "next")) as held:  # and the lock on the host is free
        assert held.line() == "held by next"


GUARDED = """
import subprocess, sys, time
from biso_tasks.host.process import Lifeline
line = Lifeline(grace=int(sys.argv[1]))
line.start(
    ("sh", "-c", "trap 'sleep 2; touch \\"$0\\"; exit' TERM; echo up; while :; do sleep 0.1; done",
     sys.argv[2]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None).stdout.readline()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("grace", [1, 30])
def test_what_a_killed_program_had_started_has_its_grace_to_clean_up(
    grace: int, tmp_path: Path
) -> None:
    done = tmp_path / "cleaned up"
    with subprocess.Popen(
        [sys.executable, "-c", GUARDED, str(grace), str(done)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"held\n"
        parent.kill()
    began = time.monotonic()
    while matching(str(done)) and time.monotonic() - began < 20:
        time.sleep(0.1)
    assert matching(str(done)) == {}, "and nobody waits out a grace that nobody needs"
    assert done.exists() == (grace > 2)


def matching(*needles: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                if any(needle in line for needle in needles):
                    found[int(entry.name)] = line
    return found


def test_closing_a_host_ends_what_it_started(host: Host) -> None:
    child = host.start(
        script("sleep 60 & wait"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    host.close()
    assert child.poll() is not None


def test_a_plain_ssh_process_outlives_a_killed_parent(remote: Any) -> None:
    """The trap that the lifeline defends against."""
    remote.run(command("true"))
    code = "import subprocess,sys,time; p=subprocess.Popen(sys.argv[1:], stdin=-3); "
    code += "print(p.pid, flush=True); time.sleep(60)"
    words = (*remote.ssh_words(), "sleep 60")
    parent = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    time.sleep(0.5)
    assert Path(f"/proc/{pid}").exists()
    os.kill(pid, signal.SIGTERM)


def test_parallel_pipes_of_one_host_do_not_disturb_each_other(remote: Host, local: Host) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            pipe(
                Leg(remote, command("head", "-c", "5000000", "/dev/zero")),
                Leg(local, script("test $(wc -c) = 5000000")),
                cancel=threading.Event(),
            )
        except HostError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
