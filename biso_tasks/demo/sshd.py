"""SSH servers of the demo's own: one process, port and host key for each of the two "machines".

They let in one key, made here, as the user who runs the demo. Nothing outside `directory` is
touched, but for /run/sshd, which sshd insists on when it runs as root.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from biso_tasks.demo.postgres import free_port
from biso_tasks.demo.process import DemoError, Running, daemon, descendants, end, is_alive, run

__all__ = ["Server", "load_servers", "missing_programs", "remove", "start_servers", "stop"]

_RECORD = "servers.json"
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"
_PRIVSEP = Path("/run/sshd")
_SSHD = """\
# made by ./biso demo
Port {port}
ListenAddress 127.0.0.1
HostKey {key}
PidFile none
AuthorizedKeysFile {authorized}
# the checkout may lie below a folder that others can write to
StrictModes no
UsePAM {pam}
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 100
MaxSessions 100
AcceptEnv LANG LC_*
SetEnv {path}
Subsystem sftp internal-sftp
{more}"""
_CLIENT = """\
Host {alias}
    HostName 127.0.0.1
    Port {port}
    User {user}
    HostKeyAlias {alias}
    IdentityFile {key}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {known}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    PasswordAuthentication no
    ForwardAgent no

"""


@dataclass(frozen=True, slots=True)
class Server:
    """One running sshd and the ssh alias that leads to it."""

    alias: str
    port: int
    process: Running


def missing_programs() -> tuple[str, ...]:
    """Which of the programs that two SSH hosts need are not on this machine."""
    names = ("ssh", "ssh-keygen", "sshd", "rsync")
    return tuple(name for name in names if _find(name) is None)


def start_servers(directory: Path, aliases: Sequence[str], *, path: str) -> tuple[Server, ...]:
    """A server for each alias, those that run left alone; writes `config` and `known_hosts` into
    `directory`. `path` is the PATH of their sessions. Every alias was logged in to once when this
    returns. Raises DemoError, with nothing left running that this call started."""
    missing = missing_programs()
    if missing:
        raise DemoError(
            f"these programs are missing: {', '.join(missing)}",
            hint="apt install openssh-server openssh-client rsync",
        )
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise DemoError(f"user id {os.geteuid()} has no name on this machine") from error
    directory.mkdir(parents=True, exist_ok=True)
    before = {server.alias: server for server in load_servers(directory)}
    if all(alias in before and is_alive(before[alias].process) for alias in aliases):
        return tuple(before[alias] for alias in aliases)
    stop(directory)
    made_privsep = _privilege_separation() or _made_privsep(directory)
    _keygen(directory / "user_key")
    public = (directory / "user_key.pub").read_text("utf-8")
    (directory / "authorized_keys").write_text(public, "utf-8")
    # without PAM sshd turns away locked accounts; with PAM it wants a service file
    for pam in ("no", "yes") if os.geteuid() == 0 else ("no",):
        servers: list[Server] = []
        try:
            for alias in aliases:
                old = before.get(alias)
                servers.append(_start(directory, alias, path, pam, old.port if old else None))
                _write_record(directory, servers, made_privsep)
            _write_client(directory, servers, user)
            with ThreadPoolExecutor() as pool:
                said = list(pool.map(lambda server: _login(directory, server), servers))
        except BaseException:
            stop(directory)
            raise
        if not any(said):
            return tuple(servers)
        stop(directory)
    raise DemoError(
        f"cannot log in as {user} to a server started for the demo: {next(filter(None, said))}",
        hint=f"see {directory}/*.log",
    )


def load_servers(directory: Path) -> tuple[Server, ...]:
    """The servers that were recorded in this directory, running or not."""
    try:
        record = json.loads((directory / _RECORD).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return ()
    return tuple(
        Server(one["alias"], one["port"], Running(**one["process"])) for one in record["servers"]
    )


def stop(directory: Path) -> None:
    """End the servers and the sessions that they hold; keys and configuration stay."""
    _end(server.process for server in load_servers(directory))


def remove(directory: Path) -> None:
    """End the servers and remove what they had, /run/sshd included if the demo made it."""
    stop(directory)
    if _made_privsep(directory) and not _other_servers():
        with contextlib.suppress(OSError):
            _PRIVSEP.rmdir()
    if directory.exists():
        shutil.rmtree(directory)


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}")


def _program(name: str) -> str:
    found = _find(name)
    if found is None:
        raise DemoError(f"not on this machine: {name}", hint="apt install openssh-server")
    # sshd starts itself again for each connection and insists on an absolute path
    return str(Path(found).absolute())


def _keygen(path: Path) -> None:
    if not path.exists():
        comment = f"biso-demo {path.name}"
        run([_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])


def _start(directory: Path, alias: str, path: str, pam: str, port: int | None) -> Server:
    key = directory / f"{alias}.host_key"
    _keygen(key)
    log = directory / f"{alias}.log"
    config = directory / f"{alias}.sshd_config"
    for attempt in [*([port] if port else []), *(free_port() for _ in range(5))]:
        text = _SSHD.format(
            port=attempt,
            key=_quote(str(key)),
            authorized=_quote(str(directory / "authorized_keys").replace("%", "%%")),
            pam=pam,
            # With SHLVL set, the login's bash does not take sshd for rshd and read ~/.bashrc
            # for every command.
            path=f"{_quote(f'PATH={path}')} SHLVL=1",
            more="PerSourcePenalties no\n" if _penalises() else "",
        )
        config.write_text(text, "utf-8")
        size = log.stat().st_size if log.exists() else 0
        process = daemon([_program("sshd"), "-D", "-e", "-f", config], log=log)
        if _answers(attempt, process):
            return Server(alias, attempt, process)
        end(process)
        said = log.read_bytes()[size:].decode("utf-8", "replace").strip()
        if "already in use" not in said:
            raise DemoError(f"sshd did not start: {said.splitlines()[-1] if said else 'no word'}")
    raise DemoError("sshd found no free port on 127.0.0.1")


def _penalises() -> bool:
    """Whether this sshd shuts out an address after failed logins: here, everybody has the same."""
    said = run([_program("ssh"), "-V"], check=False).stderr.decode("utf-8", "replace")
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= (9, 8)


def _answers(port: int, process: Running, seconds: float = 10) -> bool:
    """Whether that process greets on that port before the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_alive(process):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as line:
            line.settimeout(5)
            # the port may be another program's: then ours has ended, or ends now
            if line.recv(8).startswith(b"SSH-") and is_alive(process):
                return True
        time.sleep(0.01)
    return False


def _write_client(directory: Path, servers: Sequence[Server], user: str) -> None:
    known = directory / "known_hosts"
    config = "# made by ./biso demo\n"
    hosts = ""
    for server in servers:
        config += _CLIENT.format(
            alias=server.alias,
            port=server.port,
            user=user,
            key=_quote(str(directory / "user_key").replace("%", "%%")),
            known=_quote(str(known).replace("%", "%%")),
        )
        public = (directory / f"{server.alias}.host_key.pub").read_text("utf-8").split()
        hosts += f"{server.alias} {public[0]} {public[1]}\n"
    (directory / "config").write_text(config, "utf-8")
    known.write_text(hosts, "utf-8")


def _login(directory: Path, server: Server) -> str:
    """ "" when a login works, else what ssh said."""
    options = ("-F", directory / "config", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
    done = run([_program("ssh"), *options, server.alias, "true"], check=False, timeout=60)
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"ssh ended with code {done.returncode}"


def _quote(word: str) -> str:
    if "\n" in word:
        raise DemoError(f"a path with a line break cannot be used for SSH: {word!r}")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_record(directory: Path, servers: Sequence[Server], made_privsep: bool) -> None:
    record = {"servers": [asdict(server) for server in servers], "made_privsep": made_privsep}
    fresh = directory / f".{_RECORD}"
    fresh.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    fresh.replace(directory / _RECORD)


def _end(processes: Iterable[Running]) -> None:
    for process in processes:
        if is_alive(process):
            # a session outlives its server: it would hold files of a demo that is gone
            sessions = descendants(process)
            end(process)
            for session in sessions:
                end(session, ladder=((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)))


def _privilege_separation() -> bool:
    """Make /run/sshd where a server that runs as root lacks it; True when it was made here."""
    if os.geteuid() != 0 or _PRIVSEP.exists():
        return False
    _PRIVSEP.mkdir(mode=0o755)
    _PRIVSEP.chmod(0o755)
    return True


def _made_privsep(directory: Path) -> bool:
    try:
        return bool(json.loads((directory / _RECORD).read_text("utf-8"))["made_privsep"])
    except (OSError, ValueError, KeyError):
        return False


def _other_servers() -> bool:
    """Whether any sshd runs: it needs /run/sshd at every connection."""
    for name in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if name.read_text("utf-8", "replace").startswith("sshd"):
                return True
    return False
