"""Personal values that hold rows together, and comments on every kind of object."""

# ruff: noqa: E501  (SQL)
from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from biso_tasks.errors import StepFailed
from biso_tasks.privacy.classify import classify, extend
from biso_tasks.privacy.mask import Masked, mask
from biso_tasks.privacy.masking import comments
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import Leak, Proof, prove

pytestmark = pytest.mark.real

MAIL = "aenne{}@posteo.example"
PEOPLE = """
CREATE TABLE person (login text PRIMARY KEY, vorname text, nachname text);
INSERT INTO person SELECT 'aenne' || i || '@posteo.example', 'Xhevahire', 'Großkopf' || i
    FROM generate_series(1, 30) i;
"""

Way = Any


@pytest.fixture
def way(cluster: Any, make_database: Any) -> Iterator[Way]:
    """Masks a copy of what `sql` makes: the copy, what was done, the proof."""
    opened: list[psycopg.Connection[Any]] = []

    def run(sql: str, **options: Any) -> tuple[psycopg.Connection[Any], Masked, Proof, str]:
        name = make_database()
        with cluster.connect(name) as conn:
            conn.execute(sql.encode())
        copy = make_database(name)
        stage = cluster.connect(copy)
        opened.append(stage)
        with cluster.connect(name) as source:
            inventory = classify(source)
            originals = collect(source, inventory)
        whole = extend(inventory, stage)
        done = mask(stage, originals, whole, **options)
        proof = prove(stage, originals, whole, **{k: v for k, v in options.items() if k == "keep"})
        dumped = subprocess.run(
            ["/usr/lib/postgresql/15/bin/pg_dump", "-h", cluster.directory, "-p",
             str(cluster.port), "-U", "biso", copy],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return stage, done, proof, dumped.stdout

    yield run
    for conn in opened:
        conn.close()


def one(stage: psycopg.Connection[Any], sql: str) -> Any:
    row = stage.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_personal_primary_key_and_all_that_refers_to_it_change_together(way: Way) -> None:
    stage, done, proof, dumped = way(
        PEOPLE
        + """
        CREATE TABLE eintrag (id int PRIMARY KEY, wer text REFERENCES person ON DELETE CASCADE,
            vertretung varchar(60) REFERENCES person DEFERRABLE INITIALLY DEFERRED);
        COMMENT ON CONSTRAINT eintrag_wer_fkey ON eintrag IS 'wem er gehört';
        CREATE TABLE unter (wer text PRIMARY KEY REFERENCES person);
        INSERT INTO eintrag SELECT i, login, NULL FROM person, generate_series(1, 1) i LIMIT 1;
        INSERT INTO eintrag SELECT 10 + row_number() OVER (), login, login FROM person;
        INSERT INTO unter SELECT login FROM person LIMIT 5;
        """
    )
    assert proof.leaks == ()
    assert "posteo" not in dumped
    assert one(stage, "SELECT count(*) FROM eintrag JOIN person ON login = wer") == 31
    assert one(stage, "SELECT count(*) FROM eintrag WHERE wer = vertretung") == 30
    assert one(stage, "SELECT count(*) FROM unter JOIN person ON login = wer") == 5
    assert "wem er gehört" in dumped
    assert one(stage, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 3
    assert {"person.login", "eintrag.wer", "unter.wer"} <= {label for label, _ in done.cells}


def test_rows_of_a_table_whose_key_is_masked_are_compared_by_its_other_columns(way: Way) -> None:
    sql = PEOPLE.replace("vorname text", "n serial, vorname text")
    sql = sql.replace("INTO person", "INTO person (login, vorname, nachname)")
    _, _, proof, _ = way(sql, off={"family"})
    assert [leak.place for leak in proof.leaks] == ["person.nachname"]


LISTED = """
CREATE TABLE fall (id int, mail text, PRIMARY KEY (id, mail)) PARTITION BY LIST (mail);
CREATE TABLE fall_1 PARTITION OF fall FOR VALUES IN ('aenne1@posteo.example');
CREATE TABLE fall_2 PARTITION OF fall FOR VALUES IN ('aenne2@posteo.example');
INSERT INTO fall SELECT i, 'aenne' || 1 + i % 2 || '@posteo.example' FROM generate_series(1, 9) i;
"""


def test_rows_move_to_the_partition_that_takes_their_pseudonym(way: Way) -> None:
    stage, done, proof, _ = way(LISTED + "CREATE TABLE fall_rest PARTITION OF fall DEFAULT;")
    assert one(stage, "SELECT count(*) FROM fall_rest") == 9
    assert one(stage, "SELECT count(DISTINCT mail) FROM fall") == 2
    assert done.left == ()
    assert not [leak for leak in proof.leaks if leak.place.startswith("fall")]


def test_a_partition_key_that_no_partition_takes_stays_with_a_remedy_and_the_proof_finds_it(
    way: Way,
) -> None:
    stage, done, proof, _ = way(LISTED)
    assert one(stage, "SELECT count(*) FROM fall_1") == 4
    assert [left.place for left in done.left] == ["fall_1.mail"]
    assert "DEFAULT" in done.left[0].remedy
    assert "posteo" not in repr(done)
    assert {"fall_1.mail", "fall_2.mail"} <= {leak.place for leak in proof.leaks}


def test_a_key_tied_to_a_kept_table_stays_and_is_named(way: Way) -> None:
    sql = (
        PEOPLE
        + """CREATE TABLE eintrag (id int PRIMARY KEY, wer text REFERENCES person);
        INSERT INTO eintrag SELECT row_number() OVER (), login FROM person;"""
    )
    stage, done, proof, _ = way(sql, keep={"person"})
    assert one(stage, "SELECT count(*) FROM eintrag JOIN person ON login = wer") == 30
    assert [left.place for left in done.left] == ["eintrag.wer"]
    assert "keep_tables" in done.left[0].remedy
    assert {leak.place for leak in proof.leaks} == {"eintrag.wer"}


def test_days_in_a_row_that_must_be_unique_do_not_meet_on_their_way(way: Way) -> None:
    stage, _, proof, dumped = way("""
        CREATE TABLE tagebuch (person int, tag date, PRIMARY KEY (person, tag), stichtag date,
            UNIQUE (person, stichtag));
        INSERT INTO tagebuch SELECT p, date '1961-01-01' + d, date '1961-01-01' + d
            FROM generate_series(1, 3) p, generate_series(1, 700) d;""")
    assert one(stage, "SELECT count(*) FROM tagebuch") == 2100
    assert proof.leaks == ()
    assert "1962-11-30" not in dumped


# Each an object with a comment, as COMMENT ON has it.
OBJECTS = (
    "TABLE t", "COLUMN t.a", "CONSTRAINT t_a_check ON t", "INDEX t_pkey", "SEQUENCE s", "VIEW v",
    "COLUMN v.id", "MATERIALIZED VIEW m", "COLUMN m.id", "TRIGGER tr ON t", "RULE r ON t",
    "POLICY p ON t", "FUNCTION f(integer)", "PROCEDURE pr(text)", "AGGREGATE ag(text)", "TYPE e",
    "TYPE c", "COLUMN c.x", "TYPE ra", "DOMAIN d", 'CONSTRAINT "groß" ON DOMAIN d',
    "SCHEMA archiv", "SCHEMA public", "STATISTICS st", "COLLATION co", "CONVERSION cv",
    "OPERATOR ===(integer, integer)", "OPERATOR CLASS oc USING hash",
    "OPERATOR FAMILY oc USING hash", "TEXT SEARCH CONFIGURATION tc", "TEXT SEARCH DICTIONARY td",
    "CAST (c AS text)", "TABLE part", "INDEX part_pkey", 'TABLE "A on b"',
    'TRIGGER "x on y" ON "A on b"', "EVENT TRIGGER et", "PUBLICATION pub", "SERVER srv",
    "FOREIGN DATA WRAPPER fdw", "FOREIGN TABLE ft", "COLUMN ft.a",
)  # fmt: skip

MADE = """
CREATE TABLE t (id int PRIMARY KEY, a int CHECK (a > 0));
CREATE SEQUENCE s; CREATE VIEW v AS SELECT id FROM t; CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf();
CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING; CREATE POLICY p ON t USING (true);
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE pr(text) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE ag(text) (sfunc = textcat, stype = text);
CREATE TYPE e AS ENUM ('a'); CREATE TYPE c AS (x text); CREATE TYPE ra AS RANGE (subtype = text);
CREATE DOMAIN d AS text CONSTRAINT "groß" CHECK (VALUE <> ''); CREATE SCHEMA archiv;
CREATE STATISTICS st ON id, a FROM t; CREATE COLLATION co FROM "C";
CREATE CONVERSION cv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq);
CREATE TEXT SEARCH CONFIGURATION tc (COPY = simple);
CREATE TEXT SEARCH DICTIONARY td (TEMPLATE = simple);
CREATE FUNCTION ct(c) RETURNS text LANGUAGE sql AS 'SELECT ''x''::text';
CREATE CAST (c AS text) WITH FUNCTION ct(c);
CREATE TABLE part (id int PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE "A on b" (id int);
CREATE TRIGGER "x on y" BEFORE INSERT ON "A on b" FOR EACH ROW EXECUTE FUNCTION tf();
"""


SUPERUSERS = """
CREATE OPERATOR CLASS oc FOR TYPE int4 USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(int4);
CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER et ON sql_drop EXECUTE FUNCTION ef(); CREATE PUBLICATION pub;
CREATE FOREIGN DATA WRAPPER fdw; CREATE SERVER srv FOREIGN DATA WRAPPER fdw;
CREATE FOREIGN TABLE ft (a text) SERVER srv;
"""


def test_a_comment_on_any_kind_of_object_is_removed(cluster: Any, make_database: Any) -> None:
    name = make_database()
    with cluster.connect(name) as conn:
        conn.execute((PEOPLE + MADE).encode())
    with cluster.connect(name, "postgres") as stage:
        stage.execute(SUPERUSERS.encode())
        for target in OBJECTS:
            stage.execute(f"COMMENT ON {target} IS 'von aenne7@posteo.example'".encode())
        stage.execute(f"COMMENT ON DATABASE {name} IS 'von aenne8@posteo.example'".encode())
        inventory = classify(stage)
        originals = collect(stage, inventory)
        done = mask(stage, originals, inventory)
        assert done.left == ()
        assert done.comments == len(OBJECTS) + 1
        # What a foreign table shows cannot be searched, and that is said.
        unread = Leak("foreign table public.ft", "unreadable")
        assert prove(stage, originals, inventory).leaks == (unread,)
    with cluster.connect("postgres", "postgres") as conn:
        assert one(conn, f"SELECT shobj_description(oid, 'pg_database') FROM pg_database "
                   f"WHERE datname = '{name}'") is None  # fmt: skip


def test_a_kind_of_object_that_is_not_known_is_named_and_no_error(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(comments._KINDS, "sequence")
    sql = "CREATE SEQUENCE s; COMMENT ON SEQUENCE s IS 'aenne7@posteo.example'"
    _, done, proof, _ = way(PEOPLE + sql)
    assert [left.place for left in done.left] == ["comment on sequence public.s"]
    assert {leak.place for leak in proof.leaks} == {"comment on sequence public.s"}


def test_the_key_is_in_no_statement_and_no_log(
    cluster: Any, make_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    name = make_database()
    with cluster.connect(name) as conn:
        conn.execute(PEOPLE.encode())
    with cluster.connect("postgres", "postgres") as admin:
        for setting in ("log_statement = 'all'", "log_min_duration_statement = 0",
                        "log_parameter_max_length = -1"):  # fmt: skip
            admin.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())

    def draw(size: int) -> str:
        drawn.append(os.urandom(size).hex())
        return drawn[-1]

    monkeypatch.setattr("secrets.token_hex", draw)
    with cluster.connect(name) as stage:
        inventory = classify(stage)
        originals = collect(stage, inventory)
        start = len((cluster.directory / "log").read_text())
        mask(stage, originals, inventory)
        assert one(stage, "SELECT to_regclass('pg_temp.biso_key')::text") is None
    log = (cluster.directory / "log").read_text()[start:]
    assert "biso_key" in log
    assert len(drawn) == 1
    assert drawn[0] not in log
    assert "posteo" not in log


def test_an_error_while_keys_change_undoes_all_of_it(way: Way) -> None:
    sql = (
        PEOPLE
        + """CREATE TABLE eintrag (wer text REFERENCES person CHECK (wer LIKE 'aenne%'));
        INSERT INTO eintrag SELECT login FROM person;"""
    )
    with pytest.raises(StepFailed, match="eintrag_wer_check"):
        way(sql)
