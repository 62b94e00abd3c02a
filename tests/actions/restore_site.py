"""A demo site with one backup set, for tests that restore it: the real program in this process, and
what is there looked at by other means.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from biso_tasks.cli import commands
from biso_tasks.database.measure import fingerprint
from biso_tasks.demo.instances import Instance
from biso_tasks.demo.site import DemoSite

__all__ = ["Restored", "fingerprint_of", "names_of", "tree"]

REPOSITORY = Path(__file__).parents[2]


def names_of(instance: Instance) -> tuple[set[str], set[str]]:
    """Databases and roles of the instance's server."""
    databases = instance.psql("SELECT datname FROM pg_database", dbname="postgres")
    roles = instance.psql("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'", dbname="postgres")
    return set(databases.split("\n")), set(roles.split("\n"))


def fingerprint_of(instance: Instance, dbname: str) -> dict[str, Any]:
    """Rows of every table, sequences and large objects, as the superuser sees them."""
    cluster = instance.cluster
    with psycopg.connect(
        host=str(cluster.socket_dir), port=cluster.port, user=cluster.superuser, dbname=dbname,
        autocommit=True,
    ) as connection:  # fmt: skip
        return fingerprint(connection)


def tree(
    folder: Path, without: tuple[str, ...] = (), *, folder_times: bool = True
) -> dict[str, tuple[Any, ...]]:
    """Kind, mode, owner, time, content or target of every entry, and how many names a file has.
    What is never in a set is left out."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith("tmp/") or name.endswith(".log") or name in without:
            continue
        status = path.lstat()
        content: str = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = sha256(path.read_bytes()).hexdigest()
        timeless = name == "tmp" or (path.is_dir() and not folder_times)
        when = 0 if timeless else status.st_mtime_ns
        found[name] = (
            *(stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid),
            *(status.st_gid, when, content, status.st_nlink if path.is_file() else 0),
        )
    return found


@dataclass
class Restored:
    """The site, the program in its folder, and the set `id` of production."""

    built: DemoSite
    capture: Callable[[], str]
    id: str = ""

    @property
    def prod(self) -> Instance:
        return self.built.prod

    @property
    def test(self) -> Instance:
        return self.built.test

    @property
    def set_folder(self) -> Path:
        return self.built.home / "backups/sets" / self.id

    def write(self, text: str = "") -> None:
        """biso.toml of the demo, with more at its end."""
        shutil.copy(REPOSITORY / "biso.toml", self.built.root)
        with (self.built.root / "biso.toml").open("a") as handle:
            handle.write(text)

    def run(self, command: str, code: int = 0, **arguments: Any) -> dict[str, Any]:
        """Run a command; its JSON. The exit code is checked."""
        self.capture()
        got = commands.run(command, {"yes": True, "json": True, "confirm": "", **arguments})
        document: dict[str, Any] = json.loads(self.capture())
        assert got == code == document["exit_code"], document["error"]
        return document

    def restore(self, code: int = 0, **arguments: Any) -> dict[str, Any]:
        given = {"set_": self.id, "to": "", "only": "", "from_": "", "table": "", "path": ""}
        return self.run("restore", code, **{**given, "confirm": "prod", **arguments})

    def refused(self, **arguments: Any) -> str:
        """The message of a restore that is refused while it is planned, and the remedy."""
        error = self.restore(3, plan=True, **arguments)["error"]
        assert error["kind"] == "refused"
        return f"{error['message']} → {error['hint']}"

    def make_bare(self) -> None:
        """Nothing of production is left but its role."""
        for dbname in ("biso", "biso_log", "biso__previous", "biso_log__previous"):
            drop = f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)"
            self.prod.psql(drop, dbname="postgres")
        for path in (self.prod.webroot, self.prod.datadir, self.stage_dir):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def stage_dir(self) -> Path:
        return self.prod.datadir.parent / ".biso-tasks-data"
