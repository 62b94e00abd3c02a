"""A real sshd of the test's own, with keys, an ssh_config and known_hosts files."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from biso_tasks.host import LocalHost, SshHost


def need(program: str, package: str) -> str:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{program} is missing: apt install {package}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_key(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return path


def public(path: Path) -> str:
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@dataclass
class Sshd:
    """One running server. `line` is its known_hosts line."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    host_key: Path
    client_key: Path
    asleep: list[int] = field(default_factory=list)

    @property
    def line(self) -> str:
        return f"[127.0.0.1]:{self.port} {public(self.host_key)}\n"

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def sessions(self) -> list[int]:
        """The processes that sshd has forked for connections, descendants included."""
        if self.process.poll() is not None:
            return []  # its number may be another process's by now
        return descendants(self.process.pid)

    def cut(self) -> None:
        """End every connection, as a router that goes away would; commands are left alone."""
        for pid in self.sessions():
            command = Path(f"/proc/{pid}/cmdline")
            try:
                is_sshd = command.read_bytes().startswith(b"sshd")
            except OSError:
                continue
            if is_sshd:
                os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def silent_after(self, seconds: float) -> Iterator[None]:
        """From then on nothing answers on what is connected by then; new connections do."""

        def stop() -> None:
            sessions = self.sessions()
            for pid in sessions:
                # A session's short-lived helper may have ended since it was listed.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            self.asleep.extend(sessions)

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            yield
        finally:
            timer.join()
            self.wake()

    def wake(self) -> None:
        """What was silent answers again."""
        while self.asleep:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.asleep.pop(), signal.SIGCONT)

    def stop(self) -> None:
        self.cut()
        self.process.terminate()
        self.process.wait()


def descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, wave = [], [root]
    while wave:
        wave = [pid for pid, parent in parents.items() if parent in wave]
        found += wave
    return found


StartSshd = Callable[..., Sshd]


@pytest.fixture(scope="session")
def start_sshd() -> Iterator[StartSshd]:
    program = need("sshd", "openssh-server")
    need("ssh", "openssh-client")
    running: list[Sshd] = []
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def start(*, extra: str = "", kind: str = "ed25519", key: Path | None = None) -> Sshd:
        # not below pytest's own folder, which no other user may enter
        folder = Path(tempfile.mkdtemp(prefix="biso-sshd-"))
        folder.chmod(0o755)
        host_key = key or make_key(folder / "host_key", kind)
        client_key = make_key(folder / "client_key")
        authorized = folder / "authorized_keys"
        authorized.write_text(public(client_key) + "\n")
        authorized.chmod(0o644)
        port = free_port()
        config = folder / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {authorized}\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin yes\n"
            f"MaxStartups 100\nLogLevel VERBOSE\n{extra}\n"
        )
        process = subprocess.Popen(
            [program, "-D", "-f", str(config), "-E", str(folder / "sshd.log")],
            stdin=subprocess.DEVNULL,
        )
        server = Sshd(folder, port, process, host_key, client_key)
        running.append(server)
        patience = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return server
            except OSError:
                if process.poll() is not None or time.monotonic() > patience:
                    pytest.fail(f"sshd did not start: {server.log}")
                time.sleep(0.05)

    yield start
    for server in running:
        server.stop()
        shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def sshd(start_sshd: StartSshd) -> Sshd:
    return start_sshd()


@pytest.fixture(scope="session")
def sshd_two(start_sshd: StartSshd) -> Sshd:
    return start_sshd()


Connect = Callable[..., SshHost]


@pytest.fixture
def connect_to(tmp_path: Path) -> Iterator[Connect]:
    """Make an SshHost for a server, with an ssh_config and known_hosts in tmp_path."""
    hosts: list[SshHost] = []

    def make(
        server: Sshd,
        *,
        name: str = "prod",
        user: str | None = None,
        known: str | None = None,
        extra: str = "",
        before: str = "",
    ) -> SshHost:
        folder = tmp_path / f"client {len(hosts)}"  # the space is there on purpose
        folder.mkdir()
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(server.line if known is None else known)
        config = folder / "config"
        config.write_text(
            f"{before}\nHost {name}\n  HostName 127.0.0.1\n  Port {server.port}\n"
            f"  User {user or getpass.getuser()}\n  IdentityFile {server.client_key}\n"
            f"  IdentitiesOnly yes\n{extra}\n"
        )
        host = SshHost(name, name, config, known_hosts)
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def remote(sshd: Sshd, connect_to: Connect) -> SshHost:
    return connect_to(sshd)


@pytest.fixture
def local() -> Iterator[LocalHost]:
    host = LocalHost("here")
    yield host
    host.close()


@pytest.fixture(params=["local", "ssh"])
def host(request: pytest.FixtureRequest) -> LocalHost | SshHost:
    """The same promises hold for both kinds."""
    found: LocalHost | SshHost = request.getfixturevalue(
        "local" if request.param == "local" else "remote"
    )
    return found


@dataclass(frozen=True)
class Account:
    name: str
    home: Path


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An ordinary user with a home directory, who exists as long as the tests run."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a user for this test: run the tests as root")
    need("useradd", "passwd")
    name, home = f"bisohost{os.getpid()}", Path(tempfile.mkdtemp(prefix="biso-home-"))
    words = ["useradd", "-M", "-p", "*", "-s", "/bin/bash", "-d", str(home), name]
    subprocess.run(words, check=True)
    shutil.chown(home, name)
    yield Account(name, home)
    subprocess.run(["userdel", "-f", name], check=False, capture_output=True)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def ordinary_user(request: pytest.FixtureRequest) -> str:
    """A login without any privilege: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    account: Account = request.getfixturevalue("account")
    return account.name
