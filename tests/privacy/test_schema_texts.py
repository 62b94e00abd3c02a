"""An original in each catalog that people write to: found with its place, judged by pg_dump."""

# ruff: noqa: E501  (SQL)
from __future__ import annotations

import subprocess
from typing import Any

import pytest

from biso_tasks.privacy.classify import Classified, classify, extend
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import Originals, collect
from biso_tasks.privacy.prove import Leak, Proof, prove
from biso_tasks.privacy.schema_texts import read, shown

pytestmark = pytest.mark.real

MAIL = "aenne7@posteo.example"
BASE = """
CREATE TABLE person (id int PRIMARY KEY, vorname text, nachname text, email text);
INSERT INTO person SELECT i, 'Xhevahire', 'Großkopf' || i, 'aenne' || i || '@posteo.example' FROM generate_series(1, 30) i;
CREATE TABLE t (id int PRIMARY KEY, a text);
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
"""

# DDL with {w} for the original, and the place that the finding names.
CASES = {
    "function": ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '{w}'::text $$", "function public.f()"),
    "procedure": ("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN PERFORM '{w}'; END $$", "procedure public.p()"),
    "argument's default": ("CREATE FUNCTION f(a text DEFAULT '{w}') RETURNS text LANGUAGE sql AS 'SELECT a'", "function public.f(pg_catalog.text)"),
    "function's setting": ("CREATE FUNCTION f() RETURNS text LANGUAGE sql SET app.wer = '{w}' AS $$ SELECT ''::text $$", "function public.f()"),
    "aggregate": ("CREATE AGGREGATE ag(text) (sfunc = textcat, stype = text, initcond = '{w}')", "aggregate public.ag(pg_catalog.text)"),
    "view": ("CREATE VIEW v AS SELECT id FROM t WHERE a <> '{w}'", "view public.v"),
    "materialized view": ("CREATE MATERIALIZED VIEW v AS SELECT id FROM t WHERE a <> '{w}'", "materialized view public.v"),
    "rule": ("CREATE RULE r AS ON UPDATE TO t WHERE OLD.a = '{w}' DO INSTEAD NOTHING", "rule r on public.t"),
    "trigger's argument": ("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf('{w}')", "trigger tr on public.t"),
    "trigger's condition": ("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a = '{w}') EXECUTE FUNCTION tf()", "trigger tr on public.t"),
    "policy": ("CREATE POLICY po ON t USING (a <> '{w}')", "policy po on public.t"),
    "policy's check": ("CREATE POLICY po ON t FOR INSERT WITH CHECK (a <> '{w}')", "policy po on public.t"),
    "default": ("ALTER TABLE t ALTER a SET DEFAULT '{w}'", "default value for public.t.a"),
    "generated column": ("ALTER TABLE t ADD g text GENERATED ALWAYS AS (replace(a, '{w}', '')) STORED", "default value for public.t.g"),
    "check": ("ALTER TABLE t ADD CONSTRAINT k CHECK (a <> '{w}')", "table constraint k on public.t"),
    "index predicate": ("CREATE INDEX i ON t (id) WHERE a = '{w}'", "index public.i"),
    "index expression": ("CREATE INDEX i ON t ((replace(a, '{w}', '')))", "index public.i"),
    "partition bound": ("CREATE TABLE q (m text) PARTITION BY LIST (m); CREATE TABLE q1 PARTITION OF q FOR VALUES IN ('{w}')", "bounds of table public.q1"),
    "partition key": ("CREATE TABLE q (m text) PARTITION BY LIST (replace(m, '{w}', ''))", "partition key of table public.q"),
    "domain's default": ("CREATE DOMAIN d AS text DEFAULT '{w}'", "default of type public.d"),
    "domain's check": ("CREATE DOMAIN d AS text CONSTRAINT k CHECK (VALUE <> '{w}')", "domain constraint k on public.d"),
    "statistics": ("CREATE STATISTICS st ON (replace(a, '{w}', '')), id FROM t", "statistics object public.st"),
    "database setting": ("ALTER DATABASE {db} SET app.wer = '{w}'", "database setting app.wer"),
    "role's setting": ("ALTER ROLE biso IN DATABASE {db} SET app.wer = '{w}'", "database setting app.wer of role biso"),
    "dictionary": ("CREATE TEXT SEARCH DICTIONARY td (TEMPLATE = simple, accept = 'true'); UPDATE pg_ts_dict SET dictinitoption = 'x = ''{w}''' WHERE dictname = 'td'", "text search dictionary public.td"),
    "foreign table's options": ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE ft (a text) SERVER s OPTIONS (x '{w}')", "options of foreign table public.ft"),
    "foreign column's options": ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE ft (a text OPTIONS (x '{w}')) SERVER s", "options of foreign table column public.ft.a"),
    "server's options": ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (x '{w}')", "options of server s"),
    "sequence's name": ('CREATE SEQUENCE "{w}"', "name of sequence ‹name›"),
    "table's name": ('CREATE TABLE "akte_Xhevahire_Großkopf7" (id int)', "name of table ‹name›"),
    "column's name": ('ALTER TABLE t ADD "mail_{w}" text', "name of table column ‹name›"),
    "function's name": ('CREATE FUNCTION "{w}"() RETURNS int LANGUAGE sql AS \'SELECT 1\'', "name of function ‹name›"),
    "argument's name": ('CREATE FUNCTION f("{w}" int) RETURNS int LANGUAGE sql AS \'SELECT 1\'', "name of function public.f(integer)"),
    "schema's name": ('CREATE SCHEMA "{w}"', "name of schema ‹name›"),
    "constraint's name": ('ALTER TABLE t ADD CONSTRAINT "{w}" CHECK (id > 0)', "name of table constraint ‹name›"),
    "type's name": ('CREATE TYPE "{w}" AS ENUM ()', "name of type ‹name›"),
    "index's name": ('CREATE INDEX "{w}" ON t (a)', "name of index ‹name›"),
}  # fmt: skip
# What a dump of this one database does not have, or a superuser alone could.
NOT_IN_DUMP = {"database setting", "role's setting"}


def made(cluster: Any, name: str, ddl: str) -> str:
    with cluster.connect(name, "postgres") as conn:
        conn.execute(BASE.encode())
        conn.execute(ddl.replace("{w}", MAIL).replace("{db}", name).encode())
    return name


def proven(cluster: Any, name: str, **options: Any) -> Proof:
    with cluster.connect(name, "postgres") as stage:
        inventory, originals = known(stage)
        mask(stage, originals, inventory)
        return prove(stage, originals, inventory, **options)


def known(stage: Any) -> tuple[tuple[Classified, ...], Originals]:
    inventory = classify(stage)
    return extend(inventory, stage), collect(stage, inventory)


def dump(cluster: Any, name: str) -> str:
    done = subprocess.run(
        ["/usr/lib/postgresql/15/bin/pg_dump", "-h", cluster.directory, "-p", str(cluster.port),
         "-U", "postgres", name],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert isinstance(done.stdout, str)
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_an_original_in_the_schema_is_found_at_its_place_and_one_declared_harmless_is_not(
    cluster: Any, make_database: Any, case: str
) -> None:
    ddl, place = CASES[case]
    if case == "dictionary":
        ddl = "SET allow_system_table_mods = on; " + ddl
    name = made(cluster, make_database(), ddl)

    proof = proven(cluster, name)

    if case not in NOT_IN_DUMP:
        text = dump(cluster, name)
        assert MAIL in text or "Großkopf7" in text  # it is really there
    assert place in {leak.place for leak in proof.leaks}
    assert MAIL not in repr(proof)
    assert "Großkopf7" not in repr(proof)
    with cluster.connect(name, "postgres") as stage:
        places = {where for where, _ in read(stage)}
    assert proven(cluster, name, harmless=places | {"foreign table *"}).leaks == ()


def test_nothing_in_an_ordinary_schema_is_accused(cluster: Any, make_database: Any) -> None:
    name = made(
        cluster, make_database(), "CREATE EXTENSION hstore; CREATE TYPE e AS ENUM ('offen', 'Bern')"
    )
    with cluster.connect(name, "postgres") as conn:
        conn.execute(b"COMMENT ON SCHEMA public IS 'standard public schema'")
        own = [place for place, _ in read(conn) if "hstore" in place]
        assert own == ["comment on extension hstore"]  # people write there as well
    assert proven(cluster, name).leaks == ()


def test_enum_labels_are_renamed_with_all_that_uses_them(cluster: Any, make_database: Any) -> None:
    name = made(
        cluster,
        make_database(),
        """
        CREATE TYPE betreuer AS ENUM ('Xhevahire Großkopf3', 'Xhevahire Großkopf4', 'niemand');
        CREATE TABLE fall (id int PRIMARY KEY, wer betreuer DEFAULT 'Xhevahire Großkopf3');
        INSERT INTO fall VALUES (1, DEFAULT), (2, 'Xhevahire Großkopf4'), (3, 'niemand');
        CREATE VIEW seine AS SELECT id FROM fall WHERE wer = 'Xhevahire Großkopf3';""",
    )
    with cluster.connect(name, "postgres") as stage:
        inventory, originals = known(stage)
        mask(stage, originals, inventory, off={"label"})
        assert prove(stage, originals, inventory).leaks
        done = mask(stage, originals, inventory)
        assert done.labels == 2
        assert prove(stage, originals, inventory).leaks == ()
        assert stage.execute("SELECT count(*) FROM seine").fetchone() == (1,)
        labels = stage.execute("SELECT enumlabel FROM pg_enum ORDER BY enumsortorder").fetchall()
    assert labels[2] == ("niemand",)
    assert len(set(labels)) == 3
    assert "Großkopf" not in dump(cluster, name)


def test_a_foreign_table_is_a_way_to_where_its_rows_are(cluster: Any, make_database: Any) -> None:
    name = made(
        cluster,
        make_database(),
        CASES["server's options"][0].replace("{w}", "x")
        + "; CREATE FOREIGN TABLE ft (a text) SERVER s",
    )
    assert Leak("foreign table public.ft", "unreadable") in proven(cluster, name).leaks
    assert proven(cluster, name, harmless={"foreign table public.ft"}).leaks == ()


def test_a_name_that_is_an_original_is_taken_out_of_the_place() -> None:
    def find(text: str) -> frozenset[str]:
        return frozenset({"name"} if "Anna Muster" in text else ())

    assert shown("table public.akte", find) == "table public.akte"
    assert shown('table public."Anna_Muster"', find) == "table ‹name›"
    assert shown("comment on schema Anna_Muster", find) == "comment ‹name›"
