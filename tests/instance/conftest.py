"""A site whose biso-cli does what a test tells it to, on this machine or behind a real sshd."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from biso_tasks.config.model import Environment, Services
from biso_tasks.host import Host, LocalHost, SshHost
from biso_tasks.instance.app import App
from biso_tasks.instance.config_php import Facts
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import read_layout
from biso_tasks.values import Dsn, Secret

# `lies` names the verb that ends well and does nothing; `fails` holds so many x as `off` fails,
# `hangs` makes it hang once.
CLI = r"""
echo "$2" >>calls
[ "$(cat lies 2>/dev/null)" != "$2" ] || exit 0
flag=$(cat datadir)/maintenance.on
if [ "$2" = on ]; then
  cp "$(cat stage)/maintenance.json" seen 2>/dev/null || echo nothing >seen
  [ ! -e refuses ] || { echo 'Kein Speicherplatz' >&2; exit 3; }
  touch "$flag"
else
  [ ! -e hangs ] || { rm hangs; sleep 60; }
  left=$(cat fails 2>/dev/null)
  [ -z "$left" ] || { printf %s "${left#x}" >fails; echo 'Datenbank: weg' >&2; exit 1; }
  rm -f "$flag"
fi
"""
SERVICE = r"""
cd "$1"
case $2 in
  stop) rm -f "up-$3"; [ ! -e "stuck-$3" ] || exit 1 ;;
  start)
    left=$(cat "broken-$3" 2>/dev/null)
    [ -z "$left" ] || { printf %s "${left#x}" >"broken-$3"; exit 1; }
    touch "up-$3" ;;
  status) [ -e "up-$3" ]; exit ;;
esac
echo "$2 $3 $([ -e ../data\ dir/maintenance.on ] && echo on || echo off)" >>calls
"""


@dataclass
class Place:
    """`instance` in `root`; services are files `up-NAME` in `services`."""

    root: Path
    instance: Instance

    @property
    def webroot(self) -> Path:
        return self.root / "web root"

    @property
    def flag(self) -> Path:
        return self.root / "data dir" / "maintenance.on"

    @property
    def services(self) -> Path:
        return self.root / "services"

    @property
    def record(self) -> Path:
        return Path(self.instance.layout.stage_dir) / "maintenance.json"

    def calls(self) -> list[str]:
        """What biso-cli was asked."""
        path = self.webroot / "calls"
        return path.read_text().split() if path.exists() else []

    def moved(self) -> list[str]:
        """What happened to services, and how maintenance stood then."""
        path = self.services / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def set(self, name: str, text: str = "") -> None:
        (self.webroot / name).write_text(text)

    def up(self, *names: str) -> None:
        for name in names:
            (self.services / f"up-{name}").touch()

    def running(self) -> set[str]:
        return {path.name.removeprefix("up-") for path in self.services.glob("up-*")}


def build(root: Path, host: Host) -> Place:
    """The site in `root` as `host` sees it; made where it is not there."""
    webroot, datadir, services = root / "web root", root / "data dir", root / "services"
    for folder in (webroot, datadir, services):
        folder.mkdir(parents=True, exist_ok=True)
    words = ("bash", str(services / "ctl"), str(services))
    environment = Environment(
        name="prod",
        role="production",
        webroot=str(webroot),
        biso_cli=("bash", "biso-cli"),
        services=Services(
            kind="command",
            stop=("web",),
            stop_command=(*words, "stop", "{service}"),
            start_command=(*words, "start", "{service}"),
            status_command=(*words, "status", "{service}"),
        ),
    )
    layout = read_layout(host, environment, str(datadir))
    if not (webroot / "biso-cli").exists():
        (webroot / "biso-cli").write_text(CLI)
        (webroot / "datadir").write_text(str(datadir))
        (webroot / "stage").write_text(layout.stage_dir)
        (services / "ctl").write_text(SERVICE)
    dsn = Dsn("127.0.0.1", 5432, "biso", "biso", Secret(""))
    facts = Facts("PROD", str(datadir), dsn, None, "8.2", True, {})
    app = App(host, environment, str(webroot), str(webroot))
    instance = Instance(environment, host, facts, layout, app, ())
    instance.state.prepare()
    return Place(root, instance)


@pytest.fixture
def local() -> Iterator[LocalHost]:
    host = LocalHost("prod")
    yield host
    host.close()


@pytest.fixture
def place(local: LocalHost, tmp_path: Path) -> Place:
    return build(tmp_path / "the 'site' [1]", local)


@pytest.fixture
def far(server: Server, tmp_path: Path) -> Place:
    """The same behind SSH."""
    return build(tmp_path / "the 'site' [1]", server.host())


@dataclass
class Server:
    """A real sshd and the files of a client that knows it."""

    folder: Path
    process: subprocess.Popen[bytes]
    hosts: list[SshHost] = field(default_factory=list)

    def host(self) -> SshHost:
        host = SshHost("prod", "prod", self.folder / "config", self.folder / "known_hosts")
        self.hosts.append(host)
        return host

    def end_sessions(self) -> None:
        """kill -9 for what sshd has forked; the commands of the sessions are left alone."""
        if self.process.poll() is not None:
            return  # its number may be another process's by now
        for pid in descendants(self.process.pid):
            try:
                is_sshd = Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sshd")
            except OSError:
                continue
            if is_sshd:
                os.kill(pid, signal.SIGKILL)


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


@pytest.fixture
def foreign(local: LocalHost) -> Iterator[Place]:
    """A site of another user: all goes through sudo."""
    folder = Path(tempfile.mkdtemp(prefix="biso-site-"))  # pytest's own is closed to others
    folder.chmod(0o755)
    made = build(folder / "site", local)
    shutil.rmtree(made.record.parent)
    for path in [folder, *folder.rglob("*")]:
        shutil.chown(path, "nobody")
    environment = replace(made.instance.environment, run_as="nobody")
    app = replace(made.instance.app, environment=environment)
    instance = replace(made.instance, environment=environment, app=app)
    instance.state.prepare()
    yield Place(made.root, instance)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="biso-sshd-"))
    folder.chmod(0o755)
    for name in ("host_key", "client_key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    shutil.copy(folder / "client_key.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n"
    )
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "config").write_text(
        f"Host prod\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/client_key\n  IdentitiesOnly yes\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program is not None
    process = subprocess.Popen(
        [program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")],
        stdin=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        made = Server(folder, process)
        yield made
        for host in made.hosts:
            host.close()
        made.end_sessions()
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
