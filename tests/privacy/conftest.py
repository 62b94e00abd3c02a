"""A PostgreSQL of these tests' own, and a database in which something personal is planted in every
kind of place that the classification knows."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

BIN = Path("/usr/lib/postgresql/15/bin")

AHV = "756.9217.0769.85"
AHV_NUMBER = 7569217076985
IBAN = "CH93 0076 2011 6238 5295 7"
LONG = (
    "Frau kam heute sehr aufgewühlt zum Gespräch weil ihr Bruder gestern unerwartet nach Portugal "
    "zurückgekehrt ist und sie nun alleine für die Wohnung aufkommen muss"
)


@dataclass(frozen=True)
class Cluster:
    """One server; `connect` gives an autocommit connection as the application's role."""

    directory: Path
    port: int

    def connect(self, dbname: str, user: str = "biso") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.directory), port=self.port, dbname=dbname, user=user, autocommit=True
        )


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if not (BIN / "postgres").exists():
        pytest.skip("PostgreSQL 15 is missing: apt install postgresql-15")
    # A socket path may have 107 bytes: pytest's own directories are too long.
    directory = Path(tempfile.mkdtemp(prefix="bp", dir="/tmp"))
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    shutil.chown(directory, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    if os.geteuid() != 0:
        as_user = {}
    data = directory / "d"
    subprocess.run(
        [BIN / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C.utf8", "-N"],
        check=True, stdout=subprocess.DEVNULL, cwd="/", **as_user,
    )  # fmt: skip
    with (directory / "log").open("w") as log:
        server = subprocess.Popen(
            [BIN / "postgres", "-D", data, "-k", directory, "-p", str(port), "-c", "fsync=off",
             "-c", "listen_addresses=", "-c", "log_statement=none"],
            stdout=log, stderr=log, cwd="/", **as_user,
        )  # fmt: skip
    found = Cluster(directory, port)
    try:
        for _ in range(200):
            try:
                with found.connect("postgres", "postgres") as conn:
                    conn.execute("CREATE ROLE biso LOGIN CREATEDB")
                break
            except psycopg.OperationalError:
                assert server.poll() is None, (directory / "log").read_text()
                time.sleep(0.05)
        yield found
    finally:
        server.send_signal(signal.SIGINT)  # fast: SIGTERM waits for clients
        server.wait(30)
        shutil.rmtree(directory)


Database = Callable[..., str]


@pytest.fixture(scope="session")
def make_database(cluster: Cluster) -> Database:
    """A new database of the application's role, from `template`; its name comes back."""
    counter = iter(range(1_000_000))

    def make(template: str = "template0", extensions: tuple[str, ...] = ()) -> str:
        name = f"b{next(counter)}"
        with cluster.connect("postgres", "postgres") as conn:
            conn.execute(f'CREATE DATABASE "{name}" OWNER biso TEMPLATE "{template}"'.encode())
        for extension in extensions:
            with cluster.connect(name, "postgres") as conn:
                conn.execute(f"CREATE EXTENSION {extension}".encode())
        return name

    return make


@pytest.fixture
def database(cluster: Cluster, make_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """An empty database, connected as its owner."""
    with cluster.connect(make_database()) as conn:
        yield conn


# One place a kind of `classify.Kind`, most of them several, and awkward names.
# ruff: noqa: E501  (SQL)
PLANTED = f"""
CREATE TYPE stimmung AS ENUM ('gut', 'schlecht');
CREATE TYPE adresse AS (strasse text, plz text, ort text);
CREATE DOMAIN tel AS varchar(24) CHECK (value <> '');
CREATE TABLE person (
    id int PRIMARY KEY, vorname varchar(40) NOT NULL, nachname varchar(40) NOT NULL, "Straße" text,
    plz char(4), ort text, telefon tel, "E-Mail" citext UNIQUE, ahv_nr text, iban text,
    geburtsdatum date CHECK (geburtsdatum <= '2026-01-01'), foto bytea, zusatz jsonb, alt json,
    hobbys text[], mails citext[], wohnt adresse, ip inet, mac macaddr, merkmale hstore, dok xml,
    aufenthalt daterange, suche tsvector, ahv_zahl bigint, stimmung stimmung, aktiv bool,
    schluessel uuid, ort_punkt point, benutzername varchar(12) UNIQUE, anhang_datei text,
    "100% ""select"" %s" text, eintrag date, besonderes interval, geburtsort text,
    erstellt_am timestamptz DEFAULT now(), fallnr int,
    voll text GENERATED ALWAYS AS (vorname || ' ' || nachname) STORED
);
INSERT INTO person SELECT i,
    (ARRAY['Peter','Anna','Reto','Özlem','Zoë'])[1 + i % 5],
    (ARRAY['Müller','Meier','von Gunten','Krähenbühl','Ammann','Wyss','Röthlisberger'])[1 + i % 7],
    'Bahnhofstrasse ' || i, lpad((1000 + i * 7)::text, 4, '0'), (ARRAY['Bern','Zürich','Thun'])[1 + i % 3],
    '079 ' || 200 + i || ' 14 ' || 10 + i, 'person' || i || '@bluewin.ch', '{AHV}', '{IBAN}',
    date '1960-02-03' + i * 100, decode('8950ff00' || lpad(to_hex(i), 8, '0'), 'hex'),
    jsonb_build_object('arzt', 'Dr. Huber ' || i, 'kind', jsonb_build_array(
        jsonb_build_object('name', 'Emilia ' || i, 'mail', 'kind' || i || '@gmx.ch'))),
    json_build_object('frueher', 'wohnte in Aarau Nr ' || i), ARRAY['Schach ' || i, 'Jassen ' || i],
    ARRAY['privat' || i || '@sunrise.ch']::citext[], ROW('Gasse ' || i, '3000', 'Köniz')::adresse,
    ('85.3.' || i || '.9')::inet, '00:1b:44:11:3a:b7', hstore('schule', 'Sekundarschule ' || i),
    ('<b>Akte ' || i || '</b>')::xml, daterange('2020-01-01', date '2020-01-05' + i),
    to_tsvector('simple', 'Müller Akte' || i), {AHV_NUMBER} + i, 'gut', true,
    md5(i::text)::uuid, point(46.9 + i, 7.4), 'login' || i, 'Bericht_Mueller_' || i || '.pdf',
    'etwas ' || i || ' "quoted"', date '2024-03-01' + i, '1 day', 'Geboren in ' || i, now(), i % 4
    FROM generate_series(1, 40) i;
CREATE TABLE notiz (
    id int, person_id int REFERENCES person, "Bemerkung" text, roh bytea, PRIMARY KEY (person_id, id)
) PARTITION BY RANGE (id);
CREATE TABLE notiz_1 PARTITION OF notiz FOR VALUES FROM (0) TO (100);
CREATE TABLE notiz_2 PARTITION OF notiz DEFAULT;
INSERT INTO notiz SELECT i * 10, i, '{LONG}, sagt sie am ' || i || '. Tag', convert_to('Notiz zu ' || i, 'UTF8')
    FROM generate_series(1, 40) i;
CREATE TABLE bf_log (person_id int, zeit timestamptz, text text, "user" text);
INSERT INTO bf_log SELECT i, now(), 'Peter Müller rief an wegen ' || i, 'Peter Müller' FROM generate_series(1, 40) i;
CREATE TABLE leer ();
CREATE TABLE ohne_zeilen (id int PRIMARY KEY, text text);
CREATE TABLE tier (id int PRIMARY KEY, name text);
CREATE TABLE hund (rufname text) INHERITS (tier);
INSERT INTO hund SELECT i, 'Hund ' || i, 'Bello ' || i FROM generate_series(1, 5) i;
CREATE TABLE params (kunde text, name text PRIMARY KEY, value text);
INSERT INTO params VALUES ('beratung', 'mail.from', 'info@beratung.ch'), ('beratung', 'gruss',
    'Mit freundlichen Grüssen Ihre Beratungsstelle in Bern und Thun am schönen See');
CREATE TABLE fall_status (id int PRIMARY KEY, bezeichnung text);
INSERT INTO fall_status VALUES (0,'offen'), (1,'in Arbeit'), (2,'abgeschlossen'), (3,'archiviert');
ALTER TABLE person ADD FOREIGN KEY (fallnr) REFERENCES fall_status;
CREATE TABLE protokoll_kopie (person_id int, alt text);
CREATE FUNCTION merken() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO protokoll_kopie VALUES (OLD.id, OLD.vorname || ' ' || OLD.nachname); RETURN NEW; END $$;
CREATE TRIGGER merken BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION merken();
CREATE TABLE geheim (id int PRIMARY KEY, inhalt text);
INSERT INTO geheim VALUES (1, 'nur für die Leitung bestimmt');
ALTER TABLE geheim ENABLE ROW LEVEL SECURITY;
CREATE MATERIALIZED VIEW liste AS SELECT id, vorname || ' ' || nachname AS wer, "E-Mail" AS mail FROM person;
CREATE MATERIALIZED VIEW liste_kurz AS SELECT id, upper(wer) AS wer FROM liste;
CREATE MATERIALIZED VIEW unbenutzt AS SELECT wer FROM liste WITH NO DATA;
CREATE MATERIALIZED VIEW mails AS SELECT "E-Mail" AS mail FROM person;
CREATE VIEW sicht AS SELECT * FROM person;
COMMENT ON COLUMN person.ort IS 'siehe auch person7@bluewin.ch';
COMMENT ON TABLE person IS 'die Klienten';
SELECT lo_from_bytea(0, convert_to('{LONG} und ein grosses Objekt', 'UTF8'));
"""


@pytest.fixture(scope="session")
def planted(cluster: Cluster, make_database: Database) -> str:
    """The name of the planted database; do not change it, copy it."""
    name = make_database(extensions=("hstore", "citext"))
    with cluster.connect(name) as conn:
        conn.execute(PLANTED.encode())
    return name


@pytest.fixture
def stage(
    cluster: Cluster, make_database: Database, planted: str
) -> Iterator[psycopg.Connection[Any]]:
    """A copy of the planted database, as a refresh would have loaded it."""
    with cluster.connect(make_database(planted)) as conn:
        yield conn


@pytest.fixture
def source(
    cluster: Cluster, planted: str, stage: psycopg.Connection[Any]
) -> Iterator[psycopg.Connection[Any]]:
    """The planted database in the read-only snapshot that production is read in. After the stage:
    a database that somebody is connected to cannot be copied."""
    with cluster.connect(planted) as conn:
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield conn
        conn.execute("ROLLBACK")
