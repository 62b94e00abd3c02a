"""A set's dump, in every format and by every road, into another cluster as an ordinary role."""

from __future__ import annotations

import gzip
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database import dumps, grantfile, grants, settings
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.create import create, drop
from biso_tasks.database.dumps import SUFFIXES, Dumped, dump
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.loads import load
from biso_tasks.database.measure import fingerprint
from biso_tasks.database.names import stage_name
from biso_tasks.database.pair import untrusted_extensions
from biso_tasks.database.snapshot import Counts, count, differences, export
from biso_tasks.database.transfer import transfer
from biso_tasks.errors import ProofFailed, StepFailed

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql (machine)")]

# what looks like an entry that is left out, in rows, bodies, comments and names
LURE = """
--
-- Name: laut; Type: EVENT TRIGGER; Schema: -; Owner: -
--

CREATE EVENT TRIGGER laut ON ddl_command_end;
COMMENT ON EXTENSION x IS 'y';
\\restrict abc
\\.
SET transaction_timeout = 0;
"""
ODD = '''"Tab
--
-- Name: x; Type: PUBLICATION; Schema: public; Owner: -
--

CREATE PUBLICATION x;
"" '"'''

CONTENT = (
    'CREATE SCHEMA "Über $$ Schema"',
    "CREATE SCHEMA erw",
    "CREATE EXTENSION pg_trgm",
    "CREATE TYPE \"Über $$ Schema\".stand AS ENUM ('neu', 'alt')",
    """CREATE TABLE person (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
         "Straße" text COLLATE "C" DEFAULT E'it\\'s \\\\ $a$ -- ;', n$1 int,
         stand "Über $$ Schema".stand DEFAULT 'neu',
         klein text GENERATED ALWAYS AS (lower(name)) STORED,
         CHECK (name !~ '\\d\\\\''$'))""",
    "INSERT INTO person (name) SELECT 'Müller ' || g || '.' FROM generate_series(1, 3000) g",
    "CREATE INDEX person_trgm ON person USING gin (name gin_trgm_ops)",
    # it hangs on the primary key: pg_dump --clean begins with a stand-in of it
    'CREATE VIEW "Über $$ Schema".gruppe AS SELECT id, stand, count(*) FROM person GROUP BY id',
    f"CREATE TABLE {ODD} (t text)",
    f"INSERT INTO {ODD} VALUES ($lure${LURE}$lure$), ('\\.'), (E'a\\tb\\\\N'), (NULL)",
    f"COMMENT ON TABLE {ODD} IS $lure${LURE}'$lure$",
    f"CREATE FUNCTION lure() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN\n/*{LURE}*/\n"
    "RETURN $_$'\"$$ $_$; END $f$",
    "CREATE FUNCTION atomic(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT $1; "
    "SELECT $1 + length('COPY x FROM stdin;'); END",
    "CREATE RULE doppelt AS ON DELETE TO person DO ALSO (UPDATE person SET name = ';'; NOTIFY weg)",
    "CREATE TABLE termin (id int, tag date NOT NULL) PARTITION BY RANGE (tag)",
    "CREATE TABLE termin_25 PARTITION OF termin FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "INSERT INTO termin SELECT g, '2025-06-01'::date + g % 100 FROM generate_series(1, 500) g",
    "CREATE MATERIALIZED VIEW zahl AS SELECT count(*) AS n FROM person",
    "CREATE MATERIALIZED VIEW leer AS SELECT 1 AS n WITH NO DATA",
    "CREATE SEQUENCE nummer START 7",
    "SELECT nextval('nummer')",
    "SELECT lo_from_bytea(0, '\\x00ff10'::bytea)",
    "SELECT lo_from_bytea(4711, convert_to(repeat('Grüße', 20000), 'UTF8'))",
    "CREATE TABLE geheim (wer text)",
    "INSERT INTO geheim VALUES ('biso_app'), ('other')",
    "ALTER TABLE geheim ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY eigen ON geheim USING (wer = current_user)",
    "CREATE PUBLICATION raus FOR TABLE person",
    "GRANT SELECT ON person TO biso_report",
    "GRANT UPDATE (name) ON person TO biso_report",
    "REVOKE EXECUTE ON FUNCTION lure() FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO biso_report",
)
SUPERUSER = (
    "CREATE EXTENSION pageinspect SCHEMA erw",
    "CREATE EXTENSION postgres_fdw",
    "CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER laut ON ddl_command_end EXECUTE FUNCTION ev()",
    "COMMENT ON EVENT TRIGGER laut IS 'x'",
    "COMMENT ON EXTENSION postgres_fdw IS 'von uns; für Anna Keller'",
    "CREATE SERVER anderswo FOREIGN DATA WRAPPER postgres_fdw",
    "ALTER SERVER anderswo OWNER TO biso_app",
    "CREATE USER MAPPING FOR biso_app SERVER anderswo OPTIONS (user 'u', password 'streng-geheim')",
)


@dataclass
class Origin:
    """What was dumped, in each format, and what it was."""

    folder: Path
    server: Any
    facts: ServerFacts
    counts: Counts
    prints: dict[str, Any]
    dumps: dict[str, Dumped]
    grants: tuple[grants.Grant, ...]

    def path(self, format: str) -> str:
        return str(self.folder / self.dumps[format].file)


@pytest.fixture(scope="module")
def origin(one: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    dbname = "Quelle 'ä' $x"
    quoted = f'"{dbname}"'
    one.sql(f"CREATE DATABASE {quoted} OWNER biso_app TEMPLATE template0")
    one.sql("SET ROLE biso_app", *CONTENT, dbname=dbname)
    one.sql(*SUPERUSER, dbname=dbname)
    server = one.server(dbname, name="prod")
    folder = tmp_path_factory.mktemp("db ä")
    made = {}
    with export(server) as snapshot:
        for format in SUFFIXES:
            made[format] = dump(
                server,
                snapshot,
                str(folder),
                "biso_20260101_000000",
                format=format,
                jobs=2,
                cancel=threading.Event(),
            )
        counts = snapshot.counts()
        given = grants.read(snapshot.connection)
    facts = ServerFacts.from_document(probe(server).as_document())
    with connect(server) as connection:
        prints = fingerprint(connection)
    yield Origin(folder, server, facts, counts, prints, made, given)
    one.sql(f"DROP DATABASE {quoted} WITH (FORCE)")


@pytest.fixture
def target(two: Any, fresh: Callable[..., str]) -> Any:
    return two.admin_server(fresh(two, "o'test $(x)"), "biso_app")


def fill(origin: Origin, target: Any, format: str, path: str = "", **more: Any) -> list[str]:
    there = probe(target)
    stage = stage_name(target.dsn.dbname)
    with admin(target) as role:
        drop(role, target, stage)
        create(role, target, stage, origin.facts, version=there.version)
    return load(
        origin.server.host,
        path or origin.path(format),
        format,  # type: ignore[arg-type]
        target,
        stage,
        recorded=origin.facts,
        there=there,
        **{
            "sha256": origin.dumps[format].sha256,
            "untrusted": untrusted_extensions(origin.facts, there),
            "cancel": threading.Event(),
            "pg_restore": origin.server.program("pg_restore"),
            **more,
        },
    )


ROADS = [
    ("plain", "local", 1),
    ("plain", "relay", 1),
    ("plain", "direct", 1),
    ("custom", "local", 1),
    ("custom", "local", 2),
    ("custom", "direct", 1),
    ("directory", "local", 1),
    ("directory", "local", 2),
    ("directory", "relay", 2),
]


@pytest.mark.parametrize(("format", "route", "jobs"), ROADS)
def test_every_format_arrives_whole_by_every_road(
    origin: Origin,
    target: Any,
    format: str,
    route: str,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{transfer.__module__}.remote_words", lambda _: ("bash", "-c"))
    notes = fill(origin, target, format, route=route, jobs=jobs)
    assert "Keller" not in str(notes)
    assert sorted(note.lower() for note in notes) == [
        "left behind: event trigger laut",
        "left behind: publication raus",
        "left behind: the comment of the extension 'postgres_fdw', which somebody had changed; its "
        "owner can set it (comment on extension)",
        "left behind: user mapping for biso_app server anderswo",
    ]
    with connect(target, stage_name(target.dsn.dbname)) as connection:
        assert differences(origin.counts, count(connection)) == []
        assert fingerprint(connection) == origin.prints
    with connect(origin.server) as a, connect(target, stage_name(target.dsn.dbname)) as b:
        for text in (
            "SELECT proname, prosrc, prosqlbody IS NULL FROM pg_proc p WHERE proname IN "
            "('lure', 'atomic')",
            "SELECT obj_description(oid) FROM pg_class WHERE relname ~ '^Tab' AND relkind = 'r'",
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2",
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef ORDER BY 1",
            "SELECT definition FROM pg_rules WHERE rulename = 'doppelt'",
            "SELECT pg_get_viewdef(oid) FROM pg_class WHERE relname = 'gruppe'",
            "SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1",
            "SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1",
            "SELECT indexdef FROM pg_indexes WHERE schemaname <> 'pg_catalog' ORDER BY 1",
            "SELECT srvname, srvowner::regrole::text FROM pg_foreign_server",
        ):
            rows = [sorted(c.execute(text.encode()).fetchall()) for c in (a, b)]
            assert rows[0] == rows[1] != [], text
        owners = b.execute(
            """SELECT DISTINCT relowner::regrole::text FROM pg_class c
                WHERE relnamespace NOT IN ('pg_catalog'::regnamespace,
                        'information_schema'::regnamespace, 'pg_toast'::regnamespace)
                  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid
                                   AND d.deptype = 'e')"""
        ).fetchall()
        assert owners == [("biso_app",)]
        assert b.execute("SELECT count(*) FROM pg_user_mappings").fetchone() == (0,)


def test_without_the_filter_the_application_s_role_cannot_load_it(
    origin: Origin, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "biso_tasks.database.loads.SIFT", 'BEGIN { while (ARGC > 1) ARGV[--ARGC] = "" } { print }'
    )
    with pytest.raises(StepFailed, match="ERROR"):
        fill(origin, target, "plain")


@pytest.mark.parametrize("format", ["plain", "custom"])
def test_a_dump_cut_anywhere_is_not_loaded_as_good(
    origin: Origin, target: Any, tmp_path: Path, format: str
) -> None:
    data = Path(origin.path(format)).read_bytes()
    cut = tmp_path / "cut"
    rest = random.Random(7)
    for at in [0, len(data) - 1, *(rest.randrange(len(data)) for _ in range(1))]:
        cut.write_bytes(data[:at])
        with pytest.raises(StepFailed):
            fill(origin, target, format, str(cut), sha256="")


@pytest.mark.parametrize("route", ["local", "relay"])
def test_a_dump_that_was_cut_before_it_was_packed_is_not_loaded_as_good(
    origin: Origin, target: Any, tmp_path: Path, route: str
) -> None:
    text = gzip.decompress(Path(origin.path("plain")).read_bytes())
    cut = tmp_path / "cut.sql.gz"
    at = text.index(b"COPY public.person ") + 40000
    cut.write_bytes(gzip.compress(text[: text.index(b"\n", at) + 1], 1))
    with pytest.raises(StepFailed, match="ends before its end"):
        fill(origin, target, "plain", str(cut), sha256="", route=route)


@pytest.mark.parametrize(
    ("format", "route", "jobs"),
    [("plain", "local", 1), ("plain", "direct", 1), ("custom", "local", 2)],
)
def test_another_whole_dump_is_refused_by_its_checksum(
    origin: Origin,
    target: Any,
    format: str,
    route: str,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{transfer.__module__}.remote_words", lambda _: ("bash", "-c"))
    with pytest.raises(ProofFailed, match="its checksum differs"):
        fill(origin, target, format, sha256="0" * 64, route=route, jobs=jobs)


def test_a_file_of_a_directory_that_is_gone_fails_the_load(
    origin: Origin, target: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.dir"
    shutil.copytree(origin.path("directory"), copy)
    max(copy.glob("*.dat.gz"), key=lambda path: path.stat().st_size).unlink()
    for jobs in (1, 2):
        with pytest.raises(StepFailed):
            fill(origin, target, "directory", str(copy), jobs=jobs)


def test_a_command_for_psql_in_a_dump_is_never_run(
    origin: Origin, target: Any, tmp_path: Path
) -> None:
    """What \\restrict stands for, where it was taken out."""
    text = gzip.decompress(Path(origin.path("plain")).read_bytes())
    for lure in (b"\\! touch %s\n", b"SELECT 1 \\! touch %s\n"):
        proof = tmp_path / "proof"
        where = text.index(b"\nCREATE TABLE public.person") + 1
        dumped = tmp_path / "evil.sql.gz"
        dumped.write_bytes(
            gzip.compress(text[:where] + lure % str(proof).encode() + text[where:], 1)
        )
        with pytest.raises(StepFailed, match="a command for psql"):
            fill(origin, target, "plain", str(dumped), sha256="")
        assert not proof.exists()


def test_version_18_s_dumps_load_and_an_older_server_takes_them(
    newer: Any,
    one: Any,
    two: Any,
    fresh: Callable[..., str],
    tmp_path: Path,
    cancel: threading.Event,
) -> None:
    """`transaction_timeout` and `\\restrict`: the older server knows one of them, its psql none."""
    source = newer.server(fresh(newer, "prod", "biso_app", *CONTENT), name="prod")
    with export(source) as snapshot:
        made = dump(source, snapshot, str(tmp_path), "biso", format="plain", cancel=cancel)
        counts = snapshot.counts()
    assert made.pg_dump.startswith("18")
    facts = probe(source)
    for target in (newer.server("test"), two.server("test")):
        fresh(newer if target.dsn.port == newer.port else two, "test")
        old = replace(facts, provider="c", icu_locale=None) if facts.provider == "b" else facts
        with admin(target) as role:
            create(role, target, stage_name("test"), old, version=probe(target).version)
        load(
            source.host,
            str(tmp_path / made.file),
            "plain",
            target,
            stage_name("test"),
            recorded=facts,
            there=probe(target),
            sha256=made.sha256,
            cancel=cancel,
        )
        with connect(target, stage_name("test")) as connection:
            assert differences(counts, count(connection)) == []


def test_privileges_are_given_again_by_the_sets_own_text(
    origin: Origin, two: Any, target: Any
) -> None:
    fill(origin, target, "plain")
    stage = stage_name(target.dsn.dbname)
    text = grantfile.grants_sql(
        [*origin.grants, grants.Grant('TABLE "public"."person"', "weg; '", "SELECT", False)],
        settings.Settings(
            (("", "search_path", '"$user", "Über $$ Schema"'), ("nobody", "work_mem", "8MB")),
            (("biso_report", "CONNECT", False),),
            7,
        ),
        role="biso_app",
        comment="100 % 'echt' $biso$",
    )
    inside, whole = grantfile.parts(text)
    assert inside + "\n-- The database itself" in text
    with connect(target, stage) as connection:
        connection.execute(inside.encode())
        found = grants.read(connection)
    assert set(found) == set(origin.grants)
    with connect(target, stage, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(whole.encode())
        row = connection.execute(
            """SELECT datconnlimit, shobj_description(oid, 'pg_database'),
                      has_database_privilege('biso_report', oid, 'CONNECT')
                 FROM pg_database WHERE datname = current_database()"""
        ).fetchone()
        assert row == (7, "100 % 'echt' $biso$", True)
    with admin(target) as role:
        assert settings.read(role, stage).values == (
            ("", "search_path", '"$user", "Über $$ Schema"'),
        )


def test_facts_and_counts_survive_a_document(origin: Origin) -> None:
    assert ServerFacts.from_document(origin.facts.as_document()) == origin.facts
    assert Counts.from_dict(origin.counts.as_dict()) == origin.counts
    assert origin.facts.event_triggers == ("laut",)
    assert None in origin.counts.matviews.values()
    assert dumps.SUFFIXES["plain"] == ".sql.gz"
