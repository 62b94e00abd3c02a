"""Every type in every shape that legal data has: masked, and judged by pg_dump, not by our own
scanner."""

from __future__ import annotations

# ruff: noqa: E501  (SQL)
import subprocess
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.classify import classify, extend
from biso_tasks.privacy.mask import Masked, mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import prove

pytestmark = pytest.mark.real

MAIL = "aenne.grosskopf{}@posteo.example"


@dataclass(frozen=True)
class Family:
    """A type, two of its values as SQL, and what of them must not be in a dump afterwards."""

    name: str
    sql: str
    values: tuple[str, str]
    originals: tuple[str, ...]
    key: bool = True  # can be one whose values stay apart
    constant: bool = False  # every value becomes the same


FAMILIES = (
    Family("text", "text", (f"'{MAIL.format(1)}'", f"'{MAIL.format(2)}'"), ("grosskopf",)),
    Family("varchar", "varchar(40)", ("'Großkopf-Zürcher'", "'Xhemajli'"), ("Großkopf", "Xhemaj")),
    Family("char", "char(16)", ("'756.9217.0769.85'", "'756.1234.5678.97'"), ("9217", "1234.56")),
    Family("citext", "citext", (f"'{MAIL.format(1)}'", f"'{MAIL.format(2)}'"), ("grosskopf",)),
    Family("int8", "int8", ("7569217076985", "7561234567897"), ("7569217076985", "7561234567897")),
    Family("numeric", "numeric", ("7569217076985", "7561234567897"), ("7569217076985", "456789")),
    Family("date", "date", ("'1961-05-17'", "'1961-05-18'"), ("1961-05-17",)),
    Family("timestamp", "timestamptz", ("'1961-05-17 10:41:07+00'", "'1971-08-23 06:13:52+00'"),
           ("1961-05-17 ", "1971-08-23 ")),
    Family("jsonb", "jsonb", ("""'{"arzt": "Dr. Großkopf"}'""", """'{"Änne Großkopf": 41795550142}'"""),
           ("Großkopf", "41795550142")),
    Family("json", "json", ("""'{"arzt": "Dr. Großkopf"}'""", """'["Änne Großkopf"]'"""),
           ("Großkopf",), key=False),
    Family("bytea", "bytea", ("'Großkopf 1'::text::bytea", "'Großkopf 2'::text::bytea"),
           ("47726fc39f6b6f70",)),
    Family("xml", "xml", ("'<a>Großkopf</a>'", "'<b>Großkopf 2</b>'"), ("Großkopf",), key=False),
    Family("hstore", "hstore", (f"hstore('{MAIL.format(1)}', 'Großkopf')", "hstore('a', 'Großkopf')"),
           ("rosskopf", "Großkopf")),
    Family("inet", "inet", ("'85.3.1.9'", "'85.3.1.10'"), ("85.3.1.",)),
    Family("macaddr", "macaddr", ("'00:1b:44:11:3a:b7'", "'00:1b:44:11:3a:b8'"), ("00:1b:44",)),
    Family("uuid", "uuid", ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
                            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"), ("a0eebc99",)),
    Family("range", "daterange", ("'[1961-05-17,1961-06-01)'", "'[1971-05-17,1971-06-01)'"),
           ("1961-05-17", "1971-05-17")),
    Family("textrange", "trange", ("'[Großkopf,Zürcher)'", "'[Großkopf,Zz)'"), ("Großkopf",)),
    Family("multirange", "datemultirange", ("'{[1961-05-17,1961-06-01)}'", "'{[1971-05-17,1971-06-01)}'"),
           ("1961-05-17",), key=False),
    Family("tsvector", "tsvector", ("to_tsvector('simple', 'Großkopf')", "to_tsvector('simple', 'Großkopf Zwei')"),
           ("großkopf",), key=False),
    Family("composite", "adr", ("ROW('Lindenhofgässli 17b', 'Köniz', 1)", "ROW('Lindenhofgässli 18', NULL, 2)"),
           ("Lindenhof", "Köniz")),
    Family("enum", "farbe", ("'rot'", "'blau'"), (), key=False),
    Family("bool", "bool", ("true", "false"), (), key=False),
    Family("point", "point", ("'(46.94,7.44)'", "'(46.95,7.44)'"), ("46.94",), key=False, constant=True),
    Family("interval", "interval", ("'61 years 3 days'", "'62 years'"), ("61 years",), constant=True),
    Family("varbit", "varbit", ("'1010111101'", "'1110111101'"), ("1010111101",), constant=True),
)  # fmt: skip

TYPES = """
CREATE TYPE trange AS RANGE (subtype = text);
CREATE TYPE adr AS (strasse text, ort text, nummer int);
CREATE TYPE farbe AS ENUM ('rot', 'grün', 'blau', 'gelb');
"""


@dataclass(frozen=True)
class Shape:
    """How a column of a type stands in a table: DDL with {t} for the type and {v}, {w} for values."""

    name: str
    ddl: str
    key: bool = False


SHAPES = (
    Shape("plain", "CREATE TABLE a (id int PRIMARY KEY, besonderes {t} NOT NULL);"
          "INSERT INTO a VALUES (1, {v}), (2, {w})"),
    Shape("nullable", "CREATE TABLE a (id int PRIMARY KEY, besonderes {t});"
          "INSERT INTO a VALUES (1, {v}), (2, NULL), (3, {w})"),
    Shape("array", "CREATE TABLE a (id int PRIMARY KEY, besonderes {t}[]);"
          "INSERT INTO a VALUES (1, ARRAY[{v}, NULL, {w}]::{t}[]), (2, '{{}}'), (3, NULL)"),
    Shape("matrix", "CREATE TABLE a (id int PRIMARY KEY, besonderes {t}[] CHECK (array_ndims(besonderes) = 2));"
          "INSERT INTO a VALUES (1, ARRAY[ARRAY[{v}, {w}], ARRAY[{w}, {v}], ARRAY[NULL, {v}]]::{t}[])"),
    Shape("domain", "CREATE DOMAIN d AS {t} CHECK (VALUE IS DISTINCT FROM NULL);"
          "CREATE TABLE a (id int PRIMARY KEY, besonderes d);"
          "INSERT INTO a VALUES (1, {v}), (2, {w})"),
    Shape("domain array", "CREATE DOMAIN d AS {t};"
          "CREATE TABLE a (id int PRIMARY KEY, besonderes d[]);"
          "INSERT INTO a VALUES (1, ARRAY[{v}, {w}]::d[])"),
    Shape("array domain", "CREATE DOMAIN d AS {t}[];"
          "CREATE TABLE a (id int PRIMARY KEY, besonderes d);"
          "INSERT INTO a VALUES (1, ARRAY[{v}, {w}]::{t}[])"),
    Shape("in a composite", "CREATE TYPE c AS (eins {t}, viele {t}[]);"
          "CREATE TABLE a (id int PRIMARY KEY, besonderes c, mehr c[]);"
          "INSERT INTO a VALUES (1, ROW({v}, ARRAY[{w}]::{t}[]), ARRAY[ROW({w}, ARRAY[{v}]::{t}[])]::c[])"),
    Shape("unique", "CREATE TABLE a (id int PRIMARY KEY, besonderes {t} UNIQUE NOT NULL);"
          "INSERT INTO a VALUES (1, {v}), (2, {w})", key=True),
    Shape("primary key", "CREATE TABLE a (besonderes {t} PRIMARY KEY, n int);"
          "INSERT INTO a VALUES ({v}, 1), ({w}, 2)", key=True),
    Shape("foreign key", "CREATE TABLE a (besonderes {t} PRIMARY KEY);"
          "CREATE TABLE b (id int PRIMARY KEY, wessen {t} NOT NULL REFERENCES a);"
          "INSERT INTO a VALUES ({v}), ({w}); INSERT INTO b VALUES (1, {v}), (2, {w}), (3, {v})",
          key=True),
    Shape("partition key", "CREATE TABLE a (id int, besonderes {t}, PRIMARY KEY (id, besonderes))"
          " PARTITION BY HASH (besonderes);"
          "CREATE TABLE a0 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
          "CREATE TABLE a1 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
          "INSERT INTO a VALUES (1, {v}), (2, {w}), (3, {v})", key=True),
)  # fmt: skip


def shapes(family: Family) -> list[Shape]:
    """The shapes that a type can have."""
    return [
        shape
        for shape in SHAPES
        if not (shape.key and (not family.key or family.constant))
        and not (shape.name == "partition key" and family.name == "tsvector")  # without a hash
    ]


def dump(cluster: Any, name: str) -> str:
    done = subprocess.run(
        ["/usr/lib/postgresql/15/bin/pg_dump", "-h", cluster.directory, "-p", str(cluster.port), "-U", "biso", name],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert isinstance(done.stdout, str)
    return done.stdout


def masked(cluster: Any, make_database: Any, name: str) -> tuple[str, Masked]:
    """The whole way for the database `name`: the name of its masked copy, and what was done."""
    copy = make_database(name)
    with cluster.connect(name) as source, cluster.connect(copy) as stage:
        inventory = classify(source)
        personal = {
            one.column.label: True
            for one in inventory
            if one.column.name in ("besonderes", "mehr") and one.column.kind == "table"
        }
        inventory = classify(source, overrides=personal)
        originals = collect(source, inventory)
        whole = extend(inventory, stage)
        done = mask(stage, originals, whole)
        assert prove(stage, originals, whole).leaks == ()
    return copy, done


@pytest.fixture(scope="module")
def types(cluster: Any, make_database: Any) -> str:
    name: str = make_database(extensions=("hstore", "citext"))
    with cluster.connect(name) as conn:
        conn.execute(TYPES.encode())
    return name


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_type_is_masked_in_every_shape_and_all_that_holds_rows_together_stays(
    cluster: Any, make_database: Any, types: str, family: Family
) -> None:
    name: str = make_database(types)
    v, w = (f"{value}::{family.sql}" for value in family.values)
    with cluster.connect(name) as conn:
        for shape in shapes(family):
            schema = "s_" + shape.name.replace(" ", "_")
            conn.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}, public".encode())
            conn.execute(shape.ddl.format(t=family.sql, v=v, w=w).encode())
        before = _facts(conn, family)

    copy, done = masked(cluster, make_database, name)

    raw, text = dump(cluster, name), dump(cluster, copy)
    for original in family.originals:
        assert original in raw
        assert [line for line in text.splitlines() if original in line] == []
    assert done.left == ()
    with cluster.connect(copy) as conn:
        assert _facts(conn, family) == before


def _facts(conn: psycopg.Connection[Any], family: Family) -> list[Any]:
    """Values that are there, dimensions, rows that meet by the key, and the keys."""
    conn.execute(b"SET search_path = public")
    facts: list[Any] = []
    for shape in shapes(family):
        name = "s_" + shape.name.replace(" ", "_")
        what = "array_agg(array_dims(besonderes) ORDER BY id)" if "[]" in shape.ddl else "count(*)"
        if name == "s_in_a_composite":
            what = "array_agg(array_dims(mehr) ORDER BY id)"
        rows = f"SELECT {what}, count(besonderes) FROM {name}.a"
        facts.append((name, conn.execute(rows.encode()).fetchone()))
        if name == "s_foreign_key":
            meet = f"SELECT count(*) FROM {name}.b JOIN {name}.a ON b.wessen = a.besonderes"
            facts.append(conn.execute(meet.encode()).fetchone())
    keys = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    facts.append(
        conn.execute(
            f"{keys} WHERE contype IN ('p', 'f', 'u') AND conrelid >= 16384 ORDER BY 1, 2".encode()
        ).fetchall()
    )
    return facts
