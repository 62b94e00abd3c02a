"""RESTORE.md, followed literally: its blocks are extracted and run, and what comes is compared."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from biso_tasks.backup.checksums import make_sums
from biso_tasks.backup.guide import guide
from biso_tasks.backup.manifest import Places, Tree
from biso_tasks.backup.metadata import encode
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import Counts, count
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Listing, list_tree

ID = "20261120_031500-prod"
STEM = "db/biso_20261120_031500"
ROLE, OTHER = 'app\'s "role"', "the other\\role"
AWKWARD = (
    """CREATE TABLE person (id serial PRIMARY KEY, name text NOT NULL);
       INSERT INTO person (name) VALUES (E'COMMENT ON EXTENSION x;\\n\\\\.'), ('Zoë'), (':role');
       CREATE TABLE "Fall's" (id int REFERENCES person, note text DEFAULT 'a;b');
       INSERT INTO "Fall's" SELECT id FROM person;
       CREATE VIEW per_person AS SELECT p.*, count(f) FROM person p
         LEFT JOIN "Fall's" f USING (id) GROUP BY p.id;
       CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$
COMMENT ON EXTENSION pageinspect IS 'x';
SELECT 'DROP'::text; $$;
       CREATE MATERIALIZED VIEW names AS SELECT name FROM person;
       CREATE TABLE long (note text);
       INSERT INTO long SELECT repeat('x', n) FROM generate_series(998, 1001) AS n;"""
)  # fmt: skip


def blocks(content: bytes) -> list[bytes]:
    return re.findall(rb"^```sh\n(.*?)^```$", content, re.DOTALL | re.MULTILINE)


def follow(content: bytes, env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """As somebody would who stops at a block that ends with an error."""
    text = b"".join(block + b"[ $? = 0 ] || exit 9\n" for block in blocks(content))
    php = folder / "bin/php"
    php.parent.mkdir(exist_ok=True)
    php.write_text('#!/bin/sh\npwd\necho "php $*"\n')
    php.chmod(0o755)
    env = {"PATH": f"{php.parent}:{os.environ['PATH']}", "HOME": "/nonexistent"} | env
    return subprocess.run(["bash", "-s"], input=text, env=env, capture_output=True, check=False)


def plant(root: Path) -> None:
    """A tree with every awkward thing that METADATA is there for."""
    (root / "sub dir" / "leer").mkdir(parents=True)
    (root / "config.php").write_text("<?php\n")
    (root / "sub dir" / "a\nb").write_text("x")
    (root / "sub dir" / "same").write_text("x")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff raw")).write_text("r")
    (root / "-rf").write_text("dash")
    (root / "twin").hardlink_to(root / "-rf")
    (root / "link").symlink_to("sub dir/a\nb")
    (root / "nowhere").symlink_to("/not/there")
    (root / "setgid").mkdir()
    (root / "setgid" / "inside").mkdir()
    for path, mode in (("setgid", 0o2775), ("setgid/inside", 0o755), ("-rf", 0o4751)):
        (root / path).chmod(mode)
    (root / "sub dir" / "same").chmod(0o400)
    if os.geteuid() == 0:
        for number, path in enumerate(sorted(root.rglob("*"))):
            os.chown(path, 33 if number % 2 else 4242, 65534, follow_symlinks=False)
        (root / "-rf").chmod(0o4751)
        (root / "setgid").chmod(0o2775)
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 10**18 + number * 1_234_567_891), follow_symlinks=False)
    os.utime(root / "sub dir" / "a\nb", ns=(0, -1_500_000_000))
    (root / "sub dir" / "leer").chmod(0o500)
    os.utime(root, ns=(0, 10**18))


def picture(listing: Listing, *, owners: bool = True) -> list[Any]:
    groups: dict[tuple[int, int], str] = {}
    found = []
    for one in (listing.top, *listing.entries):
        first = groups.setdefault((one.device, one.inode), one.path)
        owner = (one.owner, one.group) if owners else None
        size = one.size if one.kind == "file" else 0
        found.append((one.path, one.kind, size, one.mtime, one.mode, owner, one.target, first))
    return found


def tree(here: Access, root: Path) -> Listing:
    return list_tree(here, str(root), exclude=())


def into_set(source: Path, target: Path) -> None:
    """As a store keeps trees that is no root's: other owners and modes, and one inode for files
    that were unchanged since a set in which they were one."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    (target / "setgid" / "inside").chmod(0o2700)
    (target / "sub dir" / "same").unlink()
    (target / "sub dir" / "same").hardlink_to(target / "sub dir" / "a\nb")


def dumped(cluster: Any, dbname: str) -> bytes:
    env = os.environ | cluster.env("postgres", dbname)
    done = subprocess.run(["pg_dump", "-O"], env=env, capture_output=True, check=True)
    return re.sub(rb"^\\(un)?restrict .*$", b"", done.stdout, flags=re.MULTILINE)


@pytest.mark.needs("postgresql", "psql")
@pytest.mark.parametrize("format", ["plain", "custom"])
def test_the_guide_restores_an_equal_instance(
    store: Store, maker: Any, cluster: Any, tmp_path: Path, format: str
) -> None:
    here = Access(store.host)
    source = tmp_path / "source of 'all'"
    for area in ("webroot", "data"):
        plant(source / area)
    folder = maker.partial(ID, ("webroot", "data"))
    for area in ("webroot", "data"):
        into_set(source / area, folder / area)
    listings = {area: tree(here, source / area) for area in ("webroot", "data")}
    live, target = f"biso {format}", f"new={format}"
    counts = fill(cluster, live, large=format == "plain")
    suffix, flags = (
        (".sql.gz", ["--clean", "--if-exists"]) if format == "plain" else (".dump", ["-Fc"])
    )
    words = ["pg_dump", "-O", "-x", *flags, "-h", str(cluster.root), "-p", str(cluster.port)]
    content = subprocess.run(
        [*words, "-U", "postgres", "--", live], capture_output=True, check=True
    ).stdout
    content = gzip.compress(content) if format == "plain" else content
    store.write_file(ID, STEM + suffix, content)
    dump = maker.dump(
        "x", hashlib.sha256(content).hexdigest(), len(content), dbname=live, role=ROLE,
        file=STEM + suffix, format=format, counts=counts, facts=facts(cluster, live, counts),
    )  # fmt: skip
    manifest = maker.manifest(
        ID,
        databases=(dump,),
        trees={
            area: Tree(sum(e.kind == "file" for e in one.entries), one.size)
            for area, one in listings.items()
        },
        places=Places("/old/web", "/old/data", "/old/web/config.php"),
        missing=("passwords of roles: need a superuser",),
    )
    store.write_file(ID, "METADATA", encode(listings))
    store.write_file(ID, "manifest.toml", manifest.as_toml())
    store.write_file(ID, "config/config.php", b"<?php\n")
    store.write_file(ID, "db/globals.sql", b"SELECT 1;\n")
    store.write_file(ID, "db/grants.sql", b"GRANT SELECT ON person TO PUBLIC;\n")
    store.write_file(ID, "RESTORE.md", guide(manifest, store.set_path(ID)))
    make_sums(store, ID, {})
    kept = Path(store.seal(ID, run="r1").path)
    assert verify_set(store, ID) == ()
    web, data = tmp_path / "neu $web" / "root", tmp_path / "neu data"
    env = {"WEBROOT": str(web), "DATADIR": str(data), "PGADMIN": "postgres"}
    env |= cluster.env(OTHER, target)
    done = follow((kept / "RESTORE.md").read_bytes(), env, tmp_path)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.decode().split("\n")[-5:] == [
        str(web), "php biso-cli migration list", str(web), "php biso-cli maintenance off", "",
    ]  # fmt: skip
    root = os.geteuid() == 0
    for area, found in (("webroot", web), ("data", data)):
        assert picture(tree(here, found), owners=root) == picture(listings[area], owners=root)
        words = ["diff", "-r", "--no-dereference", str(source / area), str(found)]
        assert subprocess.run(words, check=False).returncode == 0
    with cluster.connect(target) as connection:
        restored = count(connection)
        connection.execute("REVOKE SELECT ON person FROM PUBLIC")
        set_ = connection.execute(
            "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting s"
            " JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()"
        ).fetchall()
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [(OTHER,)]
    assert dict(set_) == {"-": ["biso.customer=it's"], f'"{OTHER}"': ["work_mem=5MB"]}
    assert replace(restored, large_objects=0) == replace(counts, large_objects=0)
    assert restored.large_objects == counts.large_objects
    revoked = re.sub(rb"^(REVOKE|GRANT) .*$|^-- Name: .*TABLE person; Type: ACL.*$", b"",
                     dumped(cluster, target), flags=re.MULTILINE)  # fmt: skip
    assert revoked.split() == dumped(cluster, live).split()
    again = follow((kept / "RESTORE.md").read_bytes(), env, tmp_path)
    assert again.returncode == 9  # nothing is overwritten


def fill(cluster: Any, dbname: str, *, large: bool) -> Counts:
    with cluster.connect("postgres") as connection:
        quoted = psycopg.sql.Identifier(ROLE).as_string(None)
        connection.execute(
            f"DO $$ BEGIN CREATE ROLE {quoted} LOGIN; "
            "EXCEPTION WHEN duplicate_object THEN NULL; END $$".encode()
        )
        connection.execute(f'CREATE DATABASE "{dbname}" OWNER {quoted} TEMPLATE template0'.encode())
    with cluster.connect(dbname) as connection:
        connection.execute("CREATE SCHEMA ext")
        connection.execute(f"ALTER SCHEMA ext OWNER TO {quoted}".encode())
        connection.execute("CREATE EXTENSION pageinspect SCHEMA ext")
        connection.execute(f"SET ROLE {quoted}".encode())
        connection.execute(AWKWARD.encode())
        if large:
            connection.execute("SELECT lo_from_bytea(0, 'large')")
        return count(connection)


def facts(cluster: Any, dbname: str, counts: Counts) -> dict[str, Any]:
    document = ServerFacts.from_document(
        {
            "server": "here",
            "version": 150018,
            "dbname": dbname,
            "encoding": "UTF8",
            "collate": "C.utf8",
            "ctype": "C.utf8",
            "provider": "c",
            "bytes": 1,
            "owner": ROLE,
            "role": ROLE,
            "event_triggers": [],
            "large_objects": counts.large_objects,
            "extensions": [
                {"name": "pageinspect", "version": "1.11", "schema": "ext", "trusted": False}
            ],
        }
    )
    settings = Settings((("", "biso.customer", "it's"), (ROLE, "work_mem", "5MB")))
    return {**document.as_document(), "host": "", "port": 5432, "settings": settings.as_dict()}


def test_a_set_that_is_not_whole_ends_it_at_the_second_block(
    sealed: tuple[str, Path], tmp_path: Path
) -> None:
    _, folder = sealed
    content = (folder / "RESTORE.md").read_bytes()
    (folder / "data/index.php").write_text("x")
    env = {"WEBROOT": str(tmp_path / "web"), "DATADIR": str(tmp_path / "data")}
    done = follow(content, env, tmp_path)
    assert done.returncode == 9
    assert b"data/index.php: FAILED" in done.stdout
    assert not (tmp_path / "web").exists()


def test_only_what_is_in_the_set_is_told(maker: Any) -> None:
    tree = {"data": Tree(1, 1)}
    text = guide(maker.manifest(ID, areas=("data",), trees=tree), "/s p/x").decode()
    assert "SET='/s p/x'" in text
    assert "WEBROOT/" not in text.replace("${1#webroot}", "").replace("$WEBROOT$", "")
    assert "psql" not in text
    assert "## The data dir" in text


def test_a_data_dir_in_the_webroot_follows_it_and_one_outside_does_not(maker: Any) -> None:
    tree = {"webroot": Tree(1, 1), "data": Tree(1, 1)}
    for below, line in (("da ta", """DATADIR="$WEBROOT"/'da ta'"""), ("", "DATADIR='/v/da ta'")):
        places = Places("/v", "/v/da ta", "/v/config.php", below)
        made = maker.manifest(ID, areas=("webroot", "data"), trees=tree, places=places)
        assert f"|| {line}\n" in guide(made, "/s").decode()


def test_each_database_is_looked_for_where_config_php_had_it(maker: Any) -> None:
    def dump(key: str, file: str, **place: Any) -> Any:
        made = maker.dump("x", "0" * 64, 1, key=key, file=f"db/{file}_20261120_031500.sql.gz")
        return replace(made, facts={**made.facts, **place})

    main = dump("gaia.db", "biso", host="db.example", port=5433)
    log = dump("log.db", "biso_log", host="db.example", port=5434)
    text = guide(maker.manifest(ID, areas=("database",), databases=(main, log)), "/s").decode()
    for line in ("PGHOST=db.example", "PGPORT=5433", 'PGHOST2="$PGHOST"', "PGPORT2=5434"):
        assert f"|| {line}\n" in text
    assert "PGHOST=$PGHOST2\nPGPORT=$PGPORT2\n" in text


def test_a_second_database_has_its_own_names_role_and_privileges(maker: Any) -> None:
    log = maker.dump("x", "0" * 64, 1, dbname="biso log", role="logger", key="log.db",
                     file="db/biso_log_20261120_031500.sql.gz")  # fmt: skip
    main = maker.dump("20261120_031500", "0" * 64, 1)
    text = guide(maker.manifest(ID, areas=("database",), databases=(main, log)), "/s").decode()
    assert "PGDATABASE2='biso log'" in text
    assert "PGUSER=$PGUSER2\nPGDATABASE=$PGDATABASE2\n```" in text
    first, second = text.split("## The database `biso log`")
    assert '"$SET"/db/grants.sql' in first and "grants_log" not in first
    assert '"$SET"/db/grants_log.sql' in second and "db/grants.sql" not in second


def test_a_config_that_was_a_link_out_of_the_webroot_is_put_where_it_led(
    store: Store, maker: Any, tmp_path: Path
) -> None:
    def fill(folder: Path, areas: tuple[str, ...]) -> None:
        (folder / "webroot").mkdir()
        (folder / "webroot/config.php").symlink_to(tmp_path / "etc/biso/config.php")

    places = Places("/var/www", "/srv/data", "/var/www/config.php")
    kept = maker.seal(ID, areas=("webroot",), fill=fill, places=places)
    env = {"WEBROOT": str(tmp_path / "web"), "DATADIR": str(tmp_path / "data")}
    done = follow((kept / "RESTORE.md").read_bytes(), env, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/biso/config.php").read_bytes() == b"<?php // config\n"
    assert (tmp_path / "web/config.php").is_symlink()
