"""The site that is measured: the demo's two instances in a folder of the benchmarks' own, filled to
the size that was asked for, with both ways to work on them: ours and the documented one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.line import Line
from benchmarks.rows import persons_for, rows_sql
from benchmarks.run import Ended, run
from benchmarks.tree import Shape, grow
from benchmarks.watch import Client, Watch
from biso_tasks.demo import site as demo
from biso_tasks.demo.process import run as run_quietly
from biso_tasks.demo.site import DemoSite
from biso_tasks.demo.sshd import load_servers
from biso_tasks.flow.interrupt import interruptible

__all__ = ["CHECKOUT", "Bench", "Volume", "clean", "standing"]

CHECKOUT: Final = Path(__file__).resolve().parents[1]
_SMALL: Final = "test-data"  # test's first data dir, kept
_BATCH: Final = 20_000  # people in one statement: about 15 s
_CONFIG: Final = """\
# made by `invoke bench`, which removes it
[site]
name = "bench"

[environments.prod]
role = "production"
ssh = "{prod_ssh}"
webroot = "./.biso/demo/prod/webroot"
php = ["./.biso/demo/bin/php"]
biso_cli = ["./.biso/demo/bin/php", "biso-cli"]
services = {{ kind = "none" }}

[environments.test]
role = "test"
ssh = "{test_ssh}"
webroot = "./.biso/demo/test/webroot"
php = ["./.biso/demo/bin/php"]
biso_cli = ["./.biso/demo/bin/php", "biso-cli"]
services = {{ kind = "none" }}

[ssh]
config = "./ssh_config"
known_hosts = "./.biso/demo/ssh/known_hosts"

[backup]
environment = "prod"
path = "./.biso/demo/backups"
keep = {{ last = 1, daily = 0, weekly = 0, monthly = 0 }}

[refresh]
from = "prod"
to = "test"
keep_previous = "1s"
anonymize = {anonymize}
"""
_DSN: Final = """\
require 'lib/Config.php'; require 'config.php';
echo json_encode(Config::get('gaia.db'), JSON_THROW_ON_ERROR);
"""


@dataclass(frozen=True, slots=True)
class Volume:
    """How much is asked for: MB (10⁶ bytes) of database and of files, and how many files."""

    database: float
    files: int
    files_mb: float

    def part(self, share: float) -> Volume:
        """The same number of files with that share of the bytes, and of the database."""
        return Volume(self.database * share, self.files, self.files_mb * share)

    @property
    def shape(self) -> Shape:
        return Shape(self.files, round(self.files_mb * 1e6))


@dataclass(slots=True)
class Bench:
    """The site, at its present volume."""

    demo: DemoSite
    root: Path
    client: Client
    env: Mapping[str, str] = field(repr=False)
    people: int = 0
    volume: Volume = Volume(0, 0, 0)

    @property
    def log(self) -> Path:
        return self.root / "bench.log"

    def fill(self, volume: Volume) -> None:
        """Let production grow to that volume."""
        prod, wanted = self.demo.prod, persons_for(volume.database)
        files = volume.files if self.people == 0 else 0
        while self.people < wanted:
            last = min(wanted, self.people + _BATCH)
            prod.psql(rows_sql(self.people + 1, last, role=prod.user, files=files))
            self.people, files = last, 0
        grow(prod.datadir, volume.shape)
        self.volume = volume

    def biso(self, *words: str) -> Ended:
        """Our own program, as a person runs it."""
        argv = (sys.executable, "-m", "biso_tasks.cli.main", *words, "--yes", "--json")
        return run(argv, env=self.env, cwd=self.root, log=self.log)

    def documented(self, what: str, set: Path, *more: str) -> Ended:
        """A part of the documented procedure, with the set in that folder of production's host."""
        script = CHECKOUT / "benchmarks" / "documented.sh"
        env = {**self.env, "SET": str(set)}
        return run(["bash", script, what, *more], env=env, cwd=self.root, log=self.log)

    def watch(self) -> Watch:
        return Watch(self.demo.prod.datadir, self.demo.test.datadir, self.client)

    def anonymise(self, wanted: bool) -> None:
        """Whether this site anonymises what comes into test. Ratios are taken without: the
        documented procedure, which they are taken against, proves nothing."""
        prod, test = self.demo.prod.ssh, self.demo.test.ssh
        text = _CONFIG.format(prod_ssh=prod, test_ssh=test, anonymize=str(wanted).lower())
        (self.root / "biso.toml").write_text(text, "utf-8")

    def through(self, line: Line | None) -> None:
        """Production is reached through that line from now on, or as it was."""
        text = (self.demo.home / "ssh" / "config").read_text("utf-8") if self.demo.ssh else ""
        if line is not None:
            text = text.replace(f"Port {self.production_port}\n", f"Port {line.port}\n")
        (self.root / "ssh_config").write_text(text, "utf-8")

    @property
    def production_port(self) -> int:
        servers = {one.alias: one.port for one in load_servers(self.demo.home / "ssh")}
        return servers[self.demo.prod.ssh]

    @property
    def sets(self) -> Path:
        """Where sets of our own backups lie."""
        return self.demo.home / "backups" / "sets"

    def forget_test(self) -> None:
        """Test as it was before any refresh: a small data dir, no previous instance."""
        self.prune()
        datadir = self.demo.test.datadir
        shutil.rmtree(datadir)
        shutil.copytree(self.root / _SMALL, datadir, symlinks=True)

    def prune(self) -> None:
        """Without the previous instance, nor any set but the newest."""
        self.biso("prune")

    def differences(self) -> list[str]:
        """What test does not have as production has it, after a refresh without anonymisation."""
        prod, test = self.demo.prod, self.demo.test
        found = []
        for table in ("person", "bf_termin_protokoll", "bf_log"):
            rows = [one.psql(f"SELECT count(*) FROM {table}") for one in (prod, test)]
            if rows[0] != rows[1]:
                found.append(f"{table} has {rows[1]} rows instead of {rows[0]}")
        trees = [
            sum(len(files) for _, _, files in os.walk(one.datadir / "dateien"))
            for one in (prod, test)
        ]
        if trees[0] != trees[1]:
            found.append(f"{trees[1]} files instead of {trees[0]}")
        return found


@contextmanager
def standing(root: Path, *, ssh: bool | None = None) -> Iterator[Bench]:
    """The site in the folder `root`, small as the demo; removed at the end, whatever happened, with
    all that was in the folder. What an earlier run that was killed left there goes first."""
    clean(root)
    root.mkdir(parents=True)
    try:
        built = demo.build(root, ssh=ssh, scale=0.01)
        (root / "tasks.py").write_bytes((CHECKOUT / "tasks.py").read_bytes())
        bench = Bench(built, root, *_ways_in(built, root))
        bench.anonymise(False)
        bench.through(None)
        shutil.copytree(built.test.datadir, root / _SMALL, symlinks=True)
        yield bench
    finally:
        # a second Ctrl-C would leave servers behind that nobody else ends
        with interruptible(threading.Event(), _say):
            clean(root)


def clean(root: Path) -> None:
    """End and remove a site that stands there, half built or whole."""
    if root.exists():
        demo.clean(root)
        shutil.rmtree(root)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _ways_in(built: DemoSite, root: Path) -> tuple[Client, dict[str, str]]:
    """How the watching client gets in, and the environment of what is run."""
    passwords = root / "pgpass"
    passwords.touch(0o600)
    lines, settings = [], {}
    for instance in (built.prod, built.test):
        said = run_quietly([instance.php, "-r", _DSN], cwd=instance.webroot).stdout
        dsn = json.loads(said)
        word = re.sub(r"([\\:])", r"\\\1", dsn["password"])
        lines.append(f"127.0.0.1:{dsn['port']}:*:{dsn['user']}:{word}\n")
        settings = {key: dsn[key] for key in ("host", "port", "dbname", "user", "password")}
    passwords.write_text("".join(lines), "utf-8")
    apart = ("BISO_CONFIG", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    kept = {key: value for key, value in built.environ().items() if key not in apart}
    own: dict[str, Any] = {
        "PYTHONPATH": CHECKOUT,
        "PGPASSFILE": passwords,
        "PHP": built.prod.php,
        "SSH_CONFIG": root / "ssh_config",
        "PROD_SSH": built.prod.ssh,
        "PROD_WEBROOT": built.prod.webroot,
        "PROD_DATADIR": built.prod.datadir,
        "PROD_PORT": built.prod.cluster.port,
        "TEST_WEBROOT": built.test.webroot,
        "TEST_DATADIR": built.test.datadir,
        "TEST_PORT": built.test.cluster.port,
        "INCOMING": root / "incoming.sql.gz",
    }
    return Client(settings), {**kept, **{key: str(value) for key, value in own.items()}}
