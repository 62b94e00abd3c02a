"""A whole small world for end-to-end tests: two "hosts" (sshd with host keys, ports and users of
their own), two PostgreSQL clusters, two instances of the stand-in BISO served by PHP, and a laptop
from which the real program is run. Services are real processes behind a stand-in for systemctl.

A world is built once a worker and kind (about 8 s), and put back to its first state before each
test (about 1 s).
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
import tomli_w
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parent))

from set_world import forget_sets

from biso_tasks.cli.fields import COMMON, FIELDS
from biso_tasks.database.measure import fingerprint
from biso_tasks.demo.data import HARMLESS, PLANTED, log_database_sql, records
from biso_tasks.demo.tree import write_tree

PARTS = Path(__file__).parent / "parts"
APP = Path(sys.modules["biso_tasks.demo.data"].__file__ or "").parent / "bisoapp"
PGBIN = Path("/usr/lib/postgresql/15/bin")
SOCKETS = Path("/var/run/postgresql")
ROOT_PROGRAMS = ("rsync", "mv", "rm", "mkdir", "chown", "chmod", "install")
POSTGRES_PROGRAMS = ("psql", "pg_dump", "createdb", "dropdb")
WEB = "www-data"
RULES = (
    "local all postgres peer",
    "local all all scram-sha-256",
    "host all all 127.0.0.1/32 scram-sha-256",
)
SERVICES = ("biso-cron", "biso-web", "biso-queue")

Kind = Literal["admin", "plain"]
Name = Literal["prod", "test"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it needs the real parts."""
    parts = (
        *("root", "postgresql (machine)", "php", "sshd", "ssh", "rsync", "sudo", "setpriv"),
        "locale de_CH.UTF-8",
    )
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.needs(*parts))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sh(*words: str | Path, check: bool = True, **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run to the end; what it said is in the failure."""
    done = subprocess.run([str(w) for w in words], capture_output=True, check=False, **more)
    if check and done.returncode != 0:
        pytest.fail(f"{words[0]} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done


def until(true: Callable[[], object], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# -- one database server --


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL 15 as Debian has it, or another one: run by `postgres`, who is let in over the
    socket."""

    folder: Path
    port: int
    password: str = "e2e"
    bins: Path = PGBIN

    @classmethod
    def start(cls, folder: Path, bins: Path = PGBIN) -> Cluster:
        folder.mkdir()
        shutil.chown(folder, "postgres", "postgres")
        as_postgres: dict[str, Any] = {"user": "postgres", "group": "postgres", "cwd": "/"}
        sh(bins / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
           "--locale=C.UTF-8", "--no-sync", **as_postgres)  # fmt: skip
        cluster = cls(folder, free_port(), bins=bins)
        cluster.lets_in(*RULES)
        with (folder / "data/postgresql.conf").open("a") as conf:
            conf.write(
                f"port = {cluster.port}\nlisten_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{SOCKETS}'\nfsync = off\nfull_page_writes = off\n"
                "synchronous_commit = off\nautovacuum = off\nshared_buffers = 32MB\n"
                "max_connections = 60\nlc_messages = 'C'\n"
            )
        cluster.up()
        role = f"CREATE ROLE e2e SUPERUSER LOGIN PASSWORD '{cluster.password}'"
        sh("psql", "-X", "-q", f"--port={cluster.port}", "-c", role, "postgres", **as_postgres)
        return cluster

    def lets_in(self, *rules: str) -> None:
        """pg_hba.conf, read again where the server runs."""
        data = self.folder / "data"
        (data / "pg_hba.conf").write_text("".join(f"{rule}\n" for rule in rules))
        if (data / "postmaster.pid").exists():
            self.rows("SELECT pg_reload_conf()")

    def up(self) -> None:
        sh(self.bins / "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log",
           "start", user="postgres", group="postgres", cwd="/",
           stdin=subprocess.DEVNULL)  # fmt: skip

    def down(self) -> None:
        sh(self.bins / "pg_ctl", "-D", self.folder / "data", "-w", "-m", "immediate", "stop",
           check=False, user="postgres", group="postgres", cwd="/")  # fmt: skip

    def connect(self, dbname: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's connection, over TCP, autocommit."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="e2e", password=self.password, dbname=dbname,
            autocommit=True, application_name="e2e",
        )  # fmt: skip

    def rows(self, query: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(dbname) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def psql(self, text: str, dbname: str) -> None:
        """A script with COPY and backslash commands, as the superuser."""
        env = {"PATH": "/usr/bin:/bin", "PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"}
        sh("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
           "-U", "e2e", "-d", f"dbname='{dbname}'", input=text.encode(), env=env)  # fmt: skip

    def databases(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT datname FROM pg_database")}

    def fingerprint(self, dbname: str) -> dict[str, Any]:
        """Rows of every table, sequences, large objects, as database/measure.py sees them."""
        with self.connect(dbname) as connection:
            return fingerprint(connection)

    def catalog(self, dbname: str) -> dict[str, Any]:
        """What else must come through a copy: owner and kind of every relation, columns,
        comments, constraints, indexes, functions, extensions, collation."""
        named = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        space = f"JOIN pg_namespace n ON {named} AND n.oid"
        queries = {
            "relations": "SELECT nspname, relname, relkind::text, relpersistence::text"
            f" FROM pg_class {space} = relnamespace",
            "columns": "SELECT c.oid::regclass::text, attname, format_type(atttypid, atttypmod),"
            " attnotnull, attidentity::text, attgenerated::text, pg_get_expr(adbin, adrelid)"
            f" FROM pg_class c {space} = c.relnamespace JOIN pg_attribute a ON attrelid = c.oid"
            " LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum"
            " WHERE attnum > 0 AND NOT attisdropped",
            "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(c.oid),"
            f" convalidated FROM pg_constraint c {space} = connamespace",
            "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname !~ '^pg_'",
            "comments": "SELECT classoid::regclass::text, description FROM pg_description"
            " WHERE objoid >= 16384",
            "functions": "SELECT p.oid::regprocedure::text, prosrc"
            f" FROM pg_proc p {space} = pronamespace",
            "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
            "rules": "SELECT definition FROM pg_rules WHERE schemaname !~ '^pg_'",
            "extensions": "SELECT extname, extversion FROM pg_extension",
            "matviews": "SELECT matviewname, ispopulated FROM pg_matviews",
            "types": f"SELECT typname, typtype::text FROM pg_type {space} = typnamespace",
            "database": "SELECT pg_encoding_to_char(encoding), datcollate, datctype"
            " FROM pg_database WHERE datname = current_database()",
        }
        return {what: sorted(self.rows(query, dbname), key=repr) for what, query in queries.items()}

    def text(self, dbname: str) -> str:
        """The whole database as pg_dump writes it, large objects included."""
        env = {"PATH": "/usr/bin:/bin", "PGPASSWORD": self.password}
        return sh("pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "e2e", "-d",
                  f"dbname='{dbname}'", env=env).stdout.decode("utf-8", "replace")  # fmt: skip

    def properties(self, dbname: str) -> dict[str, Any]:
        """What belongs to the database itself: owner, access, settings, who may connect."""
        (row,) = self.rows(
            "SELECT pg_get_userbyid(datdba), ARRAY(SELECT unnest(datacl)::text ORDER BY 1),"
            " datallowconn, datconnlimit,"
            " (SELECT array_agg(s.setrole::regrole::text || ' ' || s.setconfig::text"
            " ORDER BY s.setrole::regrole::text)"
            f" FROM pg_db_role_setting s WHERE setdatabase = d.oid) FROM pg_database d"
            f" WHERE datname = {sql.Literal(dbname).as_string(None)}"
        )
        return dict(zip(("owner", "acl", "allow", "limit", "settings"), row, strict=True))


# -- one host --


@cache
def all_programs() -> dict[str, Path]:
    """Every program of the machine, by name, as its PATH finds it."""
    folders = ("/sbin", "/usr/sbin", "/bin", "/usr/bin", "/usr/local/bin")
    return {one.name: one for folder in folders for one in Path(folder).iterdir()}


@dataclass
class Machine:
    """A "host": its sshd, the ordinary user who logs in, the programs on its PATH, its units."""

    name: Name
    folder: Path
    user: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def alias(self) -> str:
        return f"e2e-{self.name}"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def units(self) -> Path:
        return self.folder / "units"

    @property
    def ssh_folder(self) -> Path:
        """~/.ssh of the user, where a test gives this host a key to the other one."""
        return self.folder / "home/.ssh"

    def set_up(self, client_key: Path) -> None:
        for path in (self.folder, self.folder / "home", self.bin, self.units):
            path.mkdir(mode=0o755)
        shutil.chown(self.folder / "home", self.user)
        self.link_programs()
        shutil.copy(PARTS / "systemctl", self.folder / "systemctl")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key")
        shutil.copy(client_key.with_suffix(".pub"), self.folder / "authorized_keys")
        self.start()

    def link_programs(self) -> None:
        """Every program of the machine, so that a test can take one away from this host."""
        programs = all_programs()
        # one look at the folder, not one at each of 1,500 programs
        for missing in programs.keys() - {one.name for one in os.scandir(self.bin)}:
            (self.bin / missing).symlink_to(programs[missing])
        fake = self.bin / "systemctl"
        if fake.is_symlink() or not fake.exists():
            fake.unlink(missing_ok=True)
            shutil.copy(PARTS / "systemctl", fake)

    def take_away(self, *programs: str) -> None:
        for program in programs:
            (self.bin / program).unlink()

    def start(self) -> None:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(5):
            self.port = self.port or free_port()
            config = self.folder / "sshd_config"
            config.write_text(
                f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\n"
                f"PidFile none\nAuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\n"
                "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
                f"AllowUsers {self.user}\nMaxStartups 100\nMaxSessions 100\nLogLevel VERBOSE\n"
                f"UseDNS no\nSetEnv PATH={self.bin}\n"
            )
            self.process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-f", str(config), "-E", str(self.folder / "sshd.log")],
                stdin=subprocess.DEVNULL,
            )
            process = self.process
            up = until(lambda process=process: self.listens() or process.poll() is not None, 10)
            if up and process.poll() is None:
                return
            self.port = 0
        pytest.fail(f"sshd did not start: {(self.folder / 'sshd.log').read_text()}")

    def reload(self) -> None:
        """Let sshd read its configuration again."""
        assert self.process is not None
        log = self.folder / "sshd.log"
        before = log.read_text().count("Server listening")
        self.process.send_signal(signal.SIGHUP)
        assert until(lambda: log.read_text().count("Server listening") > before)

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            sessions = self.sessions()
            self.process.terminate()
            self.process.wait()
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def sessions(self) -> list[int]:
        """What runs below this sshd: connections, and what was started through them."""
        # The number of a server that has ended may be another process's by now.
        running = self.process is not None and self.process.poll() is None
        return descendants(self.process.pid) if self.process and running else []

    @property
    def host_key(self) -> str:
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def systemctl(self, verb: str, unit: str) -> str:
        done = sh(self.bin / "systemctl", verb, "--", unit, check=verb != "is-active")
        return done.stdout.decode().strip()

    def unit(self, name: str, run: str) -> None:
        (self.units / name).mkdir(exist_ok=True)
        file = self.units / name / "run"
        file.write_text(f"#!/bin/bash\n{run}\n")
        file.chmod(0o755)

    def calls(self) -> list[str]:
        """Who was started and stopped since the last reset."""
        file = self.units / "calls"
        return file.read_text().splitlines() if file.exists() else []


def descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    # Not by a glob of */stat: that raises for a process that ends meanwhile.
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] != b"Z":
                parents[int(entry.name)] = int(fields[1])
    found: list[int] = []
    wave = [root]
    while wave:
        wave = [pid for pid, parent in parents.items() if parent in wave]
        found += wave
    return found


# -- one instance --


@dataclass
class Instance:
    """An installation of the stand-in BISO: code, data dir, database, web server."""

    name: Name
    place: Path
    machine: Machine
    cluster: Cluster
    owner: str
    port: int
    password: str
    dbname: str
    role: str
    webroot: Path = field(init=False)
    datadir: Path = field(init=False)

    def __post_init__(self) -> None:
        self.webroot = self.place / "webroot"
        self.datadir = self.place / "data" if self.name == "prod" else self.webroot / "data"

    @property
    def config(self) -> Path:
        return self.webroot / "config.php"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def stage_dir(self) -> Path:
        """Where the product keeps its stage and what it remembers, by default."""
        beside = self.webroot if self.name == "test" else self.datadir
        return beside.parent / f".biso-tasks-{beside.name}"

    def biso_cli(self, *words: str) -> str:
        done = sh("php", "biso-cli", *words, cwd=self.webroot, user=self.owner, group=self.owner,
                  env={"PATH": "/usr/bin:/bin"})  # fmt: skip
        return done.stdout.decode()

    def write_config(self, text: str | None = None, log: bool = False) -> None:
        """BISO's config.php, as the demo has it, or `text`, in which @…@ are replaced as well."""
        text = text or (APP / f"config.{self.name}.php").read_text()
        log_line = (
            f"Config::set('log.db', ['host' => '127.0.0.1', 'port' => {self.cluster.port},"
            f" 'dbname' => 'biso_log', 'user' => {php(self.role)},"
            f" 'password' => {php(self.password)}]);"
        )
        for key, value in {
            "@PORT@": str(self.cluster.port),
            "@DBNAME@": php(self.dbname),
            "@USER@": php(self.role),
            "@LOGDB@": log_line if log else "",
            "@PASSWORD@": php(self.password),
        }.items():
            text = text.replace(key, value)
        self.config.write_text(text)
        self.config.chmod(0o640)
        shutil.chown(self.config, self.owner, self.owner)

    def get(self, path: str = "", timeout: float = 10) -> tuple[int, str]:
        """Status and body; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")
        except OSError:
            return 0, ""

    def tree(self, folder: Path | None = None) -> dict[bytes, tuple[Any, ...]]:
        """Every entry of the data dir (or `folder`): kind, mode, owner, mtime, size, content or
        target, and the names that are the same file. Without what is never copied, and without
        the root's own time, which a flag file changes."""
        return read_tree(folder or self.datadir)

    def inodes(self, folder: Path | None = None) -> set[tuple[int, int]]:
        found = set()
        for here, _, files in os.walk(os.fsencode(folder or self.datadir)):
            for name in files:
                status = os.lstat(os.path.join(here, name))
                if not stat.S_ISLNK(status.st_mode) and name != b"maintenance.on":
                    found.add((status.st_dev, status.st_ino))
        return found

    def state(self) -> dict[str, Any]:
        """All that is served: for "nothing was touched"."""
        return {
            "database": self.cluster.fingerprint(self.dbname),
            "properties": self.cluster.properties(self.dbname),
            "data": self.tree(),
            "webroot": read_tree(self.webroot, without=b"data/"),
        }


def php(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def read_tree(folder: Path, without: bytes = b"") -> dict[bytes, tuple[Any, ...]]:
    root = os.fsencode(folder)
    found: dict[bytes, tuple[Any, ...]] = {}
    same: dict[tuple[int, int], list[bytes]] = {}
    for here, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(here, name)
            relative = os.path.relpath(path, root)
            if is_excluded(relative) or (without and (relative + b"/").startswith(without)):
                continue
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: bytes | str = b""
            if kind == stat.S_IFLNK:
                content = os.readlink(path)
            elif kind == stat.S_IFREG:
                with open(path, "rb") as handle:
                    content = sha256(handle.read()).hexdigest()
                if status.st_nlink > 1:
                    same.setdefault((status.st_dev, status.st_ino), []).append(relative)
            mtime = 0 if kind == stat.S_IFDIR and _holds_excluded(path) else status.st_mtime_ns
            size = 0 if kind == stat.S_IFDIR else status.st_size
            mode = stat.S_IMODE(status.st_mode)
            found[relative] = (kind, mode, status.st_uid, status.st_gid, mtime, size, content)
    for names in same.values():
        for name in names:
            found[name] += (tuple(sorted(names)),)
    return found


def is_excluded(relative: bytes) -> bool:
    return (
        relative.startswith(b"tmp/") or relative.endswith(b".log") or relative == b"maintenance.on"
    )


def _holds_excluded(path: bytes) -> bool:
    return path.rpartition(b"/")[2] == b"tmp"


# -- the laptop --


@dataclass(frozen=True)
class Ran:
    """What a command of the program gave."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The one document on stdout; nothing else may be there, and in it nothing that the
        reference does not name."""
        document: dict[str, Any] = json.loads(self.out)
        unknown = set(document) - set(COMMON) - set(FIELDS.get(document["task"], ()))
        assert not unknown, f"not in cli/fields.py: {document['task']}: {sorted(unknown)}"
        return document

    @property
    def message(self) -> str:
        error = self.json["error"]
        return "" if error is None else f"{error['message']} → {error['hint']}"

    def __str__(self) -> str:
        return (
            f"exit {self.code} after {self.seconds:.1f} s\n{self.out[-3000:]}\n{self.err[-6000:]}"
        )


class Visitor(threading.Thread):
    """A user of the test site who asks for a page all the time, and remembers each answer."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(daemon=True)
        self.instance = instance
        self.answers: list[tuple[float, float, int, str]] = []
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            status, body = self.instance.get(timeout=5)
            self.answers.append((began, time.monotonic(), status, body))
            self._end.wait(0.01)

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self.join()

    @property
    def away(self) -> float:
        """Seconds between the last good answer before the first bad one, and the next good one
        after the last bad one; 0 where all were good."""
        bad = [n for n, answer in enumerate(self.answers) if answer[2] != 200]
        if not bad:
            return 0.0
        first, last = max(bad[0] - 1, 0), min(bad[-1] + 1, len(self.answers) - 1)
        return self.answers[last][1] - self.answers[first][1]


class World:
    """The two hosts, their clusters and instances, and the laptop."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.base = Path(tempfile.mkdtemp(prefix="biso-e2e-", dir="/var/tmp"))
        self.base.chmod(0o755)
        self.laptop = self.base / "laptop"
        self.site_folder = self.base / "site"
        self.tmp = self.base / "laptop-tmp"
        self.users: list[str] = []
        self.sudoers: list[Path] = []
        self.started: list[subprocess.Popen[bytes]] = []
        self.hosts: dict[Name, Machine] = {}
        self.instances: dict[Name, Instance] = {}
        self.clusters: list[Cluster] = []

    prod = property(lambda self: self.instances["prod"])
    test = property(lambda self: self.instances["test"])

    # building

    def build(self) -> None:
        for folder in (self.laptop, self.site_folder, self.tmp, self.base / "www", self.base / "pg",
                       self.base / "hosts", self.base / "pristine"):  # fmt: skip
            folder.mkdir(mode=0o755)
        key = self.laptop / "key"
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        mark = f"biso-e2e-{os.getpid()}-{self.kind[0]}"
        names: tuple[Name, Name] = ("prod", "test")
        for name in names:
            user = f"{mark}-{name[0]}" if self.kind == "admin" else mark
            machine = Machine(name, self.base / "hosts" / name, user)
            self._user(user, self.base / "hosts" / name / "home")
            machine.set_up(key)
            self.hosts[name] = machine
            if self.kind == "admin":
                self._sudoers(machine)
            self.clusters.append(Cluster.start(self.base / "pg" / name))
        self._client()
        for name, cluster in zip(names, self.clusters, strict=True):
            self._instance(name, cluster)
        for place in ("prod", "test"):
            sh("rsync", "-aHS", f"{self.base}/www/{place}/", f"{self.base}/pristine/{place}/")

    def _user(self, user: str, home: Path) -> None:
        if user in self.users:
            return
        self.users.append(user)
        sh("useradd", "-M", "-U", "-p", "*", "-s", "/bin/bash", "-d", str(home), user)

    def _sudoers(self, machine: Machine) -> None:
        """The short list of CONTRACT and nothing else."""
        rooted = [str(machine.bin / "systemctl"), *(f"/usr/bin/{one}" for one in ROOT_PROGRAMS)]
        clients = [f"/usr/bin/{one}" for one in POSTGRES_PROGRAMS]
        text = (
            f'Defaults:{machine.user} secure_path="{machine.bin}"\n'
            f"{machine.user} ALL=(root) NOPASSWD: {', '.join(rooted)}\n"
            f"{machine.user} ALL=(postgres) NOPASSWD: {', '.join(clients)}\n"
            f"{machine.user} ALL=({WEB}) NOPASSWD: ALL\n"
        )
        file = Path("/etc/sudoers.d") / machine.user
        fresh = self.base / "sudoers"
        fresh.write_text(text)
        fresh.chmod(0o440)
        sh("visudo", "-c", "-f", fresh)
        shutil.move(fresh, file)
        if file not in self.sudoers:
            self.sudoers.append(file)

    def _client(self) -> None:
        """The laptop's ssh_config and known_hosts."""
        config, known = "", ""
        for machine in self.hosts.values():
            config += (
                f"Host {machine.alias}\n  HostName 127.0.0.1\n  Port {machine.port}\n"
                f"  User {machine.user}\n  IdentityFile {self.laptop}/key\n  IdentitiesOnly yes\n"
                "  IdentityAgent none\n\n"
            )
            known += f"[127.0.0.1]:{machine.port} {machine.host_key}\n"
        (self.laptop / "ssh_config").write_text(config)
        (self.laptop / "known_hosts").write_text(known)

    def _instance(self, name: Name, cluster: Cluster) -> None:
        production = name == "prod"
        machine = self.hosts[name]
        owner = WEB if self.kind == "admin" else machine.user
        instance = Instance(
            name, self.base / "www" / name, machine, cluster, owner, free_port(),
            password=f"ä'\"\\:$x #%@/{name}", dbname="biso" if production else "biso_test",
            role="biso" if production else "biso_test",
        )  # fmt: skip
        self.instances[name] = instance
        may = "CREATEDB" if self.kind == "plain" else "NOCREATEDB"
        word = instance.password.replace("'", "''")
        cluster.psql(
            f"CREATE ROLE {instance.role} LOGIN {may} PASSWORD '{word}';\n"
            "CREATE ROLE biso_statistik NOLOGIN;\n"
            + ("CREATE ROLE nur_prod NOLOGIN;\n" if production else "")
            + f"CREATE DATABASE {instance.dbname} OWNER {instance.role} TEMPLATE template0 "
            f"LOCALE '{'de_CH.utf8' if production else 'C.UTF-8'}';\n"
            f"CREATE DATABASE pristine_log OWNER {instance.role};\n",
            "postgres",
        )
        instance.place.mkdir()
        shutil.copytree(APP / "webroot", instance.webroot, copy_function=shutil.copyfile)
        (instance.webroot / "phpdocx/lib/data").mkdir(parents=True, exist_ok=True)
        if production:  # test's code is one migration ahead
            max((instance.webroot / "migrations").glob("*.sql")).unlink()
        first = PLANTED if production else HARMLESS
        made = records(f"e2e-{name}", persons=60 if production else 5, first=first, seed=len(name))
        instance.datadir.mkdir()
        write_tree(instance.datadir, name, first, made.attachments)
        sh("chown", "-R", f"{owner}:{owner}", instance.place)
        if production:
            self._awkward_files(instance)
        instance.write_config()
        instance.biso_cli("migration", "exec")
        own = f"SET ROLE {instance.role};\n"
        cluster.psql(f"{own}{made.sql}", instance.dbname)
        if production:
            cluster.psql(own + (PARTS / "awkward.sql").read_text(), instance.dbname)
        cluster.psql(own + log_database_sql(entries=50 if production else 5), "pristine_log")
        cluster.psql(
            f"CREATE DATABASE pristine TEMPLATE {instance.dbname} OWNER {instance.role};\n"
            f"DROP DATABASE {instance.dbname};\n"
            "UPDATE pg_database SET datistemplate = true WHERE datname ~ '^pristine';",
            "postgres",
        )
        self._services(instance)

    def _awkward_files(self, instance: Instance) -> None:
        """What real data dirs hold beside plain files. Other owners only where root can keep
        them: in the world with sudo."""
        data, mine = instance.datadir, instance.owner
        files: dict[str, tuple[bytes, int, str]] = {
            "phpdocx/lib/data/Vorlage.txt": (b"tief\n", 0o644, mine),
            "dateien/tmp/bleibt.txt": (b"kein Zwischenlager\n", 0o640, mine),
            "dateien/a.log": (b"weg\n", 0o640, mine),
            "geheim/0600.key": (b"nur ich\n", 0o600, mine),
            "geheim/0400.key": (b"nur lesen\n", 0o400, mine),
            "geheim/ausfuehrbar.sh": (b"#!/bin/sh\n", 0o4755, mine),
            "leer.txt": (b"", 0o644, mine),
        }
        if self.kind == "admin":
            files["geheim/root.key"] = (b"nur root\n", 0o600, "root")
            files["dateien/von root.txt"] = (b"von root\n", 0o644, "root")
            files["dateien/von backup.txt"] = (b"von backup\n", 0o664, "backup")
        for path, (content, mode, owner) in files.items():
            file = data / path
            for folder in [one for one in reversed(file.parents) if data in one.parents]:
                if not folder.exists():
                    folder.mkdir(mode=0o755)
                    shutil.chown(folder, mine, mine)
            file.write_bytes(content)
            shutil.chown(file, owner, owner)
            file.chmod(mode)
            os.utime(file, ns=(1, 1_700_000_000_123_456_789))
        with (data / "luecken.bin").open("wb") as sparse:
            sparse.truncate(8 << 20)
            sparse.seek(4 << 20)
            sparse.write(b"mitten drin")
        for folder, mode in (("leerer Ordner/darin/auch", 0o755), ("gruppe", 0o2770)):
            (data / folder).mkdir(parents=True)
            (data / folder).chmod(mode)
        os.link(data / "geheim/0400.key", data / "gruppe/derselbe.key")
        (data / "gruppe/weit weg").symlink_to("../brief_vorlagen/Einladung.txt")
        (data / "gruppe/nirgends").symlink_to("gibt/es nicht")
        (data / "gruppe/nach draussen").symlink_to("/etc/hostname")
        (data / "gruppe/ordner").symlink_to("../dateien")
        for path in (data / "luecken.bin", data / "leerer Ordner", data / "gruppe"):
            sh("chown", "-Rh", f"{mine}:{mine}", path)
        shutil.chown(data / "geheim/0400.key", mine, mine)
        (data / "gruppe").chmod(0o2770)
        (data / "geheim/ausfuehrbar.sh").chmod(0o4755)

    def _services(self, instance: Instance) -> None:
        """A web server and a scheduler that run, a queue runner that does not."""
        machine, owner = instance.machine, instance.owner
        become = f"exec setpriv --reuid={owner} --regid={owner} --clear-groups env -i"
        # A swap exchanges folders under a running server: it must not remember where they were.
        machine.unit(
            "biso-web",
            f"cd /; {become} PATH=/usr/bin:/bin PHP_CLI_SERVER_WORKERS=3 php"
            " -d realpath_cache_size=0 -d display_errors=0"
            f" -S 127.0.0.1:{instance.port} -t {instance.webroot}",
        )
        machine.unit("biso-cron", f"cd /; {become} sleep 86400")
        machine.unit("biso-queue", f"cd /; {become} sleep 86400")

    # before each test

    def reset(self) -> None:
        """Back to the first state."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.started.clear()
        for name, instance in self.instances.items():
            machine = self.hosts[name]
            if machine.process is None or machine.process.poll() is not None:
                machine.start()
            machine.link_programs()
            shutil.rmtree(machine.ssh_folder, ignore_errors=True)
            (machine.folder / "home/.bashrc").unlink(missing_ok=True)
            shutil.copy(self.laptop / "key.pub", machine.folder / "authorized_keys")
            if self.kind == "admin":
                self._sudoers(machine)
            for unit in machine.units.glob("*/broken"):
                unit.unlink()
            until(lambda machine=machine: not machine.sessions(), 10)
            self._reset_database(instance)
            # The webroot stays the same directory, since a running server stands in it.
            sh("rsync", "-aHS", "--delete", f"{self.base}/pristine/{name}/", f"{instance.place}/")
            instance.write_config()
            self._reset_services(machine)
            assert until(lambda instance=instance: instance.get()[0] == 200), instance.get()
            (machine.units / "calls").unlink(missing_ok=True)
        self._client()
        for folder in (self.site_folder, self.tmp):
            shutil.rmtree(folder)
            folder.mkdir()
        self.site()

    def _reset_database(self, instance: Instance) -> None:
        cluster = instance.cluster
        role, name = instance.role, instance.dbname
        with cluster.connect() as connection:
            known = "'postgres', 'template0', 'template1', 'pristine', 'pristine_log'"
            for (found,) in connection.execute(
                f"SELECT datname FROM pg_database WHERE datname NOT IN ({known})".encode()
            ).fetchall():
                connection.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(found))
                )
            word = instance.password.replace("'", "''")
            may = "CREATEDB" if self.kind == "plain" else "NOCREATEDB"
            for statement in (
                f"ALTER ROLE {role} LOGIN {may} CONNECTION LIMIT -1 PASSWORD '{word}'",
                f"CREATE DATABASE {name} TEMPLATE pristine OWNER {role} STRATEGY file_copy",
                f"ALTER DATABASE {name} SET timezone = 'Europe/Zurich'",
                f"ALTER DATABASE {name} SET \"biso.mandant\" = '{instance.name}: ä''ö'",
                f"ALTER ROLE {role} IN DATABASE {name} SET statement_timeout = '15min'",
                f"GRANT CONNECT ON DATABASE {name} TO biso_statistik",
                f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
            ):
                connection.execute(statement.encode())

    def _reset_services(self, machine: Machine) -> None:
        for unit in SERVICES:
            runs = machine.systemctl("is-active", unit) == "active"
            if runs != (unit != "biso-queue"):
                machine.systemctl("stop" if runs else "start", unit)

    @contextlib.contextmanager
    def served_by(self, name: Name, cluster: Cluster) -> Iterator[None]:
        """While inside, an instance's database is on another server: the same rows."""
        instance = self.instances[name]
        word = instance.password.replace("'", "''")
        dump = instance.cluster.text(instance.dbname)
        before = instance.cluster
        cluster.psql(
            f"CREATE ROLE {instance.role} LOGIN CREATEDB PASSWORD '{word}';\n"
            "CREATE ROLE biso_statistik NOLOGIN;\nCREATE ROLE nur_prod NOLOGIN;\n"
            f"CREATE DATABASE {instance.dbname} OWNER {instance.role} TEMPLATE template0;\n",
            "postgres",
        )
        cluster.psql(dump, instance.dbname)
        instance.cluster = cluster
        instance.write_config()
        try:
            assert until(lambda: instance.get()[0] == 200), instance.get()
            yield
        finally:
            instance.cluster = before
            instance.write_config()
            cluster.down()

    def with_log_database(self, *names: Name) -> None:
        """Give these instances (default: both) a log database `biso_log`."""
        for name in names or ("prod", "test"):
            instance = self.instances[name]
            instance.cluster.rows(
                f"CREATE DATABASE biso_log TEMPLATE pristine_log OWNER {instance.role}"
            )
            instance.write_config(log=True)

    def give_key(self) -> None:
        """Let test's host log in to production's, so that the route `direct` works."""
        folder = self.hosts["test"].ssh_folder
        folder.mkdir(mode=0o700)
        shutil.copy(self.laptop / "key", folder / "id_ed25519")
        prod = self.hosts["prod"]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{prod.port} {prod.host_key}\n")
        (folder / "id_ed25519").chmod(0o600)
        sh("chown", "-R", self.hosts["test"].user, folder)

    # the laptop

    def site(self, *, ssh: bool = True, text: str = "", **overrides: Any) -> Path:
        """Write biso.toml. `overrides` are merged into the sections: refresh={"route": "relay"},
        test={"url": None} (an environment's key; None takes it out), `text` is appended."""
        document: dict[str, Any] = {
            "site": {"name": "e2e", "plugins": []},
            "environments": {name: self._environment(name, ssh) for name in self.instances},
            "ssh": {
                "config": str(self.laptop / "ssh_config"),
                "known_hosts": str(self.laptop / "known_hosts"),
            },
            "refresh": {},
        }
        for key, value in overrides.items():
            place = document["environments"] if key in ("prod", "test") else document
            place[key] = _merged(place.get(key, {}), value)
        file = self.site_folder / "biso.toml"
        file.write_text(tomli_w.dumps(document) + text)
        return file

    def _environment(self, name: Name, ssh: bool) -> dict[str, Any]:
        instance = self.instances[name]
        settings: dict[str, Any] = {
            "role": "production" if name == "prod" else "test",
            "webroot": str(instance.webroot),
            "url": instance.url,
        }
        if ssh:
            settings["ssh"] = instance.machine.alias
        if self.kind == "admin":
            control = {"kind": "systemd", "stop": list(SERVICES)}
            if not ssh:  # the one real systemctl of this machine is not ours to use
                program = str(instance.machine.bin / "systemctl")
                control = {
                    "kind": "command",
                    "stop": list(SERVICES),
                    "stop_command": [program, "stop", "--", "{service}"],
                    "start_command": [program, "start", "--", "{service}"],
                    "status_command": [program, "is-active", "--", "{service}"],
                }
            settings |= {
                "run_as": WEB,
                "owner": f"{WEB}:{WEB}",
                "sudo": True,
                "services": control,
                "database": {"admin": {"user": "postgres", "run_as": "postgres"}},
            }
        return settings

    def _environ(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        return {**kept, "HOME": str(self.laptop), "LANG": "C.UTF-8", "TMPDIR": str(self.tmp)}

    def start(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start the program and leave it running, in a session of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "biso_tasks.cli.main", *words],
            cwd=self.site_folder, env=self._environ(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **more,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *words: str, timeout: float = 120) -> Ran:
        """Run the program to its end, as the person at the laptop would."""
        began = time.monotonic()
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{words} did not end: {err.decode('utf-8', 'replace')[-3000:]}")
        text = [one.decode("utf-8", "replace") for one in (out, err)]
        return Ran(process.returncode, *text, time.monotonic() - began)

    def refresh(self, *words: str, code: int = 0) -> Ran:
        """`refresh-test --no-anonymize --yes --json`, or with other words; checks the exit code."""
        ran = self.run("refresh-test", *(words or ("--no-anonymize",)), "--yes", "--json")
        assert ran.code == code, str(ran)
        return ran

    @property
    def patience(self) -> float:
        """How many times longer things may take while this machine has other work to do."""
        return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

    def visitor(self) -> Visitor:
        return Visitor(self.test)

    # what is left

    def leftovers(self, *, previous: bool | None = None) -> list[str]:
        """What an ended run left behind that should not be there; [] is good. With `previous`, the
        previous instance must be there, or must not."""
        found: list[str] = []
        for machine in self.hosts.values():
            if not until(lambda machine=machine: not machine.sessions(), 10):
                found += [f"{machine.name} runs: {cmdline(pid)}" for pid in machine.sessions()]
        found += [f"laptop: {path}" for path in self.tmp.iterdir()]
        for folder in ("/tmp", "/dev/shm"):
            found += [str(path) for path in Path(folder).iterdir() if self._ours(path)]
        for instance in self.instances.values():
            found += self._databases_left(instance, previous)
        stage = self.test.stage_dir
        allowed = {"instance.json", "previous"} if previous is not False else {"instance.json"}
        left = {path.name for path in stage.iterdir()} if stage.exists() else set()
        allowed |= {".htaccess"} if left & allowed else set()
        found += [f"{stage}/{name}" for name in sorted(left - allowed)]
        if stage.exists() and not left:
            found.append(f"{stage} is empty")
        if previous and "previous" not in left:
            found.append(f"{stage}/previous is missing")
        if self.prod.stage_dir.exists():
            found.append(f"{self.prod.stage_dir} on production")
        for name, instance in self.instances.items():
            if (instance.datadir / "maintenance.on").exists():
                found.append(f"{name} is in maintenance")
            for unit in SERVICES:
                runs = self.hosts[name].systemctl("is-active", unit) == "active"
                if runs != (unit != "biso-queue"):
                    found.append(f"{name}: {unit} {'runs' if runs else 'does not run'}")
        return found

    def _databases_left(self, instance: Instance, previous: bool | None) -> list[str]:
        cluster = instance.cluster
        known = {"postgres", "template0", "template1", "pristine", "pristine_log", "biso_log"}
        known.add(instance.dbname)
        allowed = {f"{name}__previous" for name in (instance.dbname, "biso_log")}
        if instance.name == "prod" or previous is False:
            allowed = set()
        there = cluster.databases()
        found = [f"database {name} on {instance.name}" for name in there - known - allowed]
        if instance.name == "test" and previous and f"{instance.dbname}__previous" not in there:
            found.append(f"no previous database of {instance.name}")
        if instance.dbname not in there:
            return [*found, f"{instance.dbname} is gone"]
        if not cluster.properties(instance.dbname)["allow"]:
            found.append(f"nobody may connect to {instance.dbname}")
        sessions = (
            "SELECT application_name FROM pg_stat_activity WHERE application_name ~ 'biso-tasks'"
        )
        if not until(lambda: not cluster.rows(sessions), 10):
            found.append(f"sessions on {instance.name}: {cluster.rows(sessions)}")
        return found

    def _ours(self, path: Path) -> bool:
        with contextlib.suppress(OSError, KeyError):
            return pwd.getpwuid(path.lstat().st_uid).pw_name in self.users
        return False

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for machine in self.hosts.values():
            for unit in SERVICES if machine.units.exists() else ():
                machine.systemctl("stop", unit)
            machine.stop()
        for cluster in self.clusters:
            cluster.down()
        for file in self.sudoers:
            file.unlink(missing_ok=True)
        for user in self.users:
            sh("userdel", "-f", user, check=False)
        shutil.rmtree(self.base, ignore_errors=True)


def cmdline(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return "ended"


def _merged(one: Any, other: Any) -> Any:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return other
    merged = {**one, **{key: _merged(one.get(key), value) for key, value in other.items()}}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.fixture(scope="session")
def worlds() -> Iterator[Callable[[Kind], World]]:
    """Worlds by kind, built at first use."""
    built: dict[Kind, World] = {}

    def world(kind: Kind) -> World:
        if kind not in built:
            built[kind] = World(kind)
            built[kind].build()
        return built[kind]

    yield world
    for one in built.values():
        one.close()


@pytest.fixture
def world(worlds: Callable[[Kind], World]) -> World:
    """The usual world: ordinary logins with a short list of sudo, files of www-data and others, an
    application's role that may create nothing."""
    found = worlds("admin")
    found.reset()
    return found


@pytest.fixture
def plain_world(worlds: Callable[[Kind], World]) -> World:
    """The simplest world: one ordinary user owns everything, no sudo, a role with CREATEDB."""
    found = worlds("plain")
    found.reset()
    return found


@pytest.fixture
def local(plain_world: World) -> Iterator[World]:
    """All on this machine, as root: the cheapest way to a set."""
    forget_sets(plain_world)
    yield plain_world
    forget_sets(plain_world)
