"""Real restic and rclone, from Debian; an S3 server on loopback that checks signatures (a newer
rclone's, from PyPI). Actions run as a run runs them: with the context, the session and the host."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.kit import Context, Work
from biso_tasks.config.load import load as load_site
from biso_tasks.errors import BisoError, ConfigError, ProofFailed, Refused, StepFailed
from biso_tasks.flow.plan import Scope, Step
from biso_tasks.flow.spec import StepSpec
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.types import Action
from biso_tasks.session import Session

Load = Callable[..., PluginManager]
ROOT = Path(__file__).parents[2]
PASSWORD = "geheim $(x) 'ä\""
KEY, KEY_SECRET = "AKIAOFFSITE", "s3cret-of-the-bucket"
ID = "20261120_031500-prod"
restic = pytest.mark.needs("restic")
rclone = pytest.mark.needs("rclone")
s3_server = pytest.mark.needs("s3 server")


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("offsite_under_test", ROOT / "plugins/offsite.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


plugin = _module()


# -- parts --


def tool(*words: str, **env: str) -> bytes:
    done = subprocess.run(
        words, env={**os.environ, **env}, input=PASSWORD.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: restic looks for a slow enough key derivation when it makes one."""
    path = tmp_path_factory.mktemp("restic") / "repository"
    tool("restic", "--repo", str(path), "--password-file", "/dev/stdin", "init")
    return path


@dataclass
class S3:
    """One server a test, started when what it serves is in place: it remembers folders."""

    root: Path
    port: int = 0
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        (self.root / "bucket").mkdir(exist_ok=True)
        program = Path(sysconfig.get_path("scripts")) / "rclone"
        words = ["--config", os.devnull, "serve", "s3", "--addr", f"127.0.0.1:{self.port}"]
        words += ["--auth-key", f"{KEY},{KEY_SECRET}", str(self.root)]
        quiet = subprocess.DEVNULL
        server = self.stack.enter_context(
            subprocess.Popen([program, *words], stdout=quiet, stderr=quiet)
        )
        self.stack.callback(server.terminate)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("the S3 server does not answer")


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    (tmp_path / "s3").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = S3(tmp_path / "s3", port)
    with found.stack:
        yield found


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a temporary folder of the test's own, and no keys from outside."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "RESTIC_", "RCLONE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("BISO_SET", raising=False)
    for name, value in (("HOME", "home"), ("TMPDIR", "tmp")):
        (tmp_path / value).mkdir(exist_ok=True)
        monkeypatch.setenv(name, str(tmp_path / value))


# -- a set, as the core seals it --


def make_set(store: Path, id: str = ID, *, areas: tuple[str, ...] = (), dump: bytes = b"") -> Path:
    path = store / "sets" / id
    (path / "webroot").mkdir(parents=True)
    path.chmod(0o700)
    files = {
        b"webroot/index.php": b"<?php\n",
        b"data/-rf": b"minus",
        "data/Größe $(x) [1]*.pdf".encode(): b"umlaut",
        b"data/new\nline": b"lines",
        b"data/back\\slash": b"slash",
        b"data/b\xffc": b"not utf-8",
        b"data/sparse": bytes(1 << 20),
        b"db/biso.sql.gz": dump or os.urandom(50_000),
        b"METADATA": b"",
        b"RESTORE.md": b"# How\n",
    }
    areas = areas or ("webroot", "data", "database")
    files[b"manifest.toml"] = f'id = "{id}"\nareas = {json.dumps(areas)}\n'.encode()
    for folder in ("data/leer", "db"):
        (path / folder).mkdir(parents=True)
    entries: dict[bytes, tuple[str, bytes]] = {
        b"webroot": ("d", b""), b"data": ("d", b""), b"data/leer": ("d", b""),
        b"data/link": ("l", b"/nowhere here"), b"data/zwei": ("h", b"data/-rf"),
    }  # fmt: skip
    root = os.fsencode(path)
    for name, content in files.items():
        Path(os.fsdecode(root + b"/" + name)).write_bytes(content)
        if name.startswith((b"webroot/", b"data/")):
            entries[name] = ("f", b"")
    os.link(path / "data/-rf", path / "data/zwei")
    (path / "data/link").symlink_to("/nowhere here")
    os.utime(path / "data/-rf", ns=(0, 1_577_934_245_123_456_789))
    (path / "data/back\\slash").chmod(0o640)
    rows = [
        b"\0".join((name, kind.encode(), b"0700", b"root:root", b"1.000000000", target)) + b"\0"
        for name, (kind, target) in sorted(entries.items())
    ]
    (path / "METADATA").write_bytes(b"".join(rows))
    seal(path)
    return path


def seal(path: Path) -> None:
    found = subprocess.run(
        "find . -type f ! -path ./SHA256SUMS ! -path ./state.toml -printf '%P\\0' | sort -z"
        " | xargs -0 sha256sum -- >SHA256SUMS",
        shell=True, cwd=path, check=True,
    )  # fmt: skip
    assert found.returncode == 0
    sums = sha256((path / "SHA256SUMS").read_bytes()).hexdigest()
    (path / "state.toml").write_text(f'sums = "{sums}"\n')


def content(path: Path) -> dict[str, Any]:
    """What a set is, whatever its files' owners: METADATA has those."""
    found: dict[str, Any] = {}
    for one in sorted(path.rglob("*")):
        name = str(one.relative_to(path))
        if one.is_symlink():
            found[name] = f"-> {os.readlink(one)}"
        else:
            found[name] = sha256(one.read_bytes()).hexdigest() if one.is_file() else "folder"
    return found


# -- a site --


@dataclass
class World:
    folder: Path
    load: Load
    section: dict[str, Any]
    values: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    open: ExitStack = field(default_factory=ExitStack)

    @property
    def store(self) -> Path:
        return self.folder / "backups of $(x) ä"

    def make_set(self, id: str = ID, **more: Any) -> Path:
        path = make_set(self.store, id, **more)
        self.values = {"set.id": id, "set.path": str(path), "set.store": str(self.store)}
        return path

    def started(self, action: str, **params: Any) -> tuple[Action, Context[Work]]:
        (self.folder / "biso.toml").write_text(
            '[site]\nname = "Beratung, Zürich"\n'
            '[environments.prod]\nrole = "production"\nwebroot = "/nowhere"\nrun_as = "nobody"\n'
            '[environments.neu]\nrole = "production"\nwebroot = "/elsewhere"\n'
            f"[backup]\npath = {json.dumps(str(self.store))}\n"
        )
        site = load_site(self.folder / "biso.toml")
        manager = self.load(offsite=self.section)
        found = [
            one for _, given in manager.collect("biso_actions", site=site) for one in given
        ]  # fmt: skip
        session = self.open.enter_context(Session(site, manager, self.notes.append))
        work = Work(session, "task", "run")
        work.values = self.values
        work.places = {"source": "prod"}
        on = self.section.get("fetch_to", "prod") if action != "offsite-copy" else "source"
        step = Step(action, lambda scope: None)
        scope = Scope(step, threading.Event(), lambda *_: None, self.notes.append)
        context = Context(work, StepSpec(action, uses=action, on=on, params=params), scope)
        return next(one for one in found if one.name == action), context

    def act(self, action: str, **params: Any) -> Mapping[str, Any]:
        one, context = self.started(action, **params)
        return one.run(context) or {}

    def engine(self) -> Any:
        """What the actions drive, to look in between what they do."""
        _, context = self.started("offsite-copy")
        kind = plugin.Settings(**self.section)
        return plugin._engine(context.site, kind, context.work.session.hooks.secret, context)


@pytest.fixture
def world(tmp_path: Path, load: Load, keep_secret: Callable[..., Path]) -> Iterator[World]:
    keep_secret("offsite_password", PASSWORD + "\n")
    found = World(tmp_path, load, {})
    with found.open:
        yield found


def keys(world: World, secret: str = KEY_SECRET) -> str:
    file = world.folder / "offsite env"
    file.write_text(f"AWS_ACCESS_KEY_ID={KEY}\nexport AWS_SECRET_ACCESS_KEY='{secret}'\n")
    file.chmod(0o600)
    return str(file)


def set_up(world: World, kind: str, request: pytest.FixtureRequest) -> Path:
    """Where the repository lies, and the section that names it."""
    if kind == "restic":
        lies = world.folder / "repository ä"
        world.section |= {"tool": "restic", "repository": str(lies)}
        shutil.copytree(request.getfixturevalue("empty_repository"), lies)
        return lies
    s3: S3 = request.getfixturevalue("s3")
    lies = s3.root / "bucket/off"
    world.section |= {"environment_file": keys(world)}
    if kind == "restic s3":
        world.section |= {"tool": "restic", "repository": f"s3:{s3.url}/bucket/off"}
        shutil.copytree(request.getfixturevalue("empty_repository"), lies)
    else:
        config = world.folder / "rclone conf"
        config.write_text(
            f"[off]\ntype = s3\nprovider = Other\nendpoint = {s3.url}\nenv_auth = true\n"
        )
        world.section |= {"tool": "rclone", "config": str(config), "repository": "off:bucket/off"}
    s3.start()
    return lies


def in_bucket(world: World, *words: str) -> None:
    """What somebody else does to the bucket."""
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY_SECRET}
    tool("rclone", "--config", world.section["config"], *words, **env)


BOTH = [
    pytest.param("restic", "sample", marks=restic),
    pytest.param("restic s3", "all", marks=[restic, s3_server]),
    pytest.param("rclone s3", "sample", marks=[rclone, s3_server]),
    pytest.param("rclone s3", "all", marks=[rclone, s3_server]),
]


# -- there and back --


@pytest.mark.real
@pytest.mark.parametrize(("kind", "read_back"), BOTH)
def test_a_set_is_copied_read_back_and_fetched_when_its_host_is_gone(
    world: World, request: pytest.FixtureRequest, kind: str, read_back: str
) -> None:
    set_up(world, kind, request)
    world.section["read_back"] = read_back
    path = world.make_set()
    before = content(path)
    told = world.act("offsite-copy")["offsite"]
    # A sample leaves state.toml out, and rclone's the name with a line's end.
    files = {"all": 14, "sample": 12 if kind == "rclone s3" else 13}
    assert (told["set"], told["files"], told["compared"]) == (ID, 14, files[read_back])
    assert content(path) == before
    assert [one.name for one in world.store.iterdir()] == ["sets"]
    shutil.rmtree(world.store)

    world.section["fetch_to"] = "neu"
    told = world.act("offsite-fetch")
    assert told["path"] == str(path)
    assert content(path) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == [ID]
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=path, check=True)
    if kind.startswith("restic"):
        first = (path / "data/-rf").stat()
        assert (first.st_mtime_ns, first.st_nlink) == (1_577_934_245_123_456_789, 2)
    assert list((world.folder / "tmp").iterdir()) == []

    with pytest.raises(StepFailed, match="the set is there already"):
        world.act("offsite-fetch", set=ID)


@pytest.mark.real
@restic
def test_what_did_not_change_since_the_set_before_is_not_sent_again_and_old_copies_go(
    world: World, request: pytest.FixtureRequest
) -> None:
    lies = set_up(world, "restic", request)
    foreign = ("--tag", "biso-tasks,site=another,set=20200101_000000-prod", os.devnull)
    words = ("restic", "--repo", str(lies), "--password-file", "/dev/stdin")
    tool(*words, "backup", *foreign)
    dump = os.urandom(400_000)
    sizes = []
    engine = world.engine()
    for day in (20, 21):
        path = world.make_set(f"202611{day}_031500-prod", dump=dump)
        one = plugin._read(engine.shell, str(path))
        engine.prove(one, engine.store(one, engine.copies()))
        sizes.append(sum(file.stat().st_size for file in lies.rglob("*") if file.is_file()))
    assert sizes[0] > 400_000
    assert sizes[1] - sizes[0] < 60_000
    assert engine.forget(one, 1) == 1
    left = json.loads(tool(*words, "snapshots", "--json"))
    found = [tag[4:12] for one in left for tag in one["tags"] if tag.startswith("set=")]
    assert sorted(found) == ["20200101", "20261121", "20261121"]


# -- the comparison can fail --


@pytest.mark.real
@restic
def test_a_restic_copy_that_is_not_what_was_sealed_does_not_count(
    world: World, request: pytest.FixtureRequest
) -> None:
    lies = set_up(world, "restic", request)
    path = world.make_set()
    engine = world.engine()
    one = plugin._read(engine.shell, str(path))
    kept = {name: (path / name).read_bytes() for name in ("db/biso.sql.gz", "data/-rf")}
    (path / "db/biso.sql.gz").write_bytes(b"other")
    (path / "data/-rf").unlink()
    copy = engine.store(one, [])
    for name, was in kept.items():
        (path / name).write_bytes(was)
    for names in (None, plugin._sample(one.sums)):
        with pytest.raises(
            ProofFailed, match=r"1 not there \('data/-rf'\); 1 different \('db/biso"
        ):
            engine.read_back(one, copy, names)
    assert [found.proven for found in engine.copies()] == [False]
    with pytest.raises(Refused, match="no copy of latest"):
        world.act("offsite-fetch")

    # The storage behind a repository rots: restic says so.
    good = engine.store(one, [])
    packs = [one for one in (lies / "data").rglob("*") if one.is_file()]
    pack = max(packs, key=lambda one: one.stat().st_size)
    pack.chmod(0o600)
    with pack.open("r+b") as handle:
        handle.seek(20_000)
        handle.write(b"rotten")
    with pytest.raises(StepFailed, match="ciphertext verification failed"):
        engine.read_back(one, good, None)


@pytest.mark.real
@rclone
@s3_server
@pytest.mark.parametrize("harm", ["other", "gone", "more", "host"])
def test_an_rclone_copy_that_is_not_what_was_sealed_does_not_count(
    world: World, request: pytest.FixtureRequest, harm: str
) -> None:
    set_up(world, "rclone s3", request)
    path = world.make_set()
    engine = world.engine()
    one = plugin._read(engine.shell, str(path))
    copy = engine.store(one, [])
    there = f"off:bucket/off/{ID}/data"
    if harm == "host":
        (path / "data/-rf").write_bytes(b"MINUS")
    elif harm == "gone":
        in_bucket(world, "deletefile", f"{there}/-rf")
    else:
        in_bucket(world, "rcat", f"{there}/{'-rf' if harm == 'other' else 'more'}")
    expected = {
        "host": "files are not what SHA256SUMS says",
        "gone": r"1 not there \('data/-rf'\)",
        "more": r"1 not of the set \('data/more'\)",
        "other": r"1 different \('data/-rf'\)",
    }
    with pytest.raises(ProofFailed, match=expected[harm]):
        engine.read_back(one, copy, None)
    assert [found.proven for found in engine.copies()] == [False]


@pytest.mark.real
@rclone
@s3_server
def test_a_fetched_copy_that_was_damaged_since_is_no_set(
    world: World, request: pytest.FixtureRequest
) -> None:
    set_up(world, "rclone s3", request)
    world.make_set()
    world.act("offsite-copy")
    shutil.rmtree(world.store)
    in_bucket(world, "rcat", f"off:bucket/off/{ID}/db/biso.sql.gz")
    with pytest.raises(ProofFailed, match="files are not what SHA256SUMS says"):
        world.act("offsite-fetch")
    assert list((world.store / "sets").iterdir()) == []


# -- what can go wrong --


@pytest.mark.real
@restic
@s3_server
def test_failures_say_what_is_wrong_what_to_do_and_that_the_set_is_good(
    world: World, request: pytest.FixtureRequest, keep_secret: Callable[..., Path]
) -> None:
    set_up(world, "restic s3", request)
    path = world.make_set()
    good = dict(world.section)

    def said() -> str:
        with pytest.raises(BisoError) as caught:
            world.act("offsite-copy")
        assert "the set is good, at " + str(path) in caught.value.message
        assert PASSWORD not in str(caught.value)
        return str(caught.value)

    Path(good["environment_file"]).chmod(0o644)
    assert "chmod 600" in said()
    keys(world, "wrong")
    assert "refuses the keys" in said()
    keys(world)
    world.section["repository"] = f"{good['repository']}-none"
    assert "restic --repo s3:http" in said()
    world.section = {"repository": good["repository"], "password_file": f"{world.folder}/nope"}
    keep_secret_file = world.folder / "home/.config/biso-tasks/secrets/offsite_password"
    world.section = good
    keep_secret_file.write_text("another")
    assert "restic's password is another one" in said()
    keep_secret_file.unlink()
    assert "the secret 'offsite_password' is not there" in said()


@pytest.mark.real
def test_a_host_without_the_tool_is_told_what_to_install(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.section = {"tool": "rclone", "repository": "off:x"}
    world.make_set()
    programs = world.folder / "bin"
    programs.mkdir()
    for one in Path("/usr/bin").iterdir():
        if one.name != "rclone":
            (programs / one.name).symlink_to(one)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(StepFailed, match="prod: there is no rclone") as caught:
        world.act("offsite-copy")
    assert "apt install rclone" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fatal: unable to create lock in backend: repository is already locked by", "locked"),
        ("Fatal: write /x: no space left on device", "no room"),
        ("Fatal: dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the "
         "following location?", "not reached"),
        ("Failed to create file system: didn't find section in config file", "does not know"),
        ("something new", "restic ended with code 1: something new"),
    ],
)  # fmt: skip
def test_what_the_tools_say_is_told_with_what_it_means(text: str, expected: str) -> None:
    shell = plugin.Shell(None, plugin.Settings(repository="/r"), "prod", None)
    error = StepFailed(f"prod: `# offsite` ended with code 1: {text}")
    assert expected in str(shell._explained(error))


# -- secrets --


class Watch(threading.Thread):
    """What every process shows of itself, while something runs."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.words: set[bytes] = set()
        self.environments: dict[bytes, set[str]] = {}

    def run(self) -> None:
        while not self.over.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self.words.add((process / "cmdline").read_bytes())
                    name = (process / "comm").read_text().strip()
                    self.environments.setdefault((process / "environ").read_bytes(), set()).add(
                        name
                    )
                except OSError:
                    continue


@pytest.mark.real
@restic
@s3_server
def test_no_secret_is_in_an_argument_nor_in_the_environment_of_another_program(
    world: World, request: pytest.FixtureRequest
) -> None:
    set_up(world, "restic s3", request)
    secret = f"hunter2-{os.getpid()}"
    file = Path(world.section["environment_file"])
    file.write_text(file.read_text() + f"OFFSITE_MARK='{secret}'\n")
    world.make_set()
    watch = Watch()
    watch.start()
    try:
        world.act("offsite-copy")
    finally:
        watch.over.set()
        watch.join()
    assert any(words.startswith(b"restic\0") for words in watch.words)
    others = [words for words in watch.words if b"serve\0s3" not in words]
    for one in (PASSWORD.encode(), KEY_SECRET.encode(), secret.encode()):
        assert not [words for words in others if one in words]
    holders = {
        name
        for environment, names in watch.environments.items()
        if secret.encode() in environment
        for name in names
    }
    assert holders == {"restic"}
    assert not [one for one in watch.environments if PASSWORD.encode() in one]


# -- what comes from elsewhere --


@pytest.mark.parametrize("path", [b"/etc", b"../x", b"data/../../x", b"data/link/x", b"data//x"])
def test_metadata_that_leads_out_of_the_set_is_refused(path: bytes) -> None:
    def row(name: bytes, kind: bytes, target: bytes = b"") -> bytes:
        return b"\0".join((name, kind, b"0700", b"a:b", b"0.000000000", target)) + b"\0"

    known = row(b"data", b"d") + row(b"data/link", b"l", b"/etc")
    assert list(plugin._made_from(known)) == [b"d\0data\0\0", b"l\0data/link\0/etc\0"]
    with pytest.raises(ProofFailed, match="is in no folder"):
        list(plugin._made_from(known + row(path, b"d")))


def test_sums_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    path = make_set(tmp_path)
    names = dict(plugin._sums((path / "SHA256SUMS").read_bytes()))
    assert {"data/new\nline", "data/back\\slash", "data/b\udcffc"} <= names.keys()
    for line in (b"x", b"0" * 64 + b"  ../x", b"0" * 64 + b"  /etc/shadow"):
        with pytest.raises(ValueError, match="SHA256SUMS"):
            list(plugin._sums(line + b"\n"))


def test_latest_is_the_newest_complete_copy_that_was_read_back_of_what_is_backed_up() -> None:
    def copy(day: int, whose: str = "prod", kind: str = "full", proven: bool = True) -> Any:
        return plugin.Copy(f"202611{day}_031500-{whose}", kind, proven)

    def chosen(*copies: Any, word: str = "latest") -> str:
        return plugin._chosen(copies, word, "prod", "off:x").id[6:8]  # type: ignore[no-any-return]

    rest = (copy(14, kind="areas"), copy(15, proven=False), copy(16, "test"))
    assert chosen(copy(12), copy(13), *rest) == "13"
    assert chosen(*rest, copy(17, "test")) == "17"
    assert chosen(*rest, word="20261115_031500-prod") == "15"
    with pytest.raises(Refused, match="several environments"):
        chosen(copy(11, "a"), copy(12, "b"))
    with pytest.raises(Refused, match="no copy of latest"):
        chosen(*rest[:2])


# -- hooks --


@pytest.mark.real
@restic
def test_the_copies_are_listed_by_a_task_of_its_own(
    world: World, request: pytest.FixtureRequest
) -> None:
    lies = set_up(world, "restic", request)
    (world.folder / "biso.toml").write_text(
        f'[site]\nname = "s"\nplugins = ["{ROOT}/plugins"]\n'
        '[environments.prod]\nrole = "production"\nwebroot = "/nowhere"\n'
        f"[plugins.offsite]\nrepository = {json.dumps(str(lies))}\n"
    )

    def biso(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        env.pop("BISO_CONFIG", None)
        return subprocess.run(
            [sys.executable, "-m", "biso_tasks.cli.main", *words],
            cwd=world.folder, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert "Fetch the copy of a backup set (BISO_SET=ID" in biso("--list").stdout
    done = biso("offsite-list", "--json", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"][0]["name"] == "offsite-list"
    assert "no copies in" in done.stderr


def test_without_a_repository_it_does_nothing(load: Load) -> None:
    manager = load()
    site = SimpleNamespace(name="s", backup=SimpleNamespace(environment="prod", path="/b"))
    recipe = SimpleNamespace(name="backup", names=lambda: ("seal",))
    given = [manager.collect("biso_actions", site=site), manager.collect("biso_recipes", site=site)]
    given += [manager.collect("biso_steps", recipe=recipe, site=site)]
    assert [
        one for answers in given for name, all_ in answers if name == "offsite" for one in all_
    ] == []


def test_it_follows_the_step_that_seals(load: Load) -> None:
    manager = load(offsite={"repository": "/r"})
    steps = {
        name: dict(manager.collect("biso_steps", recipe=SimpleNamespace(name=name), site=None))
        for name in ("backup", "restore")
    }
    (one,) = steps["backup"]["offsite"]
    assert (one.name, one.after, one.on) == ("offsite-copy", "seal", "source")
    assert not steps["restore"].get("offsite")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"repository": "rest:https://me:secret@host/"}, "holds a password"),
        ({"tool": "rclone", "repository": ":s3,secret_access_key=x:b"}, "own config file"),
        ({"repository": "--delete"}, "begins with -"),
        ({"tool": "rclone", "repository": "a:b", "password_file": "/p"}, "not for rclone"),
        ({"repository": "/r", "config": "/p"}, "not for restic"),
        ({"repository": "/r", "password_file": "p"}, "begins with /"),
        ({"repository": "/r", "keep_last": 0}, "from 1"),
        ({"repository": "/r", "repository_file": "/f"}, "not both"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(
    load: Load, section: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load(offsite=section)
