"""A PostgreSQL and a world (see stage_world.py) for each test."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stage_world import CLI, NAMES, PASSWORD, Mortal, World

from biso_tasks.config.model import Environment
from biso_tasks.database import admin as database_admin
from biso_tasks.demo.postgres import Cluster, start_cluster
from biso_tasks.host import LocalHost


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_cluster(tmp_path_factory.mktemp("pg"))
    try:
        cluster.psql(
            "CREATE ROLE biso LOGIN CREATEDB PASSWORD '" + PASSWORD.replace("'", "''") + "'"
        )
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Build one: `inside` says whether the data dir lies in the webroot, `cluster` whether there
    are databases."""
    made: list[World] = []
    # Not tmp_path: each folder above costs the probes a moment.
    top = Path(tempfile.mkdtemp(prefix="bs-", dir="/tmp"))

    def build(*, inside: bool, cluster: Cluster | None = None) -> World:
        webroot = top / "www/biso ä"
        datadir = webroot / "var/data" if inside else top / "srv/data"
        beside = webroot if inside else datadir
        stage_dir = beside.parent / f".biso-tasks-{beside.name}"
        host = Mortal(LocalHost("test"))
        environment = Environment(
            name="test", role="test", webroot=str(webroot), biso_cli=("bash", "biso-cli")
        )
        one = World(webroot, datadir, stage_dir, environment, host, cluster)
        made.append(one)
        for number, (name, tree) in enumerate(one.trees().items()):
            tree.mkdir(parents=True)
            (tree / "who").write_text(f"{name.split()[1]} {number}")
            if name.endswith("webroot"):
                (tree / "biso-cli").write_text(CLI)
                (tree / "config.php").write_text(str(datadir))
                if inside:
                    (tree / "var").mkdir()
        stage_dir.chmod(0o700)
        if cluster is not None:
            for dbname in NAMES:
                cluster.psql(f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)")
                cluster.psql(f"CREATE DATABASE {dbname} OWNER biso")
        return one

    def mortal(name: str) -> None:
        original = getattr(database_admin._ByConnection, name)

        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            self._server.host.verb(f"{name} {args[0]}")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(database_admin._ByConnection, name, wrapped)

    mortal("execute")
    mortal("rows")
    yield build
    for one in made:
        one.host.close()
    shutil.rmtree(top)
