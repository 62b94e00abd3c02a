"""Production on this machine and a test instance in Docker compose, whose engine is a stand-in
(`fakedocker`, see there what is real of it): other paths, other users, no published port.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.demo import php, postgres, programs
from biso_tasks.demo.data import HARMLESS, records
from biso_tasks.demo.instances import Instance, find_instance, raise_instance
from biso_tasks.demo.tree import write_tree

FAKE = Path(__file__).with_name("fakedocker")
APP = Path(php.__file__).parent / "bisoapp" / "webroot"
SERVERS = "/usr/lib/postgresql/15/bin"
WWW = 1082  # www-data, as the container knows it
URL = "http://127.0.0.1:8000/"
PASSWORD = "p:a$s'\\w ö"

_CONFIG = r"""<?php
Config::set('env', 'dev');
Config::set('datadir', '/data');
Config::set('gaia.db', ['host' => 'db', 'port' => 5432, 'dbname' => 'biso_test',
    'user' => 'biso_test', 'password' => 'p:a$s\'\\w ö']);
"""
_DATABASE = r"""
cd /var/lib/postgresql && chown postgres .
as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -e data ]; then
  as "$0/initdb" -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync
  printf '%s\n' 'host all postgres 127.0.0.1/32 trust' 'host all all all scram-sha-256' \
    'local all postgres trust' >data/pg_hba.conf
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0/postgres" -D data \
  -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
"""
_MV = """\
#!/bin/sh
/bin/mv "$@" || exit
[ "$1" = -T ] && [ -e {root}/moves ] || exit 0
case $5:$6 in {root}/srv/files/data:*|*:{root}/srv/files/data) ;; *) exit 0 ;; esac
left=$(cat {root}/moves)
if [ "$left" = x ]; then kill -9 "$(cat {root}/victim)"; sleep 5; fi
printf %s "${{left#x}}" >{root}/moves
"""


@dataclass(slots=True)
class World:
    """`project` is the compose folder; the test instance's webroot and data dir lie beside it."""

    root: Path
    prod: Instance
    model: dict[str, Any]
    services: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.root / "srv/biso"

    @property
    def webroot(self) -> Path:
        return self.root / "srv/code/html"

    @property
    def datadir(self) -> Path:
        return self.root / "srv/files/data"

    @property
    def stage_dir(self) -> Path:
        return self.root / "srv/files/.biso-tasks-data"

    @property
    def environ(self) -> dict[str, str]:
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "BISO_CONFIG": str(self.root / "biso.toml")}

    def write(self) -> None:
        """Compose file and biso.toml, as they are described now."""
        self.project.mkdir(parents=True, exist_ok=True)
        (self.project / "compose.yaml").write_text(json.dumps(self.model))
        lines = [
            "[site]", 'name = "demo"', "[environments.prod]", 'role = "production"',
            f"webroot = {_toml(str(self.prod.webroot))}", f"php = [{_toml(str(self.prod.php))}]",
            f'biso_cli = [{_toml(str(self.prod.php))}, "biso-cli"]', "[environments.test]",
        ]  # fmt: skip
        lines += [f"{key} = {_toml(value)}" for key, value in self.environment.items()]
        lines += ["[environments.test.services]"]
        lines += [f"{key} = {_toml(value)}" for key, value in self.services.items()]
        (self.root / "biso.toml").write_text("\n".join(lines) + "\n")

    def docker(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["docker", "compose", "--project-directory", str(self.project), *words],
            env=self.environ, input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def sql(self, statement: str, dbname: str = "biso_test", user: str = "postgres") -> str:
        words = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "/tmp", "-U")
        return self.docker("exec", "-T", "db", *words, user, "-d", dbname, stdin=statement).strip()

    def running(self) -> list[str]:
        return self.docker("ps", "--services", "--status", "running").split()

    def biso(self, *words: str, code: int = 0) -> dict[str, Any]:
        """A command's JSON; `code` is the exit code that it must have."""
        done = subprocess.run(
            [sys.executable, "-m", "biso_tasks.cli.main", *words, "--json"],
            env=self.environ, cwd=self.root, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def killed(self, moves: int) -> None:
        """A refresh whose controller is killed right after its n-th rename of a directory."""
        (self.root / "moves").write_text("x" * moves)
        process = subprocess.Popen(
            [sys.executable, "-m", "biso_tasks.cli.main", "refresh-test", "--yes", "--json"],
            env=self.environ, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (self.root / "victim").write_text(str(process.pid))
        assert process.wait(200) == -signal.SIGKILL
        (self.root / "moves").unlink()

    def standing(self) -> tuple[Any, ...]:
        """What a refused command must not change."""
        names = self.sql("SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database")
        return (
            sorted(self.running()),
            names,
            self.datadir.stat().st_ino,
            sorted(path.name for path in self.datadir.iterdir()),
            sorted(path.name for path in self.datadir.parent.iterdir()),
        )

    def page(self) -> str:
        """What a user sees, from inside: no port is published."""
        code = (
            "$c = stream_context_create(['http' => ['ignore_errors' => true]]);"
            f"echo file_get_contents('{URL}', false, $c);"
        )
        return self.docker("exec", "-T", "web83", "php", "-r", code)

    def runs(self) -> list[dict[str, Any]]:
        """What each one-off container was given."""
        log = self.project / ".fakedocker/runs.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _model(bind: str) -> dict[str, Any]:
    """`bind`: what the data dir's mount says, source and target."""
    app = {"image": "biso-web:8.3", "user": "www-data", "working_dir": "/var/www/html"}
    volumes = ["../code/html:/var/www/html", bind]
    serve = ["php", "-d", "realpath_cache_size=0", "-S", "0.0.0.0:8000", "-t", "/var/www/html"]
    return {
        "services": {
            "web83": {**app, "volumes": volumes, "command": serve},
            "queue": {**app, "volumes": volumes, "command": ["sleep", "infinity"]},
            "cron": {**app, "volumes": volumes, "command": ["sleep", "infinity"]},
            "db": {
                "image": "postgres:15",
                "volumes": ["pgdata:/var/lib/postgresql"],
                "command": ["bash", "-c", _DATABASE, SERVERS],
            },
        }
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A site of the test's own."""
    yield from _site(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from _site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def still(shared: World) -> Iterator[World]:
    """A site for what is refused: its descriptions may be changed, it is not."""
    model, services = copy.deepcopy(shared.model), dict(shared.services)
    before = shared.standing()
    yield shared
    assert shared.standing() == before
    shared.model, shared.services = model, services
    (shared.webroot / "config.php").write_text(_CONFIG)
    shared.write()


def _site(root: Path) -> Iterator[World]:
    made = _begin(root)
    try:
        _fill(made)
        yield made
    finally:
        made.docker("down")
        made.prod.cluster.remove()


def _begin(root: Path) -> World:
    bins = postgres.find_binaries("machine")
    root.chmod(0o755)
    found = {name: bins / name for name in programs.CLIENT if (bins / name).exists()}
    programs.write_wrappers(root / "bin", found)
    php.install_php(root / "lib", root / "bin", source="machine")
    (root / "bin/docker").write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n')
    (root / "bin/docker").chmod(0o755)
    (root / "bin/mv").write_text(_MV.format(root=root))
    (root / "bin/mv").chmod(0o755)
    raise_instance(root, "prod", bins, 0.05, False, True)
    world = World(
        root=root,
        prod=find_instance(root, "prod", False),
        model=_model("../files/data:/data"),
        services={},
    )
    world.services |= {
        "kind": "compose",
        "directory": str(world.project),
        "web": "web83",
        "database": "db",
        "stop": ["cron", "queue", "web83"],
    }
    world.environment |= {
        "role": "test",
        "webroot": str(world.webroot),
        "run_as": "www-data",
        "owner": f"{WWW}:{WWW}",
        "url": URL,
    }
    world.write()
    return world


def _fill(world: World) -> None:
    shutil.copytree(APP, world.webroot)
    (world.webroot / "config.php").write_text(_CONFIG)
    (world.webroot / "config.php").chmod(0o640)
    made = records("demo-test", persons=20, first=HARMLESS, seed=2)
    world.datadir.mkdir(parents=True)
    write_tree(world.datadir, "test", HARMLESS, made.attachments)
    (world.datadir / "tmp").mkdir(exist_ok=True)
    subprocess.run(["chown", "-R", f"{WWW}:{WWW}", world.webroot, world.datadir], check=True)
    world.datadir.chmod(0o750)
    world.docker("start", "db", "web83", "queue")
    _wait_for_database(world)
    password = PASSWORD.replace("'", "''")
    world.sql(f"CREATE ROLE biso_test LOGIN CREATEDB PASSWORD '{password}'", "postgres")
    world.sql("CREATE ROLE biso_statistik NOLOGIN", "postgres")
    world.sql("CREATE DATABASE biso_test OWNER biso_test", "postgres")
    world.docker("exec", "-T", "-u", "www-data", "web83", "php", "biso-cli", "migration", "exec")
    world.sql(f"SET ROLE biso_test;\n{made.sql}")


def _wait_for_database(world: World) -> None:
    for _ in range(100):
        done = subprocess.run(
            ["docker", "compose", "--project-directory", str(world.project), "exec", "-T", "db",
             "pg_isready", "-q", "-t", "1", "-h", "127.0.0.1"],
            env=world.environ, stdin=subprocess.DEVNULL, check=False, capture_output=True,
        )  # fmt: skip
        if done.returncode == 0:
            return
    raise AssertionError((world.project / ".fakedocker/db.log").read_text()[-2000:])
