from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database import grants
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create, drop
from biso_tasks.database.facts import probe
from biso_tasks.database.measure import analyze, fingerprint
from biso_tasks.database.names import stage_name
from biso_tasks.database.pair import check_pair, untrusted_extensions
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.database.transfer import transfer
from biso_tasks.database.wire import PLAIN, Wire
from biso_tasks.errors import Interrupted, StepFailed

pytestmark = pytest.mark.real

RICH = (
    'CREATE SCHEMA "Über Schema"',
    "CREATE EXTENSION pg_trgm",
    "CREATE TYPE stand AS ENUM ('neu', 'alt')",
    """CREATE TABLE person (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
         "Straße" text COLLATE "C", stand stand DEFAULT 'neu',
         klein text GENERATED ALWAYS AS (lower(name)) STORED)""",
    "INSERT INTO person (name, \"Straße\") SELECT 'Müller ' || g, E'Weg\\t\\\\' || g "
    "FROM generate_series(1, 5000) g",
    "COMMENT ON TABLE person IS 'Personen'",
    "COMMENT ON COLUMN person.name IS 'it''s'",
    """CREATE TABLE "Über Schema"."Fall" (id bigserial PRIMARY KEY,
         person int REFERENCES person, betrag numeric(10,2) CHECK (betrag >= 0))""",
    'INSERT INTO "Über Schema"."Fall" (person, betrag) SELECT g, g / 3.0 '
    "FROM generate_series(1, 5000) g",
    "CREATE TABLE termin (id int, tag date NOT NULL) PARTITION BY RANGE (tag)",
    "CREATE TABLE termin_25 PARTITION OF termin FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "CREATE TABLE termin_26 PARTITION OF termin FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "INSERT INTO termin SELECT g, '2025-06-01'::date + g FROM generate_series(1, 500) g",
    "CREATE INDEX person_trgm ON person USING gin (name gin_trgm_ops)",
    "CREATE VIEW offen AS SELECT * FROM person WHERE stand = 'neu'",
    "CREATE MATERIALIZED VIEW zahl AS SELECT count(*) AS n FROM person",
    "CREATE MATERIALIZED VIEW leer AS SELECT 1 AS n WITH NO DATA",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
    "COMMIT;\n/*\n\\.\n*/\nRETURN NEW; END $$",
    "CREATE TRIGGER an BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE TRIGGER aus BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION f()",
    "ALTER TABLE person DISABLE TRIGGER aus",
    "CREATE TABLE geheim (wer text, was text)",
    "INSERT INTO geheim VALUES ('biso_app', 'a'), ('other', 'b')",
    "ALTER TABLE geheim ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY eigen ON geheim USING (wer = current_user)",
    "CREATE SEQUENCE nummer START 7",
    "SELECT nextval('nummer')",
    "SELECT lo_from_bytea(0, '\\x00ff10'::bytea)",
    "SELECT lo_from_bytea(4711, convert_to(repeat('Grüße', 20000), 'UTF8'))",
    "COMMENT ON LARGE OBJECT 4711 IS 'Bild'",
    "CREATE PUBLICATION raus FOR TABLE person",
    "CREATE COLLATION mein (provider = libc, locale = 'C')",
    "CREATE DOMAIN plz AS text CHECK (VALUE ~ '^[0-9]{4}$')",
    "GRANT SELECT ON person TO biso_report",
    "GRANT UPDATE (name) ON person TO biso_report",
    "REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO biso_report",
)


@pytest.fixture
def rich(one: Any, fresh: Callable[..., str]) -> str:
    dbname = fresh(one, "Prod äöü", "biso_app", *RICH)
    one.sql(f"COMMENT ON DATABASE \"{dbname}\" IS 'die echte'")
    return dbname


def build(source: Any, target: Any, cancel: threading.Event, **more: Any) -> tuple[str, list[str]]:
    stage = stage_name(target.dsn.dbname)
    facts = probe(source)
    there = probe(target)
    assert check_pair(facts, there, stage=stage) == []
    with admin(target) as role:
        create(role, target, stage, facts, version=there.version)
    with export(source) as snapshot:
        notes = copy(source, snapshot, target, stage, cancel=cancel, **more)
        before = snapshot.counts()
    with connect(target, stage) as connection:
        assert differences(before, count(connection)) == []
    return stage, notes


def prints(server: Any, dbname: str | None = None) -> dict[str, Any]:
    with connect(server, dbname) as connection:
        return fingerprint(connection)


@pytest.mark.parametrize(
    ("route", "wire", "streams"),
    [("local", PLAIN, 1), ("relay", PLAIN, 1), ("direct", PLAIN, 1), ("local", PLAIN, 3),
     ("relay", Wire("zstd", 3), 1), ("direct", Wire("gzip", 1), 2)],
)  # fmt: skip
def test_everything_comes_through_and_belongs_to_the_application(
    one: Any,
    two: Any,
    rich: str,
    fresh: Callable[..., str],
    cancel: threading.Event,
    route: str,
    wire: Wire,
    streams: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # in the place of `ssh … host --`: a shell that is given the same one word of shell text
    monkeypatch.setattr(f"{transfer.__module__}.remote_words", lambda _: ("bash", "-c"))
    source, target = one.server(rich, name="prod"), two.server(fresh(two, "o'test $(x)"))
    stage, notes = build(source, target, cancel, route=route, wire=wire, streams=streams)
    assert prints(source) == prints(target, stage)
    assert notes == ["left behind: publication 'raus'"]
    with connect(source) as a, connect(target, stage) as b:

        def both(text: str) -> list[Any]:
            rows = [c.execute(text.encode()).fetchall() for c in (a, b)]
            assert rows[0] == rows[1], text
            return rows[1]

        both(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname ="
            " current_database()"
        )
        assert both("SELECT obj_description('person'::regclass)") == [("Personen",)]
        assert both("SELECT description FROM pg_description WHERE objoid = 4711") == [("Bild",)]
        assert both(
            "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
        ) == [("an", "O"), ("aus", "D")]
        assert both("SELECT prosrc FROM pg_proc WHERE proname = 'f'")
        assert both("SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1")
        assert both("SELECT polname FROM pg_policy") == [("eigen",)]
        assert both("SELECT extname FROM pg_extension ORDER BY 1")
        assert both("SELECT collname FROM pg_collation WHERE collname = 'mein'")
        both("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2")
        both("SELECT indexdef FROM pg_indexes WHERE schemaname <> 'pg_catalog' ORDER BY 1")
        both(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database"
            " WHERE datname = current_database()"
        )
        assert b.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)
        foreign = b.execute(
            """SELECT relname, pg_get_userbyid(relowner) FROM pg_class c
                WHERE relnamespace IN ('public'::regnamespace, '"Über Schema"'::regnamespace)
                  AND relowner <> 'biso_app'::regrole"""
        ).fetchall()
        assert foreign == []
        owners = b.execute("SELECT DISTINCT lomowner::regrole::text FROM pg_largeobject_metadata")
        assert owners.fetchall() == [("biso_app",)]
    analyze(target, stage)


def test_grants_come_through_for_roles_that_exist(
    one: Any, two: Any, rich: str, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    one.sql("CREATE ROLE nur_hier", 'GRANT CONNECT ON DATABASE "Prod äöü" TO nur_hier')
    one.sql("GRANT SELECT ON person TO nur_hier", dbname=rich)
    try:
        source, target = one.server(rich, name="prod"), two.server(fresh(two, "test"))
        stage, _ = build(source, target, cancel)
        with connect(source) as connection:
            given = grants.read(connection)
        notes = grants.apply(target, stage, given, source_role="biso_app")
        assert notes == [
            "1 privileges of the role 'nur_hier' were left behind: test has no such role"
        ]
        with connect(target, stage) as connection:
            again = grants.read(connection)
        assert set(again) == {g for g in given if g.grantee != "nur_hier"}
    finally:
        one.sql("DROP OWNED BY nur_hier", dbname=rich)
        one.sql("DROP OWNED BY nur_hier", "DROP ROLE nur_hier")


def test_an_untrusted_extension_is_made_by_the_admin_in_its_own_schema(
    one: Any, two: Any, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    dbname = fresh(one, "prod")
    one.sql(
        "CREATE SCHEMA erw",
        "CREATE EXTENSION file_fdw SCHEMA erw",
        "CREATE EXTENSION pageinspect",
        "COMMENT ON EXTENSION pageinspect IS 'von uns'",
        "CREATE TABLE erw.t (a int)",
        "INSERT INTO erw.t VALUES (1)",
        "GRANT ALL ON SCHEMA erw TO biso_app",
        "GRANT ALL ON erw.t TO biso_app",
        "CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER laut ON ddl_command_end EXECUTE FUNCTION ev()",
        dbname=dbname,
    )
    source = one.server(dbname, name="prod")
    target = two.admin_server(fresh(two, "test", "biso_poor"))
    untrusted = untrusted_extensions(probe(source), probe(target))
    assert untrusted == ("file_fdw", "pageinspect")
    stage, notes = build(source, target, cancel, untrusted=untrusted)
    assert notes == [
        "left behind: event trigger (only a superuser may create one) 'laut'",
        "left behind: the comment of the extension 'pageinspect', which somebody had changed; its "
        "owner can set it (COMMENT ON EXTENSION)",
    ]
    with connect(target, stage) as connection:
        owner = connection.execute(
            "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'erw'"
        ).fetchone()
        assert owner == ("biso_poor",)
        found = connection.execute("SELECT extname FROM pg_extension ORDER BY 1").fetchall()
        assert found == [("file_fdw",), ("pageinspect",), ("plpgsql",)]


def cut(server: Any, how: str, directory: Path) -> Any:
    """`server` with a pg_dump whose output ends too early, in the way `how`."""
    for program in ("pg_restore", "psql"):
        (directory / program).symlink_to(Path(server.bindir) / program)
    real = f"{server.bindir}/pg_dump"
    ends = {
        "truncated": f'case " $* " in *section=data*) {real} "$@" | head -c 90000; exit 1;; esac',
        "killed": f'case " $* " in *section=data*) ({real} "$@" & p=$!; '
        "sleep 0.3; kill -9 $p; wait $p); exit $?;; esac",
    }
    (directory / "pg_dump").write_text(f'#!/bin/sh\n{ends[how]}\nexec {real} "$@"\n')
    (directory / "pg_dump").chmod(0o755)
    return replace(server, bindir=str(directory))


@pytest.mark.parametrize("how", ["truncated", "killed"])
@pytest.mark.parametrize(
    ("wire", "streams"), [(PLAIN, 1), (Wire("zstd", 3), 1), (PLAIN, 3)],
    ids=["plain", "packed", "in streams"],
)  # fmt: skip
@pytest.mark.parametrize("route", ["relay", "direct"])
def test_a_dump_that_ends_inside_its_rows_is_not_taken_over(
    one: Any,
    two: Any,
    rich: str,
    fresh: Callable[..., str],
    cancel: threading.Event,
    tmp_path: Path,
    how: str,
    route: str,
    wire: Wire,
    streams: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{transfer.__module__}.remote_words", lambda _: ("bash", "-c"))
    one.sql(
        "CREATE TABLE viel AS SELECT g, repeat('x', 500) FROM generate_series(1, 300000) g",
        "ALTER TABLE viel OWNER TO biso_app",
        dbname=rich,
    )
    source, target = one.server(rich, name="prod"), two.server(fresh(two, "test"))
    stage = stage_name("test")
    with admin(target) as role:
        create(role, target, stage, probe(source))
    with export(source) as snapshot, pytest.raises(StepFailed):
        copy(
            cut(source, how, tmp_path), snapshot, target, stage,
            route=route, wire=wire, streams=streams, cancel=cancel,
        )  # fmt: skip
    time.sleep(0.2)
    with connect(target, stage) as connection:
        there = count(connection).tables
        assert there.get('"public"."viel"', 0) == 0
        assert not there or streams > 1, "then a stream is a transaction of its own"


def test_without_the_gate_a_cut_dump_loads_with_exit_0_and_some_rows(
    one: Any, two: Any, rich: str, fresh: Callable[..., str]
) -> None:
    """The trap: `psql -1 -v ON_ERROR_STOP=1` is no defence."""
    fresh(two, "test")
    env = {**os.environ, "PGPASSWORD": one.server().dsn.password.reveal()}

    def words(cluster: Any, program: str, dbname: str, *more: str) -> list[str]:
        return [
            f"{cluster.bindir}/{program}",
            "-h",
            "127.0.0.1",
            "-p",
            str(cluster.port),
            "-U",
            "biso_app",
            "-d",
            f"dbname='{dbname}'",
            *more,
        ]

    dump = subprocess.run(
        words(one, "pg_dump", rich, "-O", "-x", "--no-publications"),
        env=env,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    at = dump.index(b"COPY public.person ") + 40000
    loaded = subprocess.run(
        words(two, "psql", "test", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"),
        env=env,
        input=dump[: dump.index(b"\n", at) + 1],
        capture_output=True,
        check=False,
    )
    assert (loaded.returncode, loaded.stderr) == (0, b"")
    with connect(two.server("test")) as connection:
        rows = connection.execute("SELECT count(*) FROM person").fetchone()
    assert rows is not None
    assert 0 < rows[0] < 5000


def test_psql_in_one_transaction_commits_half_a_dump_that_has_large_objects(
    one: Any, two: Any, rich: str, fresh: Callable[..., str]
) -> None:
    """The trap: pg_dump's own COMMIT after the large objects ends the transaction of `psql -1`."""
    fresh(two, "test")
    env = {**os.environ, "PGPASSWORD": one.server().dsn.password.reveal()}

    def words(cluster: Any, program: str, dbname: str, *more: str) -> list[str]:
        return [
            *(f"{cluster.bindir}/{program}", "-h", "127.0.0.1", "-p", str(cluster.port)),
            *("-U", "biso_app", "-d", f"dbname='{dbname}'", *more),
        ]

    dump = subprocess.run(
        words(one, "pg_dump", rich, "-O", "-x", "--no-publications"),
        env=env,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    broken = dump[: dump.index(b"PRIMARY KEY (id)")] + b"\nSELECT 1/0;\n"
    loaded = subprocess.run(
        words(two, "psql", "test", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"),
        env=env,
        input=broken,
        capture_output=True,
        check=False,
    )
    assert loaded.returncode == 3
    with connect(two.server("test")) as connection:
        assert connection.execute("SELECT count(*) FROM person").fetchone() == (5000,)


def test_the_target_s_own_grants_can_be_added(
    one: Any, two: Any, rich: str, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    source, target = one.server(rich, name="prod"), two.server(fresh(two, "test"))
    own = (
        grants.Grant('TABLE "public"."person"', "biso_other", "SELECT", False),
        grants.Grant('TABLE "public"."weg"', "biso_other", "SELECT", False),
    )
    stage, _ = build(source, target, cancel)
    with connect(source) as connection:
        grants.apply(target, stage, grants.read(connection))
    assert grants.apply(target, stage, own, add=True) == []
    with connect(target, stage) as connection:
        found = connection.execute(
            "SELECT has_table_privilege('biso_other', 'person', 'SELECT'),"
            " has_table_privilege('biso_report', 'person', 'SELECT')"
        ).fetchone()
    assert found == (True, True)


def test_a_load_that_fails_says_why_in_one_line(
    one: Any, two: Any, rich: str, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    source, target = one.server(rich, name="prod"), two.server(fresh(two, "test"))
    stage = stage_name("test")
    with admin(target) as role:
        create(role, target, stage, probe(source))
    with connect(target, stage) as connection:
        connection.execute("CREATE TABLE person (a int)")
    with export(source) as snapshot, pytest.raises(StepFailed, match="already exists") as caught:
        copy(source, snapshot, target, stage, cancel=cancel)
    assert "\n" not in caught.value.message


def test_a_cancelled_copy_stops_at_once_and_leaves_no_session(
    one: Any, two: Any, rich: str, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    source, target = one.server(rich, name="prod"), two.server(fresh(two, "test"))
    stage = stage_name("test")
    with admin(target) as role:
        create(role, target, stage, probe(source))
        threading.Timer(0.3, cancel.set).start()
        one.sql(
            "CREATE TABLE viel AS SELECT g, repeat('x', 900) FROM generate_series(1, 400000) g",
            "ALTER TABLE viel OWNER TO biso_app",
            dbname=rich,
        )
        cancel.clear()
        threading.Timer(0.4, cancel.set).start()
        with export(source) as snapshot, pytest.raises(Interrupted):
            copy(source, snapshot, target, stage, cancel=cancel)
        assert drop(role, target, stage)


def test_a_newer_server_takes_an_older_one_s_dump(
    one: Any, newer: Any, rich: str, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    source, target = one.server(rich, name="prod"), newer.server(fresh(newer, "test"))
    stage, _ = build(source, target, cancel)
    assert prints(source) == prints(target, stage)


def test_version_18_is_copied_as_well(
    newer: Any, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    source = newer.server(fresh(newer, "prod", "biso_app", *RICH), name="prod")
    target = newer.server(fresh(newer, "test"))
    stage, _ = build(source, target, cancel)
    assert prints(source) == prints(target, stage)
    with connect(target, stage) as connection:
        found = connection.execute("SELECT length(lo_get(4711))").fetchone()
    assert found == (len("Grüße".encode()) * 20000,)


def test_rows_can_stay_behind(
    one: Any, two: Any, rich: str, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    source, target = one.server(rich, name="prod"), two.server(fresh(two, "test"))
    stage = stage_name("test")
    left = '"Über Schema"."Fall"'
    with admin(target) as role:
        create(role, target, stage, probe(source))
    with export(source) as snapshot:
        copy(source, snapshot, target, stage, cancel=cancel, exclude_tables=[left])
        before = snapshot.counts()
    with connect(target, stage) as connection:
        after = count(connection)
    assert after.tables[left] == 0
    assert differences(before, after, without=frozenset([left])) == []
