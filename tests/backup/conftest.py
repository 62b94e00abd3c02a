"""A store on this machine, sets made by hand, and a PostgreSQL for what RESTORE.md says."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from biso_tasks.backup.checksums import make_sums
from biso_tasks.backup.guide import guide
from biso_tasks.backup.ids import new_id
from biso_tasks.backup.manifest import DatabaseDump, Manifest, Options, Places, Tree
from biso_tasks.backup.metadata import TREES, encode
from biso_tasks.backup.store import Store, StoredSet
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.snapshot import Counts
from biso_tasks.files.access import Access
from biso_tasks.files.listing import list_tree
from biso_tasks.host.local import LocalHost

DEBIAN = Path("/usr/lib/postgresql/15/bin")
SQL = b"SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n\n"
FACTS = {
    "server": "here",
    "version": 150018,
    "dbname": "biso",
    "encoding": "UTF8",
    "collate": "C.utf8",
    "ctype": "C.utf8",
    "provider": "c",
    "bytes": 1,
    "owner": "app",
    "role": "app",
    "extensions": [],
    "event_triggers": [],
    "large_objects": 0,
}
WHEN = datetime(2026, 11, 20, 3, 15, 0, tzinfo=UTC)


def moment(day: int, hour: int = 3) -> datetime:
    return datetime(2026, 11, day, hour, 15, 0, tzinfo=UTC)


# What a backup writes down beside a server's facts.
PLACE = {"host": "", "port": 5432, "settings": {"values": [], "limit": -1}}


def facts() -> dict[str, Any]:
    return {**ServerFacts.from_document(FACTS).as_document(), **PLACE}


@dataclass
class Maker:
    """Makes sets as a backup would, from small trees."""

    store: Store

    def manifest(self, id: str, **more: Any) -> Manifest:
        given: dict[str, Any] = {
            "id": id,
            "environment": id.partition("-")[2],
            "role": "production",
            "site": "beratungsstelle",
            "created": "2026-11-20T03:15:00+00:00",
            "tool": "0.3.0",
            "run": "r1",
            "machine": "web1",
            "areas": ("webroot", "data", "database"),
            "personal": True,
            "options": Options("plain", "short", 0.4),
            "places": Places("/var/www/biso", "/srv/data", "/var/www/biso/config.php"),
            "env": "PROD",
        }
        return Manifest(**(given | more))

    def dump(self, stamp: str, sha256: str, bytes: int, **more: Any) -> DatabaseDump:
        given: dict[str, Any] = {
            "key": "gaia.db",
            "dbname": "biso",
            "role": "app",
            "file": f"db/biso_{stamp}.sql.gz",
            "format": "plain",
            "bytes": bytes,
            "sha256": sha256,
            "pg_dump": "15.18",
            "facts": facts(),
            "counts": Counts({"public.person": 2}, {"public.s": (1, True)}, {"public.m": None}, 0),
        }
        return DatabaseDump(**(given | more))

    def partial(self, id: str, areas: tuple[str, ...]) -> Path:
        return Path(self.store.begin(id, areas))

    def fill(self, folder: Path, areas: tuple[str, ...]) -> None:
        for area in {"webroot", "data"} & set(areas):
            root = folder / area
            (root / "inner" / "empty").mkdir(parents=True, exist_ok=True)
            (root / "index.php").write_text("<?php\n")
            (root / "inner" / "line\nbreak\\n").write_text("awkward")
            (root / "inner" / "höhe und tiefe").write_text("spaces")
            Path(os.fsdecode(os.fsencode(root) + b"/\xff raw")).write_text("not utf-8")
            if not (root / "link").is_symlink():
                (root / "link").symlink_to("inner")

    def seal(
        self,
        id: str,
        areas: tuple[str, ...] = ("webroot", "data", "database"),
        previous: StoredSet | None = None,
        fill: Callable[[Path, tuple[str, ...]], None] | None = None,
        **more: Any,
    ) -> Path:
        folder = self.partial(id, areas)
        (fill or self.fill)(folder, areas)
        here = Access(self.store.host)
        trees = {
            area: list_tree(here, str(folder / area), exclude=())
            for area in ("webroot", "data")
            if area in areas
        }
        stamp = id.partition("-")[0]
        if "database" in areas:
            content = gzip.compress(SQL, mtime=0)
            put(folder / f"db/biso_{stamp}.sql.gz", content)
            if "databases" not in more:
                digest = _sha256(content)
                more["databases"] = (self.dump(stamp, digest, len(content)),)
        manifest = self.manifest(
            id,
            areas=areas,
            trees={
                area: Tree(sum(e.kind == "file" for e in listing.entries), listing.size)
                for area, listing in trees.items()
            },
            **more,
        )
        put(folder / "config/config.php", b"<?php // config\n")
        put(folder / "METADATA", encode(trees))
        put(folder / "manifest.toml", manifest.as_toml())
        put(folder / "RESTORE.md", guide(manifest, self.store.set_path(id)))
        make_sums(self.store, id, {} if previous is None else dict.fromkeys(TREES, previous))
        return Path(self.store.seal(id, run="r1", moment=WHEN).path)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="session")
def here() -> Iterator[LocalHost]:
    host = LocalHost("here")
    yield host
    host.close()


@pytest.fixture
def store(here: LocalHost, tmp_path: Path) -> Iterator[Store]:
    """In memory where that can be: sealing syncs the whole filesystem, for all who share it."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    found = Store(here, str(folder / "store of sets"), links="prod")
    found.prepare()
    yield found
    shutil.rmtree(folder)


@pytest.fixture
def maker(store: Store) -> Maker:
    return Maker(store)


@pytest.fixture
def sealed(maker: Maker) -> tuple[str, Path]:
    """A good complete set: its id and where it is."""
    id = new_id(WHEN, "prod")
    return id, maker.seal(id)


@dataclass
class Cluster:
    """A server whose superuser is trusted on its socket."""

    root: Path
    port: int

    def connect(self, dbname: str, user: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.root), port=self.port, dbname=dbname, user=user, autocommit=True
        )

    def env(self, user: str, dbname: str) -> dict[str, str]:
        return {
            "PGHOST": str(self.root),
            "PGPORT": str(self.port),
            "PGUSER": user,
            "PGDATABASE": dbname,
        }


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    account = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="bb-", dir="/tmp"))  # short: socket paths have 107 bytes
    if account:
        shutil.chown(root, account, account)
    root.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = Cluster(root, int(probe.getsockname()[1]))
    how: dict[str, Any] = {"user": account, "group": account, "extra_groups": []}
    how = {"cwd": "/", "stdout": subprocess.DEVNULL, "check": True, **(how if account else {})}
    subprocess.run(
        [DEBIAN / "initdb", "-D", root / "data", "-U", "postgres", "-N", "--auth=trust",
         "--locale=C.utf8", "--encoding=UTF8"], **how,
    )  # fmt: skip
    options = f"-p {found.port} -k {root} -c fsync=off -c listen_addresses="
    control = [DEBIAN / "pg_ctl", "-D", root / "data", "-w"]
    subprocess.run([*control, "-l", root / "log", "-o", options, "start"], **how)
    yield found
    with suppress(subprocess.CalledProcessError):
        subprocess.run([*control, "-m", "immediate", "stop"], **how)
    shutil.rmtree(root, ignore_errors=True)
