"""An instance in three directories and three databases, as after a swap and before the next one,
and a host on which everything ends at a chosen verb, as under `kill -9`."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from biso_tasks.config.model import Environment
from biso_tasks.demo.postgres import Cluster
from biso_tasks.host import LocalHost
from biso_tasks.host.command import Command, Result
from biso_tasks.host.protocol import Endpoint
from biso_tasks.instance.app import App
from biso_tasks.instance.config_php import Facts
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import read_layout
from biso_tasks.stage.intent import make_intent, read_intent
from biso_tasks.stage.lost import put_webroot_back
from biso_tasks.stage.model import Area, staged
from biso_tasks.stage.swap import finish, swap
from biso_tasks.values import Dsn, Secret

PASSWORD = "geheim 'ä"
NAMES = ("biso_test", "biso_test__stage", "biso_test__previous")
OWNER = {"run": "later", "who": "a colleague", "since": "now"}

# The state's config.php names the data dir, as a real one does: without it nobody knows.
CLI = """\
[ -d "$(dirname config.php)" ] || exit 4
flag=$(cat config.php)/maintenance.on
case "$1 $2" in
'maintenance on') : > "$flag" ;;
'maintenance off') rm -f -- "$flag" ;;
*) exit 3 ;;
esac
"""


class Killed(BaseException):
    """The controller is gone: nothing that it would have done afterwards happens."""


@dataclass
class Mortal:
    """This machine, on which the verb number `last` (commands, single renames, SQL) and all after
    it do not happen any more, nor any after the one that holds `dies_after`. 0: everybody lives."""

    inner: LocalHost
    last: int = 0
    dies_after: str = ""
    verbs: list[str] = field(default_factory=list)

    def live(self, last: int = 0) -> None:
        self.last, self.verbs, self.dies_after = last, [], ""

    def verb(self, what: str) -> None:
        if self.dies_after and any(self.dies_after in one for one in self.verbs):
            raise Killed(what)
        self.verbs.append(what)
        if self.last and len(self.verbs) >= self.last:
            raise Killed(what)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def address(self) -> str:
        return self.inner.address

    @property
    def login(self) -> str:
        return self.inner.login

    def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float | None = 60,
        ok: Sequence[int] | None = (0,),
    ) -> Result:
        paths = stdin.split(b"\0")[:-1]
        if "mv -T -n" not in str(command):
            self.verb(str(command))
            return self.inner.run(command, stdin=stdin, timeout=timeout, ok=ok)
        said = b""
        for number in range(0, len(paths), 2):
            pair = paths[number : number + 2]
            self.verb(f"rename '{pair[0].decode()}' {pair[1].decode()}")
            one = b"".join(path + b"\0" for path in pair)
            said += self.inner.run(command, stdin=one, timeout=timeout, ok=ok).out
        return Result(0, said, b"")

    def start(
        self, command: Command, *, stdin: int, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        self.verb(f"start {command}")
        return self.inner.start(command, stdin=stdin, stdout=stdout, stderr=stderr)

    def tunnel(self, host: str, port: int) -> AbstractContextManager[Endpoint]:
        return self.inner.tunnel(host, port)

    def require_forwarding(self, host: str, port: int) -> None:
        self.inner.require_forwarding(host, port)

    def reachable_from(self, other: Any) -> bool:
        return False

    def ssh_words(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self.inner.close()


@dataclass
class World:
    """`picture` is who stands where: each tree by the name in its file `who`, each database by its
    oid."""

    webroot: Path
    datadir: Path
    stage_dir: Path
    environment: Environment
    host: Mortal
    cluster: Cluster | None

    def read(self) -> Instance:
        """As read_instance does, and as that one it needs a config.php."""
        return self.read_with((self.webroot / "config.php").read_text().strip())

    def read_with(self, datadir: str) -> Instance:
        port = self.cluster.port if self.cluster else 1
        dsn = Dsn("127.0.0.1", port, NAMES[0], "biso", Secret(PASSWORD))
        facts = Facts("dev", datadir, dsn, None, "8.2", True, {})
        layout = read_layout(self.host, self.environment, datadir)
        app = App(self.host, self.environment, str(self.webroot), str(self.webroot))
        return Instance(self.environment, self.host, facts, layout, app, ())

    def trees(self) -> dict[str, Path]:
        below = self.stage_dir
        return {
            "live webroot": self.webroot,
            "live data": self.datadir,
            **{
                f"{place} {name}": below / place / name
                for place in ("stage", "previous")
                for name in ("webroot", "data")
            },
        }

    def picture(self) -> dict[str, str]:
        found = {}
        for name, tree in self.trees().items():
            with suppress(FileNotFoundError):
                found[name] = (tree / "who").read_text()
        if self.cluster is not None:
            with self.connect() as connection:
                rows = connection.execute(
                    "SELECT datname, oid, datallowconn FROM pg_database WHERE datname LIKE 'biso%'"
                ).fetchall()
            assert all(allowed for _, _, allowed in rows), f"closed: {rows}"
            for dbname, oid, _ in rows:
                place = dbname.removeprefix("biso_test").removeprefix("__") or "live"
                found[f"{place} database"] = str(oid)
        return found

    def connect(self) -> psycopg.Connection[Any]:
        assert self.cluster is not None
        return psycopg.connect(
            host=str(self.cluster.socket_dir), port=self.cluster.port,
            user=self.cluster.superuser, dbname="postgres", autocommit=True,
        )  # fmt: skip

    def swap(self, areas: Collection[Area], *, rollback: bool = False) -> None:
        instance = self.read()
        incoming = "previous" if rollback else "stage"

        def stage_maintenance() -> None:
            if "data" in areas:
                (self.stage_dir / incoming / "data/maintenance.on").touch()

        known = staged(instance, areas=areas)
        intent = make_intent(
            instance, [one for one in known if one.swapped], run="r", rollback=rollback,
            services=(), in_maintenance=False, document={"areas": sorted(areas)}, statements={},
            areas=areas,
        )  # fmt: skip
        swap(instance, intent, stage_maintenance=stage_maintenance, ours=lambda: None)

    def recover(self) -> str:
        """What `biso recover` does, on another machine: "forward", "back" or "nothing"."""
        put_webroot_back(self.host, self.environment, OWNER)
        instance = self.read()
        document = instance.state.read("intent")
        if document is None:
            return "nothing"
        intent = read_intent(instance, document, staged(instance))
        went, _ = finish(instance, intent, document["direction"])
        return went
