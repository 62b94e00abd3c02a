"""A demo site over SSH that is put back to a known state between faults, and what must hold after
each of them.

`Picture` is what an instance serves or keeps, as hashes: the database and the data dir together.
After any fault, once `recover` has run on another machine, the live and the previous picture must
be a pair that some whole run would have left; never new rows with old files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import fault_hosts
import psycopg
import tomli_w

from biso_tasks.database.measure import fingerprint
from biso_tasks.demo import site
from biso_tasks.demo.postgres import start_cluster
from biso_tasks.demo.process import Running, descendants
from biso_tasks.demo.site import DemoSite, Instance
from biso_tasks.demo.sshd import load_servers
from biso_tasks.flow.recipe import parse

HERE = Path(__file__).parent
DRIVER = HERE / "fault_driver.py"
LIVE, STAGE, PREVIOUS = "biso_test", "biso_test__stage", "biso_test__previous"
_IGNORED = {"maintenance.on"}
# Databases that are kept by the tests, and beside a baseline by the product.
_APART = "_kept_|__baseline$"
# Each instance's own, and in a stage another one; compared by itself.
_CONFIG = {"config.php", "config.biso-original.php"}


SWAPS = ("swap", "swap-previous")
IN_PLACE = "refresh-in-place"
PIECES = {"restore-path": ("--path", "dateien/namen"), "restore-table": ("--table", "person")}
BARE, BARE_ROLE = "neu", "biso_neu"
"""An environment of which nothing is there, on test's host: see test_bare_faults."""
STORING = ("prune", "verify")
ELSEWHERE = (IN_PLACE, "restore-bare", *STORING, *PIECES)
"""Recipes that promise something else while they run, or need another world than this one; they
have tests of their own."""


def recipes(*, without: Collection[str] = ELSEWHERE) -> dict[str, list[Any]]:
    """The steps of every built-in recipe, read from the package: a new one is tested unasked."""
    return {one.name: list(one.steps) for one in _recipes() if one.name not in without}


@cache
def _recipes() -> tuple[Any, ...]:
    folder = files("biso_tasks.actions").joinpath("builtin_recipes")
    found = [parse(one.read_text("utf-8"), one.name) for one in folder.iterdir()
             if one.name.endswith(".toml")]  # fmt: skip
    return tuple(sorted(found, key=lambda one: one.name))


@dataclass(frozen=True)
class Picture:
    """One instance's contents. Equal means: the same rows, sequences, objects, files, modes.
    `webroot` is "" where it is not exchanged."""

    database: str
    tree: str
    webroot: str = ""


@dataclass
class Run:
    """A command that was run with a fault: its end, what it said, and the stage's picture as it
    was just before the swap (None where it never came so far)."""

    code: int
    out: str
    err: str
    reached: bool
    stage: Picture | None
    webroot: bool

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out)) if self.out.strip() else {}


@dataclass
class World:
    """One site. `here` is where runs start, `there` another machine's checkout of the same site.
    `in_place`: refreshes go without a stage."""

    site: DemoSite
    folder: Path
    url: str
    temp: Path
    base: dict[str, tuple[Picture, Picture | None]] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    state: str = ""
    over: str = "ssh"
    in_place: bool = False
    prod_before: Picture | None = None
    acl: dict[str, Any] = field(default_factory=dict)
    config: bytes = b""
    counted: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    beside: Callable[[], None] = lambda: None
    """What a reset puts back as well, where a test has something more beside the site."""

    @property
    def test(self) -> Instance:
        return self.site.test

    @property
    def prod(self) -> Instance:
        return self.site.prod

    @property
    def stage_dir(self) -> Path:
        return self.test.webroot.parent / ".biso-tasks-webroot"

    @property
    def prod_stage_dir(self) -> Path:
        return self.prod.webroot.parent / ".biso-tasks-webroot"

    @property
    def store(self) -> Path:
        return self.folder / "backups"

    @property
    def queues(self) -> list[Path]:
        """Each there while that environment's queue runner runs."""
        return [self.folder / f"running-{name}-queue" for name in ("prod", "test")]

    def words(self, recipe: str) -> tuple[str, ...]:
        """The command that runs a recipe without asking."""
        made = {
            "refresh-from-set": ("refresh-test", "--source", "latest"),
            "restore": ("restore", "latest", "--to", "test"),
            "drill": ("verify", "--drill"),
            "restore-bare": ("restore", "latest", "--to", BARE, "--confirm", BARE),
            **{piece: ("restore", "latest", "--to", "test", *PIECES[piece]) for piece in PIECES},
            IN_PLACE: ("refresh-test",),
        }
        asking = () if recipe == "recover" else ("--yes",)
        return (*made.get(recipe, (recipe,)), *asking, "--json")

    # --- states -----------------------------------------------------------------------------------

    def reset(self, state: str) -> None:
        """Back to "first" (never refreshed) or "again" (a previous instance is there)."""
        self._stop_leftovers()
        cluster = self.test.cluster
        ours = f"datname ~ '^biso_test' AND NOT datname ~ '{_APART}'"
        keep = f"SELECT datname FROM pg_database WHERE {ours}"
        for name in cluster.psql(keep).split():
            cluster.psql(f'DROP DATABASE "{name}" (FORCE)')
        for dbname in (LIVE, PREVIOUS) if state == "again" else (LIVE,):
            kept = _kept(state, dbname)
            cluster.psql(
                f"CREATE DATABASE {dbname} TEMPLATE {kept} OWNER biso_test STRATEGY file_copy"
            )
            self._settings(dbname)
        self._trees(state, back=True)
        self._store(back=True)
        self.beside()
        self.state = state

    def keep(self, state: str) -> None:
        """Remember what is there now as `state`."""
        for dbname in (LIVE, PREVIOUS) if state == "again" else (LIVE,):
            kept = _kept(state, dbname)
            self._alone(dbname)
            self.test.cluster.psql(f"CREATE DATABASE {kept} TEMPLATE {dbname} STRATEGY file_copy")
            self.test.cluster.psql(f"ALTER DATABASE {kept} ALLOW_CONNECTIONS false")
        self._trees(state, back=False)
        self.base[state] = (self.picture(LIVE), self.picture(PREVIOUS))  # type: ignore[assignment]
        self.code[state] = self.picture(LIVE, webroot=True).webroot  # type: ignore[union-attr]

    def _store(self, *, back: bool) -> None:
        """The sets: one of production, one baseline of test."""
        kept = self.folder / "kept-store"
        one, other = (kept, self.store) if back else (self.store, kept)
        same(one, other)
        shutil.rmtree(self.prod_stage_dir, ignore_errors=True)
        for queue in self.queues:
            queue.touch()

    def _alone(self, dbname: str) -> None:
        self.test.cluster.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{dbname}' AND pid <> pg_backend_pid()"
        )

    def _settings(self, dbname: str) -> None:
        """What CREATE DATABASE ... TEMPLATE does not bring along."""
        self.test.cluster.psql(
            f"ALTER DATABASE {dbname} SET timezone = 'Europe/Zurich';"
            f"REVOKE ALL ON DATABASE {dbname} FROM PUBLIC;"
            f"GRANT CONNECT ON DATABASE {dbname} TO biso_statistik;"
        )

    def _trees(self, state: str, *, back: bool) -> None:
        kept = self.folder / f"kept-{state}"
        pairs = [(self.test.webroot, kept / "webroot"), (self.stage_dir, kept / "stage")]
        for live, copy in pairs:
            one, other = (copy, live) if back else (live, copy)
            if not one.exists():
                shutil.rmtree(other, ignore_errors=True)
                continue
            other.mkdir(parents=True, exist_ok=True)
            same(one, other)

    # --- pictures ---------------------------------------------------------------------------------

    def picture(self, dbname: str, *, webroot: bool = False) -> Picture | None:
        """What is kept under this database's name, with the data dir that belongs to it, and the
        webroot where it is asked for."""
        places = {
            LIVE: self.test.webroot / "data",
            STAGE: self.stage_dir / "stage" / "data",
            PREVIOUS: self.stage_dir / "previous" / "data",
        }
        database = self.database(self.test, dbname)
        tree = tree_picture(places[dbname])
        if not database and not tree:
            return None
        if not webroot:
            return Picture(database, tree)
        code = {
            LIVE: self.test.webroot,
            STAGE: self.stage_dir / "stage" / "webroot",
            PREVIOUS: self.stage_dir / "previous" / "webroot",
        }
        return Picture(database, tree, tree_picture(code[dbname], without={"data", *_CONFIG}))

    def database(self, instance: Instance, dbname: str) -> str:
        cluster = instance.cluster
        try:
            with psycopg.connect(
                host=str(cluster.socket_dir), port=cluster.port, user=cluster.superuser,
                dbname=dbname, autocommit=True,
            ) as connection:  # fmt: skip
                return _hash(fingerprint(connection))
        except psycopg.OperationalError as error:
            if "does not exist" in str(error):
                return ""
            if "not currently accepting" in str(error):
                return "closed"
            raise

    def prod_picture(self) -> Picture:
        tree = tree_picture(self.prod.datadir) + tree_picture(self.prod.webroot)
        return Picture(self.database(self.prod, "biso"), tree)

    def databases(self) -> dict[str, dict[str, Any]]:
        """Every database of the test server that is the site's: who owns it, who may connect."""
        rows = self.test.cluster.psql(
            "SELECT json_object_agg(datname, json_build_object('owner', pg_get_userbyid(datdba),"
            " 'acl', (SELECT array_agg(a::text ORDER BY 1) FROM unnest(datacl) a),"
            " 'open', datallowconn,"
            " 'set', (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid)))"
            f" FROM pg_database d WHERE datname ~ '^biso' AND NOT datname ~ '{_APART}'"
        )
        return dict(json.loads(rows))

    def ask(self, path: str = "") -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")

    # --- running ----------------------------------------------------------------------------------

    def sshd(self, *names: str) -> list[int]:
        servers = load_servers(self.site.home / "ssh")
        return [s.process.pid for s in servers if s.alias.removeprefix("biso-demo-") in names]

    def spec(self, **fault: Any) -> dict[str, Any]:
        where = self.folder / "fault"
        shutil.rmtree(where, ignore_errors=True)
        (where / "steps").mkdir(parents=True)
        at = fault["at"] = fault.get("at") or fault.get("of", "test")
        if fault.get("act") == "full":
            fault = {"fill": str(fault_hosts.disk(self, at) / "filler"), "leave": 0, **fault}
        return {
            "act": "none",
            "side": "before",
            "reached": str(where / "reached"),
            "capture": str(where / "capture"),
            "asked": str(where / "asked"),
            "clock": str(self.folder / "clock"),
            "stopped": str(where / "stopped"),
            "resume": str(where / "resume"),
            "steps": str(where / "steps"),
            "trace": str(where / "trace.json"),
            "sshd": self.sshd(*fault.pop("cut", ("prod", "test"))),
            "flag": str((self.test if fault.get("of") == "test" else self.prod).datadir
                        / "maintenance.on"),
            "postmaster": (self.prod if at == "prod" else self.test).cluster.process.pid,
            **fault,
        }  # fmt: skip

    def start(
        self, spec: dict[str, Any], *words: str, there: bool = False
    ) -> subprocess.Popen[str]:
        where = self.folder / "fault"
        name = f"spec-{uuid.uuid4().hex[:6]}.json"
        (where / name).write_text(json.dumps(spec), "utf-8")
        with (
            (where / f"{name}.out").open("w", encoding="utf-8") as out,
            (where / f"{name}.err").open("w", encoding="utf-8") as err,
        ):
            return subprocess.Popen(
                [sys.executable, str(DRIVER), str(where / name), *words],
                cwd=self.folder / f"{'there' if there else 'here'}-{self.over}",
                env=self.environ(there=there),
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True,
                start_new_session=True,
            )  # fmt: skip

    def environ(self, *, there: bool = False) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BISO", "XDG"))}
        home = self.folder / ("home-there" if there else "home-here")
        home.mkdir(exist_ok=True)
        path = f"{self.folder / 'fake'}:{self.site.bin_dir}:{inherited['PATH']}"
        return {**inherited, "HOME": str(home), "PATH": path, "TMPDIR": str(self.temp),
                "BISO_FAULTS_WORLD": str(self.folder), "PYTHONWARNINGS": "default"}  # fmt: skip

    def run(
        self, spec: dict[str, Any], *words: str, there: bool = False, seconds: float = 120
    ) -> Run:
        """Run to its end, taking the stage's picture and restarting PostgreSQL when asked to."""
        child = self.start(spec, *words, there=there)
        return self.finish(child, spec, seconds=seconds)

    def finish(
        self, child: subprocess.Popen[str], spec: Mapping[str, Any], *, seconds: float = 120
    ) -> Run:
        stage: Picture | None = None
        # A refresh leaves it, and what a test does to the code is no refresh's affair.
        webroot = "restore" in child.args  # type: ignore[operator]
        until = time.monotonic() + seconds
        capture, asked = Path(spec["capture"]), Path(spec["asked"])
        while child.poll() is None:
            if time.monotonic() > until:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                fault_hosts.heal(self, spec)
                raise AssertionError(f"it hung for {seconds:.0f} s: {self._said(child)}")
            if capture.exists():
                stage = self.picture(LIVE if self.in_place else STAGE, webroot=webroot)
                capture.unlink()
            if asked.exists():
                fault_hosts.act(self, asked.read_text("utf-8"), spec)
                asked.unlink()
            time.sleep(0.01)
        fault_hosts.heal(self, spec)
        out, err = self._said(child)
        return Run(child.returncode, out, err, Path(spec["reached"]).exists(), stage, webroot)

    def _said(self, child: subprocess.Popen[str]) -> tuple[str, str]:
        name = Path(str(child.args[2])).name  # type: ignore[index]
        where = self.folder / "fault"
        return tuple((where / f"{name}.{kind}").read_text("utf-8") for kind in ("out", "err"))  # type: ignore[return-value]

    @contextlib.contextmanager
    def configured(self, **sections: str) -> Iterator[None]:
        """While inside, every checkout's biso.toml has these lines more in these
        sections. `{ssh}` in them is the way to test's host."""
        before = {}
        for place in ("here", "there"):
            for over in ("local", "ssh"):
                config = self.folder / f"{place}-{over}" / "biso.toml"
                text = before[config] = config.read_text("utf-8")
                for name, lines in sections.items():
                    head = f"[{name}]\n"
                    if head not in text:
                        text += f"\n{head}"
                    at = text.index(head) + len(head)
                    text = f"{text[:at]}{lines}\n{text[at:]}"
                way = self.test.ssh if over == "ssh" else ""
                config.write_text(text.replace("{ssh}", way), "utf-8")
        try:
            yield
        finally:
            for config, text in before.items():
                config.write_text(text, "utf-8")

    def restart_database(self, name: str) -> None:
        instance: Instance = getattr(self.site, name)
        before = instance.cluster
        for _ in range(500):
            if not before.running():
                break
            time.sleep(0.02)
        cluster = start_cluster(before.directory, bins=before.bins)
        assert cluster.port == before.port
        object.__setattr__(instance, "cluster", cluster)

    def recover(self) -> Run:
        """From another machine, right away."""
        return self.run(self.spec(), "recover", "--json", there=True)

    # --- what must hold ---------------------------------------------------------------------------

    def check(self, run: Run, *, rollback: bool = False) -> str:
        """Everything that must hold once all is recovered. Gives "old" or "new"."""
        live = self.picture(LIVE, webroot=run.webroot)
        previous = self.picture(PREVIOUS, webroot=run.webroot)
        old, before = self._base(run)
        new = before if rollback else run.stage
        problems = []
        if (live, previous) == (old, before):
            served = "old"
        elif new is not None and (live, previous) == (new, before if self.in_place else old):
            served = "new"
        else:
            served = "neither"
            known = {"old": old, "new": new, "previous": before}
            problems.append(f"live is {_which(live, known)}, previous is {_which(previous, known)}")
        status, text = self.ask()
        if status != 200:
            problems.append(f"the site answers {status}: {text[:200]}")
        if (self.test.webroot / "config.php").read_bytes() != self.config:
            problems.append("test's own config.php is not served")
        databases = self.databases()
        wanted = {LIVE} | ({PREVIOUS} if previous else set())
        if set(databases) != wanted:
            problems.append(f"databases {sorted(databases)}, expected {sorted(wanted)}")
        for name, facts in databases.items():
            if not facts["open"]:
                problems.append(f"{name} allows no connections")
        if databases.get(LIVE) != self.acl:
            problems.append(f"{LIVE}: {databases.get(LIVE)}, before {self.acl}")
        problems += self.left_behind()
        if self.prod_picture() != self.prod_before:
            problems.append("production was changed")
        if (self.prod.datadir / "maintenance.on").exists():
            problems.append("production is in maintenance")
        problems += [f"{one.name} does not" for one in self.queues if not one.exists()]
        assert not problems, "; ".join(problems) + f"\n{run.err[-3000:]}"
        return served

    def served_now(self, run: Run, *, rollback: bool = False) -> str:
        """Before any recovery: "maintenance", or what answers, by its database and its files."""
        status, text = self.ask()
        if status == 503:
            return "maintenance"
        if status != 200:
            return f"broken: {status} {text[:100]}"
        old, before = self._base(run)
        known = {"old": old, "new": before if rollback else run.stage}
        return _which(self.picture(LIVE, webroot=run.webroot), known)

    def _base(self, run: Run) -> tuple[Picture, Picture | None]:
        """What was live and previous before the run: only a restore's has a webroot."""
        old, before = self.base[self.state]
        return replace(old, webroot=self.code[self.state]) if run.webroot else old, before

    def left_behind(self, *, seconds: float = 8) -> list[str]:
        """Files, directories, processes and sessions that nobody needs any more."""
        found: list[str] = []
        for name in (
            "stage",
            "moving",
            "in-place",
            "intent.json",
            "lock",
            "owner",
            ".intent.json.new",
        ):
            if (self.stage_dir / name).exists():
                found.append(f"{self.stage_dir.name}/{name} is left")
        if self.stage_dir.exists():
            known = {"previous", "instance.json", ".htaccess"}
            found += [
                f"{one.name} is left" for one in self.stage_dir.iterdir() if one.name not in known
            ]
        if self.prod_stage_dir.exists():
            found += [f"{one.name} of production is left" for one in self.prod_stage_dir.iterdir()]
        until = time.monotonic() + seconds
        while (more := [*self._processes(), *self._files(), *self._sessions()]) and (
            time.monotonic() < until
        ):
            time.sleep(0.1)
        return list(dict.fromkeys(found + more))

    def _processes(self) -> list[str]:
        """Processes that descend from our sshd or from a run, our own daemons left out."""
        mine = {os.getpid(), os.getppid()}
        found = {}
        for pid in self.sshd("prod", "test"):
            for one in descendants(Running(pid, "")):
                found[one.pid] = "of a session"
        mark = f"BISO_FAULTS_WORLD={self.folder}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(entry.name) not in mine and mark in (entry / "environ").read_bytes():
                    found[int(entry.name)] = "of a run"
        said = []
        for pid, what in found.items():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if words:
                    said.append(f"process {what} is left: {words[:200]}")
        return said

    def _files(self) -> list[str]:
        # `phpXXXXXX` and `bisoXXXXXX` are the application's own, of a biso-cli that was ended: PHP
        # removes them itself, but for a signal. Ours begin with ".biso".
        own = re.compile(r"(php|biso)[A-Za-z0-9]{6}")
        found = [
            f"temporary file {one} is left"
            for one in self.temp.iterdir()
            if not own.fullmatch(one.name)
        ]
        found += [
            f"{one} is left"
            for instance in (self.test, self.prod)
            for one in self.in_memory(instance)
        ]
        return found

    def in_memory(self, instance: Instance) -> list[Path]:
        """Files of ours outside every folder: a world's own, by the port of its PostgreSQL."""
        found = []
        for one in [*Path("/dev/shm").glob(".biso*"), *Path("/tmp").glob(".biso.*")]:
            with contextlib.suppress(OSError):
                if str(instance.cluster.port).encode() in one.read_bytes():
                    found.append(one)
        return found

    def _sessions(self) -> list[str]:
        found = []
        for instance in (self.test, self.prod):
            rows = instance.cluster.psql(
                "SELECT datname, application_name, left(query, 60) FROM pg_stat_activity WHERE "
                "backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            found += [f"session on {instance.name} is left: {row}" for row in rows.splitlines()]
        return found

    def _stop_leftovers(self) -> None:
        """Between cases only: one failure must not make the next ones fail."""
        for pid in self.sshd("prod", "test"):
            for one in descendants(Running(pid, "")):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        mark = f"BISO_FAULTS_WORLD={self.folder}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
        for one in self.temp.iterdir():
            shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink()
        (self.prod.datadir / "maintenance.on").unlink(missing_ok=True)

    # --- counting ---------------------------------------------------------------------------------

    def points(self, recipe: str, state: str) -> dict[str, list[str]]:
        """Every verb of a run without a fault, by scope, found by running it once."""
        key = (f"{recipe} {self.over}", state)
        if key not in self.counted:
            self.reset(state)
            spec = self.spec(of="test" if recipe == "baseline" else "prod")
            run = self.run(spec, *self.words(recipe))
            assert run.code == 0, run.err
            if any(step.uses in SWAPS for step in recipes().get(recipe, [])):
                assert self.check(run, rollback=recipe == "rollback") == "new"
            self.counted[key] = json.loads(Path(spec["trace"]).read_text("utf-8"))
        return self.counted[key]


def build(folder: Path) -> World:
    """A site with two SSH servers, two clusters and a web server, and its two states."""
    demo = fault_hosts.own_disks(folder, site.build(folder, ssh=True, scale=0.02))
    # Bash that sshd starts reads bashrc: a slow one of this machine would be paid at every command.
    for server in load_servers(demo.home / "ssh"):
        config = demo.home / "ssh" / f"{server.alias}.sshd_config"
        text = config.read_text("utf-8")
        first = f'SetEnv "PATH={folder / "fake"}:'
        config.write_text(text.replace('SetEnv "PATH=', f"SetEnv SHLVL=1 {first[7:]}"), "utf-8")
        os.kill(server.process.pid, signal.SIGHUP)
    (folder / "fake").mkdir()
    fault_hosts.date_of_its_own(folder)
    # short: ssh's control sockets have about a hundred bytes
    temp = Path(tempfile.mkdtemp(prefix="bf-", dir="/tmp"))
    world = World(demo, folder, demo.serve(demo.test), temp)
    for place in ("here", "there"):
        for over in ("ssh", "local"):
            checkout = folder / f"{place}-{over}"
            checkout.mkdir(exist_ok=True)
            (checkout / "biso.toml").write_text(world_config(demo, world.url, over), "utf-8")
    world._settings(LIVE)
    world.acl = world.databases()[LIVE]
    world.config = (demo.test.webroot / "config.php").read_bytes()
    for queue in world.queues:
        queue.touch()
    world.keep("first")
    world.state = "first"
    ready(world)
    world.over = "local"
    for recipe in ("backup", "refresh-test", "baseline"):
        run = world.run(world.spec(), *world.words(recipe))
        assert run.code == 0, run.err
    # What production has and its set has not: it has to be copied by the next one.
    for number in range(6):
        (demo.prod.datadir / f"neu {number}.pdf").write_bytes(os.urandom(3000))
    world.prod_before = world.prod_picture()
    world.keep("again")
    world._store(back=False)
    return world


def ready(world: World) -> None:
    """Wait until both SSH servers listen again."""
    for alias in ("biso-demo-prod", "biso-demo-test"):
        for _ in range(50):
            words = ["ssh", "-F", str(world.site.home / "ssh" / "config"), alias, "true"]
            if subprocess.run(words, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.05)


def world_config(demo: DemoSite, url: str, over: str) -> str:
    """biso.toml as any machine may have it: nothing in it is relative."""
    php = str(demo.test.php)
    common = {"php": [php], "biso_cli": [php, "biso-cli"]}
    prod, test = (_services(demo.root / f"running-{name}") for name in ("prod", "test"))
    ssh = demo.home / "ssh"
    return tomli_w.dumps(
        {
            "site": {"name": "faults"},
            "environments": {
                "prod": {"role": "production", "ssh": demo.prod.ssh * (over == "ssh"),
                         "webroot": str(demo.prod.webroot), "services": prod, **common},
                "test": {"role": "test", "ssh": demo.test.ssh * (over == "ssh"), "url": url,
                         "webroot": str(demo.test.webroot), "services": test, **common},
            },
            "ssh": {"config": str(ssh / "config"), "known_hosts": str(ssh / "known_hosts")},
            "refresh": {"from": "prod", "to": "test", "files": {"import/**": "skip"}},
            "backup": {"path": str(demo.root / "backups"), "hold": ["queue"]},
        }
    )  # fmt: skip


def same(one: Path, other: Path) -> None:
    # Without the window, two files of one second and one size are the same to rsync.
    options = ["-aH", "--delete", "--modify-window=-1"]
    subprocess.run(["rsync", *options, f"{one}/", f"{other}/"], check=True)


def _services(file: Path) -> dict[str, Any]:
    """A queue runner: it runs while the file is there."""
    name = str(file) + "-{service}"
    return {"kind": "command", "stop": ["queue"], "stop_command": ["rm", "-f", name],
            "start_command": ["touch", name], "status_command": ["test", "-e", name]}  # fmt: skip


def tree_picture(folder: Path, *, without: Collection[str] = ()) -> str:
    """Names, kinds, modes, owners, contents and (of files) times; "" where there is nothing.
    `without` names at its top."""
    if not folder.exists():
        return ""
    lines = []
    for parent, names, leaves in os.walk(folder):
        if Path(parent) == folder:
            names[:] = [name for name in names if name not in without]
            leaves = [name for name in leaves if name not in without]
        for name in [*names, *leaves]:
            if name in _IGNORED:
                continue
            path = Path(parent, name)
            facts = path.lstat()
            line = f"{path.relative_to(folder)} {facts.st_mode:o} {facts.st_uid}:{facts.st_gid}"
            if path.is_symlink():
                line += f" -> {os.readlink(path)}"
            elif path.is_file():
                line += f" {facts.st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            lines.append(line)
    return _hash(sorted(lines))


def _hash(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _kept(state: str, dbname: str) -> str:
    return f"biso_test_kept_{state}_{'live' if dbname == LIVE else 'previous'}"


def _which(picture: Picture | None, known: Mapping[str, Picture | None]) -> str:
    if picture is None:
        return "nothing"
    for name, one in known.items():
        if one == picture:
            return name
    rows = [name for name, one in known.items() if one and one.database == picture.database]
    trees = [name for name, one in known.items() if one and one.tree == picture.tree]
    codes = [name for name, one in known.items() if one and one.webroot == picture.webroot]
    mix = ((rows, "rows"), (trees, "files"), (codes, "webroot"))
    return "a mix: " + ", ".join(f"{what} of {names or 'no run'}" for names, what in mix)
