"""A set of the real `backup`, put back by what its RESTORE.md says and nothing else: its blocks are
pasted into an interactive shell, on another server and into empty folders, and what stands there
afterwards is compared with what was backed up."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from set_world import biso, forget_sets, site

AWKWARD = Path(__file__).parent / "parts/awkward.sql"
PLUGINS = Path(__file__).parents[2] / "plugins"
PATIENCE = 120.0

GRANTS = """
WITH given(what, acl, owner) AS (
    SELECT c.oid::regclass::text, relacl, relowner FROM pg_class c
    UNION ALL SELECT attrelid::regclass || '.' || attname, attacl, relowner
      FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    UNION ALL SELECT 'schema ' || nspname, nspacl, nspowner FROM pg_namespace
    UNION ALL SELECT oid::regprocedure::text, proacl, proowner FROM pg_proc
    UNION ALL SELECT 'type ' || oid::regtype, typacl, typowner FROM pg_type
    UNION ALL SELECT 'large object', lomacl, lomowner FROM pg_largeobject_metadata
    UNION ALL SELECT 'default ' || defaclnamespace::regnamespace || defaclobjtype::text, defaclacl,
      defaclrole FROM pg_default_acl
)
SELECT what, pg_get_userbyid(owner), grantee::regrole::text, privilege_type, is_grantable
  FROM given, aclexplode(acl)
 WHERE what !~ '^(pg_|information_schema|schema (pg_|information_schema))'
"""


class Person:
    """Somebody at a terminal: an interactive shell that is given one block after the other."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.terminal, inside = pty.openpty()
        attributes = termios.tcgetattr(inside)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(inside, termios.TCSANOW, attributes)
        environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb",
            "PS1": "", "PS2": "", **variables,
        }  # fmt: skip
        self.shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noediting", "-i"],
            stdin=inside, stdout=inside, stderr=inside, env=environment, cwd="/",
        )  # fmt: skip
        os.close(inside)
        self.said = ""

    def paste(self, block: str, *answers: tuple[str, str]) -> str:
        """What a block printed, or a command that asks: each of `answers` is a question and what is
        typed then. One that ends with an error fails the test."""
        begin = len(self.said)
        mark = f"block at {begin} ended with "
        # What asks throws away what was typed before and meanwhile.
        between = "; " if answers else "\n"
        end = f"printf '%s%s\\n' '{mark}' \"$?\""
        self._type(f"{block.rstrip()}{between}{end}\n")
        for question, answer in answers:
            self._await(question, begin)
            self._type(f"{answer}\n")
        found = self._await(f"{mark}([0-9]+)\r?$", begin)
        printed = self.said[begin : found.start()].replace("\r", "")
        assert found[1] == "0", f"exit {found[1]} of:\n{block}\n{printed}"
        return printed

    def _type(self, text: str) -> None:
        typed = text.encode()
        while typed:
            if select.select([self.terminal], [], [], 0)[0]:
                self._hear()
            if select.select([], [self.terminal], [], 0.1)[1]:
                typed = typed[os.write(self.terminal, typed[:512]) :]

    def _hear(self) -> None:
        self.said += os.read(self.terminal, 65536).decode("utf-8", "replace")

    def _await(self, pattern: str, begin: int) -> re.Match[str]:
        form = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + PATIENCE
        while (found := form.search(self.said, begin)) is None:
            assert time.monotonic() < end, f"waited for {pattern}:\n{self.said[begin:]}"
            if select.select([self.terminal], [], [], 1)[0]:
                self._hear()
        return found

    def leave(self) -> None:
        os.close(self.terminal)  # hangs up
        self.shell.kill()
        self.shell.wait()


def sections(guide: str) -> dict[str, list[str]]:
    """The blocks of RESTORE.md by the heading that they stand under, in their order."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^## ", guide, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        found[heading] = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found


def grants(cluster: Any, dbname: str) -> list[tuple[Any, ...]]:
    return sorted(cluster.rows(GRANTS, dbname), key=repr)


def top(folder: Path) -> tuple[int, ...]:
    found = folder.lstat()
    return found.st_mode, found.st_uid, found.st_gid


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of the person, with the passwords of the databases where psql looks for them."""
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    return folder


def pgpass(home: Path, password: str) -> None:
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    (home / ".pgpass").write_text(f"*:*:*:*:{escaped}\n")
    (home / ".pgpass").chmod(0o600)


def edit_config(instance: Any, port: int) -> str:
    """What a person changes in config.php: the port of the server."""
    return f"sed -i 's/{instance.cluster.port}/{port}/' \"$WEBROOT/config.php\""


def follow(
    folder: Path, home: Path, edited: str, password: str = "", **variables: str
) -> dict[str, str]:
    """Do what the set's RESTORE.md says, in its order: `edited` is what it leaves to the person in
    config.php, `password` the one that a role is to be given. What the sections printed."""
    guide = (folder / "RESTORE.md").read_text()
    (give,) = set(re.findall(r"`(as_admin [^`]*\\password [^`]*)`", guide))
    temporary = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="biso-hand-tmp-"))
    temporary.chmod(0o1777)  # the application's user writes there as well
    person = Person(home, TMPDIR=str(temporary), **variables)
    said: dict[str, str] = {}
    try:
        for heading, blocks in sections(guide).items():
            for block in blocks:
                said[heading] = said.get(heading, "") + person.paste(block)
                if "CREATE ROLE" in block and password:
                    person.paste(give, ("Enter new password", password), ("again", password))
            if heading == "config.php":
                person.paste(edited)
    finally:
        person.leave()
        left = [one.name for one in temporary.iterdir()]
        shutil.rmtree(temporary)
    assert left == [], "what the guide made for itself, or the application"
    return said


def require_equal(instance: Any, cluster: Any, names: list[str], webroot: Path, data: Path) -> None:
    for name in names:
        theirs, ours = instance.cluster.fingerprint(name), cluster.fingerprint(name)
        for what in theirs:
            assert ours[what] == theirs[what], (name, what)
        theirs, ours = instance.cluster.catalog(name), cluster.catalog(name)
        for what in theirs:
            assert ours[what] == theirs[what], (name, what)
        assert grants(cluster, name) == grants(instance.cluster, name)
        assert cluster.properties(name) == instance.cluster.properties(name)
    assert instance.cluster.fingerprint(names[0])["large_objects"]
    assert {"biso_statistik", instance.role} <= {one[2] for one in grants(cluster, names[0])}
    wanted, found = instance.tree(), instance.tree(data)
    assert set(found) == set(wanted)
    for path, entry in wanted.items():
        assert found[path] == entry, path
    code, there = code_of(instance, instance.webroot), code_of(instance, webroot)
    assert set(there) == set(code)
    config = b"config.php"
    assert there.pop(config)[:4] == code.pop(config)[:4], "its mode and owners"
    for path, entry in code.items():
        assert there[path] == entry, path
    assert top(webroot) == top(instance.webroot) and top(data) == top(instance.datadir)
    assert (data / "tmp").is_dir() and list((data / "tmp").iterdir()) == []


def code_of(instance: Any, webroot: Path) -> dict[bytes, Any]:
    """Every entry of a webroot but the data dir and what is in it."""
    tree = instance.tree(webroot)
    if instance.datadir.parent != instance.webroot:
        return dict(tree)
    return {path: one for path, one in tree.items() if path.partition(b"/")[0] != b"data"}


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = Path("/var/tmp") / f"biso-hand-{os.getpid()}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def test_production_comes_back_by_hand_with_its_log_database(
    world: Any, home: Path, place: Path
) -> None:
    """Its data dir lies beside the webroot; the set was made over SSH by an ordinary login, so that
    owners and modes stand in METADATA alone. The server is as Debian has it: its superuser is let
    in over the socket only, and by peer."""
    prod, cluster = world.prod, world.test.cluster
    forget_sets(world)
    world.with_log_database("prod")
    cluster_rows(prod, "biso", "SET ROLE biso", ROWS)
    site(world, site={"plugins": [str(PLUGINS)]})
    folder = Path(biso(world, "backup").json["path"])
    webroot, data = place / "web root's", place / "daten/biso"
    pgpass(home, prod.password)
    try:
        said = follow(
            folder, home, edit_config(prod, cluster.port),
            WEBROOT=str(webroot), DATADIR=str(data), PGPORT=str(cluster.port),
        )  # fmt: skip
        require_equal(prod, cluster, ["biso", "biso_log"], webroot, data)
        assert "Keine offenen Migrationen" in said["Migrations, and out of maintenance"]
        quiet = ("Is the set whole?", "Owners, modes, times and links")
        assert {heading: said[heading].strip() for heading in quiet} == dict.fromkeys(quiet, "")
    finally:
        forget_databases(cluster, ["biso", "biso_log"], ["biso", "nur_prod"])
        forget_sets(world)


def test_an_instance_with_its_data_dir_in_the_webroot_comes_back_by_hand(
    plain_world: Any, home: Path, place: Path
) -> None:
    """Nobody could read the passwords of roles here, so that a person gives one; the dump is a
    directory."""
    world = plain_world
    test, cluster = world.test, world.prod.cluster
    forget_sets(world)
    world._awkward_files(test)
    awkward = AWKWARD.read_text().rpartition("GRANT")[0]
    test.cluster.psql(f"SET ROLE {test.role};\n{awkward}", test.dbname)
    site(world, backup={"format": "directory"})
    folder = Path(biso(world, "backup", "--env", "test").json["path"])
    webroot = place / "biso"
    pgpass(home, test.password)
    try:
        follow(
            folder, home, edit_config(test, cluster.port), test.password,
            WEBROOT=str(webroot), PGPORT=str(cluster.port),
        )  # fmt: skip
        require_equal(test, cluster, [test.dbname], webroot, webroot / "data")
    finally:
        forget_databases(cluster, [test.dbname], [test.role])
        forget_sets(world)


# Rows of just the lengths at which a filter that reads by lines could take one for two.
ROWS = """
CREATE TABLE lange (n int, text text);
INSERT INTO lange SELECT n, repeat('x', n) FROM generate_series(985, 1005) AS n;
INSERT INTO lange SELECT n, repeat('y', n * 1000 - 5) FROM generate_series(1, 3) AS n
"""


def cluster_rows(instance: Any, dbname: str, *statements: str) -> None:
    instance.cluster.psql(";\n".join(statements) + ";\n", dbname)


def forget_databases(cluster: Any, databases: list[str], roles: list[str]) -> None:
    for name in databases:
        cluster.rows(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    for role in roles:
        cluster.rows(f"DROP ROLE IF EXISTS {role}")
