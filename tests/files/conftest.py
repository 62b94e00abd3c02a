"""Two hosts for the tree tests: two real sshd, two ordinary logins with the short sudo list."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from biso_tasks.files.access import Access
from biso_tasks.host import LocalHost, SshHost

SUDO = ("rsync", "mv", "rm", "mkdir", "chown", "chmod", "install")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):  # it makes two users and a sudoers file
            item.add_marker(pytest.mark.needs("root", "sshd", "ssh", "rsync", "sudo"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Machine:
    login: str
    home: Path
    port: int
    host: SshHost

    def access(self, *, user: str | None = None, root: bool = False) -> Access:
        return Access(self.host, user, root)


@dataclass
class Lab:
    prod: Machine
    test: Machine
    root: Path


def _sshd(folder: Path, login: str, client_key: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = _free_port()
    key = folder / f"host_{login}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    authorized = folder / f"authorized_{login}"
    shutil.copy(client_key.with_suffix(".pub"), authorized)
    config = folder / f"sshd_{login}"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {key}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {authorized}\nStrictModes no\nAllowUsers {login}\n"
        "PasswordAuthentication no\nMaxStartups 100\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-f", str(config), "-E", str(folder / f"log_{login}")]
    )
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.05)
    return process, port


def _remove_user(login: str) -> None:
    """userdel refuses while a process runs as the user, such as the rest of an sshd session."""
    try:
        number = pwd.getpwnam(login).pw_uid
    except KeyError:
        return
    for _ in range(50):
        running = [int(entry.name) for entry in Path("/proc").iterdir() if _is_of(entry, number)]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        done = subprocess.run(["userdel", login], check=False, capture_output=True)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"userdel {login}: {done.stderr!r}")


def _is_of(entry: Path, number: int) -> bool:
    try:
        return entry.name.isdigit() and entry.stat().st_uid == number
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Production and test: logins that may become www-data, and root for a short list."""
    # pytest keeps its own folders at 0700, and the two logins must pass
    root = Path(tempfile.mkdtemp(prefix="biso-lab-"))
    root.chmod(0o755)
    client = root / "client"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", client], check=True)
    suffix = f"{os.getpid() % 100000}"
    logins = [f"bfp{suffix}", f"bft{suffix}"]
    sudoers = Path(f"/etc/sudoers.d/biso-files-{suffix}")
    daemons: list[subprocess.Popen[bytes]] = []
    machines: list[Machine] = []
    try:
        for login in logins:
            home = root / login
            subprocess.run(
                ["useradd", "-M", "-d", str(home), "-s", "/bin/bash", "-p", "*", login], check=True
            )
            home.mkdir(mode=0o755)
            shutil.chown(home, login, login)
        programs = ", ".join(str(shutil.which(name)) for name in SUDO)
        sudoers.write_text(
            "".join(
                f"{login} ALL=(root) NOPASSWD: {programs}\n{login} ALL=(www-data) NOPASSWD: ALL\n"
                for login in logins
            )
        )
        sudoers.chmod(0o440)
        for login in logins:
            daemon, port = _sshd(root, login, client)
            daemons.append(daemon)
            known = root / f"known_{login}"
            public = (root / f"host_{login}.pub").read_text()
            known.write_text(f"[127.0.0.1]:{port} {public}")
            config = root / f"ssh_{login}"
            config.write_text(
                f"Host {login}\n HostName 127.0.0.1\n Port {port}\n User {login}\n"
                f" IdentityFile {client}\n IdentitiesOnly yes\n"
            )
            host = SshHost(login, login, ssh_config=config, known_hosts=known)
            machines.append(Machine(login, root / login, port, host))
        yield Lab(*machines, root=root)
    finally:
        for machine in machines:
            machine.host.close()
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
        sudoers.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        for login in logins:
            _remove_user(login)


@pytest.fixture(scope="session")
def local() -> Iterator[LocalHost]:
    host = LocalHost("here")
    yield host
    host.close()


@pytest.fixture
def here(local: LocalHost) -> Access:
    """This machine, as the user the tests run as."""
    return Access(local)


@pytest.fixture
def places(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    """A folder for each machine, new for each test, that www-data may write into."""
    folders = []
    for machine in (lab.prod, lab.test):
        folder = machine.home / f"t{abs(hash(request.node.nodeid)) % 10**9}"
        folder.mkdir()
        shutil.chown(folder, "www-data", "www-data")
        folders.append(folder)
    yield folders[0], folders[1]
    for folder in folders:
        shutil.rmtree(folder)
