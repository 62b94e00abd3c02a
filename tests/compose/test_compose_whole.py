"""A refresh into Docker compose, looked at whole: every row, sequence and large object, every file,
and what a user saw meanwhile.
"""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from biso_tasks.database.connect import connect
from biso_tasks.database.measure import fingerprint
from biso_tasks.database.server import Server
from biso_tasks.demo.data import PLANTED
from biso_tasks.host import LocalHost
from biso_tasks.values import Dsn, Secret

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs(
        "root", "postgresql (machine)", "php (machine)", "rsync", "setpriv", "namespaces",
        "locale de_CH.UTF-8",
    ),
]  # fmt: skip

WWW = 1082
PASSWORD = "p:a$s'\\w ö"
AWKWARD = Path(__file__).parents[1] / "e2e/parts/awkward.sql"
KEPT = {b"fop.xconf", b"phpdocxconfig.ini"}


@pytest.fixture
def full(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Production holds what real databases and data dirs hold; test's code is as old as its."""
    monkeypatch.setenv("PATH", world.environ["PATH"])
    max((world.webroot / "migrations").glob("*.sql")).unlink()
    prod = world.prod
    prod.psql("CREATE ROLE nur_prod NOLOGIN")
    words = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(prod.cluster.socket_dir), "-p",
             str(prod.cluster.port), "-U", prod.cluster.superuser, "-d", prod.dbname]  # fmt: skip
    text = f"SET ROLE {prod.user};\n" + AWKWARD.read_text("utf-8")
    subprocess.run(words, input=text.encode(), check=True, stdout=subprocess.DEVNULL)
    data = prod.datadir
    (data / "zwei\nZeilen $(id)").write_bytes(b"x\n")
    with (data / "luecken.bin").open("wb") as sparse:
        sparse.truncate(4 << 20)
    (data / "gruppe").mkdir()
    (data / "gruppe").chmod(0o2770)
    (data / "gruppe/programm").write_bytes(b"#!/bin/sh\n")
    (data / "gruppe/programm").chmod(0o4755)
    os.link(data / "gruppe/programm", data / "gruppe/dasselbe")
    (data / "gruppe/weit weg").symlink_to("../brief_vorlagen/Einladung.txt")
    (data / "leer").mkdir()
    return world


def rows_of_production(world: Any) -> dict[str, Any]:
    cluster = world.prod.cluster
    with psycopg.connect(
        host=str(cluster.socket_dir), port=cluster.port, user=cluster.superuser,
        dbname=world.prod.dbname, autocommit=True,
    ) as connection:  # fmt: skip
        return fingerprint(connection)


def rows_of_test(world: Any) -> dict[str, Any]:
    """By the way that goes through the container: there is no port."""
    host = LocalHost("test")
    prefix = ("docker", "compose", "--project-directory", str(world.project), "exec", "-T", "db")
    dsn = Dsn("127.0.0.1", 5432, "biso_test", "biso_test", Secret(PASSWORD))
    try:
        with connect(Server(host, dsn, prefix), autocommit=True) as connection:
            return fingerprint(connection)
    finally:
        host.close()


def tree(root: Path) -> dict[bytes, Any]:
    """Kind, mode, time, content or target of each entry, and which names are one file. Whose they
    are is told apart: in the container all belong to its own www-data."""
    found: dict[bytes, Any] = {}
    names: dict[int, list[bytes]] = {}
    top = os.fsencode(root)
    for here, folders, leaves in os.walk(top):
        for name in (*folders, *leaves):
            path = os.path.join(here, name)
            relative = os.path.relpath(path, top)
            if relative.startswith(b"tmp") or relative.endswith(b".log"):
                continue
            facts = os.lstat(path)
            content: Any = None
            if stat.S_ISLNK(facts.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(facts.st_mode):
                with open(path, "rb") as file:
                    content = sha256(file.read()).hexdigest()
                names.setdefault(facts.st_ino, []).append(relative)
            found[relative] = [facts.st_mode, facts.st_mtime_ns, content]
    for same in names.values():
        for relative in same:
            found[relative].append(sorted(same))
    return found


def owners(root: Path) -> set[tuple[int, int]]:
    return {(one.lstat().st_uid, one.lstat().st_gid) for one in [root, *root.rglob("*")]}


def test_every_row_and_every_file_comes_through_the_container(full: Any) -> None:
    world = full
    kept = {name: entry for name, entry in tree(world.datadir).items() if name in KEPT}
    theirs, files = rows_of_production(world), tree(world.prod.datadir)
    assert len(theirs["tables"]) > 15 and theirs["sequences"] and theirs["large_objects"]

    done = world.biso("refresh-test", "--no-anonymize", "--yes")

    assert done["ok"]
    ours = rows_of_test(world)
    for what in theirs:
        assert ours[what] == theirs[what], what
    assert tree(world.datadir) == {**files, **kept}
    assert owners(world.datadir) == {(WWW, WWW)}
    assert not {one.stat().st_ino for one in world.datadir.rglob("*")} & {
        one.stat().st_ino for one in world.prod.datadir.rglob("*") if one.is_file()
    }, "a shared inode would be a shared write"
    owner = (
        "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class c JOIN"
        " pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^pg_|^information_schema$'"
    )
    assert world.sql(owner) == "biso_test", "everything is the application's role's"
    # production saw none of it
    assert rows_of_production(world) == theirs
    assert tree(world.prod.datadir) == files


def test_no_personal_string_comes_into_the_container(full: Any) -> None:
    world = full
    for one in PLANTED:
        assert one in _dump_of_production(world), "nothing to find otherwise"

    done = world.biso("refresh-test", "--yes")

    assert done["proof"]["leaks"] == []
    assert done["proof"]["columns"] > 10 and done["proof"]["files"] > 10
    dump = world.docker("exec", "-T", "db", "pg_dump", "-h", "/tmp", "-U", "postgres", "biso_test")
    for one in PLANTED:
        assert one not in dump
    for path in world.datadir.rglob("*"):
        name = os.fsencode(path)
        # A surname alone is shared by many and stays in a file's name; a full name does not.
        for one in (*PLANTED[1:], f"Änne {PLANTED[0]}", f"{PLANTED[0]} Änne"):
            assert one.encode() not in name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            for one in PLANTED:
                assert one.encode() not in content, name


def _dump_of_production(world: Any) -> str:
    cluster = world.prod.cluster
    words = ["pg_dump", "-h", str(cluster.socket_dir), "-p", str(cluster.port), "-U",
             cluster.superuser, world.prod.dbname]  # fmt: skip
    done = subprocess.run(words, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


class Visitor(threading.Thread):
    """A user of the test site, in its container: "old", "new", "maintenance", or "away"."""

    def __init__(self, world: Any) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.pages: list[str] = []
        self.end = threading.Event()

    def run(self) -> None:
        while not self.end.is_set():
            try:
                self.pages.append(self.world.page())
            except AssertionError:  # there is no container to enter
                self.pages.append("")

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end.set()
        self.join()


def test_a_visitor_sees_the_old_site_then_nothing_for_a_moment_then_the_new_one(full: Any) -> None:
    world = full
    old = world.page()
    with Visitor(world) as visitor:
        done = world.biso("refresh-test", "--yes")
        assert done["ok"]
        seen = len(visitor.pages)
        while len(visitor.pages) < seen + 2:
            visitor.join(0.05)
    new = world.page()
    assert old != new
    story = [
        "old" if page == old else "new" if page == new else "away" if page == "" else page
        for page in visitor.pages
    ]
    # Maintenance is on before services stop, and ends after they started.
    parts = [part for n, part in enumerate(story) if not n or part != story[n - 1]]
    others = {part for part in parts if part not in ("old", "new", "away")}
    assert all("<title>Wartung</title>" in page for page in others), others
    assert parts[0] == "old" and parts[-1] == "new"
    assert "old" not in parts[1:] and "new" not in parts[:-1]
    assert story.count("old") > 5, "it served all the while"
    for page in visitor.pages:
        for one in PLANTED:
            assert one not in page
