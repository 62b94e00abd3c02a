"""A live database emptied in place and put back from its dump, by a role without CREATEDB."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.dumpfile import Dumped, dump, dump_rows, load, load_rows, verify
from biso_tasks.database.empty import empty, obstacles, staying
from biso_tasks.database.measure import fingerprint
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.errors import NeedsPerson, Refused, StepFailed
from biso_tasks.host.protocol import HostError

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql (machine)")]

CONTENT = (
    "CREATE TYPE stand AS ENUM ('offen', 'zu')",
    'CREATE TYPE "Paar" AS (a int, b text)',
    "CREATE TYPE spanne AS RANGE (subtype = numeric)",
    "CREATE DOMAIN plz AS text CHECK (VALUE ~ '^[0-9]{4}$')",
    "CREATE COLLATION kurz (locale = 'C')",
    'CREATE SCHEMA "Ablage ä"',
    "CREATE FUNCTION doppelt(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2*i'",
    "CREATE AGGREGATE summe(int) (SFUNC = int4pl, STYPE = int)",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "CREATE TABLE fall (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, was stand, ort plz, "
    "d int GENERATED ALWAYS AS (doppelt(3)) STORED)",
    'CREATE TABLE "Ablage ä"."Fall 2" (id serial, f int REFERENCES fall, s spanne)',
    "CREATE TABLE teil (k int, t text) PARTITION BY LIST (k)",
    "CREATE TABLE teil_1 PARTITION OF teil FOR VALUES IN (1)",
    "CREATE VIEW sicht AS SELECT * FROM fall",
    "CREATE MATERIALIZED VIEW bild AS SELECT count(*) AS n FROM fall",
    "CREATE STATISTICS zahlen ON id, d FROM fall",
    "CREATE TEXT SEARCH CONFIGURATION deutsch (COPY = german)",
    "CREATE SEQUENCE frei START 17",
    "INSERT INTO fall (was, ort) SELECT 'offen', '8000' FROM generate_series(1, 300)",
    'INSERT INTO "Ablage ä"."Fall 2" (f, s) SELECT i, \'[1,2)\' FROM generate_series(1, 50) i',
    "INSERT INTO teil VALUES (1, 'x')",
    "SELECT lo_from_bytea(0, decode(repeat('ab', 9000), 'hex')) FROM generate_series(1, 3)",
    "SELECT nextval('frei')",
    "REFRESH MATERIALIZED VIEW bild",
    "GRANT SELECT ON fall TO biso_report",
)


@pytest.fixture
def live(one: Any, fresh: Callable[..., str]) -> Any:
    """A database of everything, of a role without CREATEDB, with an extension of the superuser."""
    dbname = fresh(one, "biso test", "biso_poor", *CONTENT)
    one.sql("CREATE EXTENSION pg_trgm", "CREATE EXTENSION pageinspect", dbname=dbname)
    return one.server(dbname, "biso_poor")


def content(server: Any) -> dict[str, Any]:
    with connect(server) as connection:
        return fingerprint(connection)


def test_what_was_dumped_comes_back_whole(
    live: Any, tmp_path: Path, cancel: threading.Event
) -> None:
    path = tmp_path / "main.sql.gz"
    before = content(live)
    with export(live) as snapshot:
        assert obstacles(snapshot.connection) == []
        dumped = dump(live, snapshot, str(path), user=None, cancel=cancel)
        counts = snapshot.counts()
    assert path.stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        empty(live)
        assert content(live) == {"tables": {}, "sequences": {}, "large_objects": {}}
    with connect(live) as connection:
        # owned by the superuser: this role could not have made pageinspect again
        assert [one.name for one in staying(connection)] == ["pageinspect", "pg_trgm"]
    verify(live, dumped, user=None)
    load(live, dumped, user=None, cancel=cancel)
    assert content(live) == before
    with connect(live) as connection:
        assert differences(counts, count(connection)) == []


def test_another_database_streams_into_the_emptied_one(
    live: Any, two: Any, fresh: Callable[..., str], cancel: threading.Event
) -> None:
    more = (*CONTENT, "INSERT INTO teil VALUES (1, 'y')")
    source = two.server(fresh(two, "biso", "biso_app", *more))
    two.sql("CREATE EXTENSION pageinspect", dbname="biso")
    empty(live)
    with export(source) as snapshot:
        copy(source, snapshot, live, live.dsn.dbname, cancel=cancel, present=["pageinspect"])
    assert content(live) == content(source)


def test_what_the_role_could_not_drop_is_found_beforehand(one: Any, live: Any) -> None:
    one.sql("CREATE TABLE fremd (a int)", "CREATE PUBLICATION p", dbname=live.dsn.dbname)
    with connect(live) as connection:
        found = obstacles(connection)
    assert found == [
        "table public.fremd belongs to another role",
        "publication 'p' would lose its tables",
    ]


@pytest.mark.parametrize("kind", ["cut", "garbled", "another", "gone", "short"])
def test_a_dump_that_is_not_the_one_written_is_refused(
    kind: str, live: Any, tmp_path: Path, cancel: threading.Event
) -> None:
    path = tmp_path / "main.sql.gz"
    with export(live) as snapshot:
        dumped = dump(live, snapshot, str(path), user=None, cancel=cancel)
    data = path.read_bytes()
    if kind == "gone":
        path.unlink()
    elif kind == "short":
        text = gzip.decompress(data)
        path.write_bytes(gzip.compress(text[: len(text) // 2]))
    else:
        other = gzip.compress(gzip.decompress(data) + b"")
        path.write_bytes({"cut": data[:-100], "garbled": data[:-9] + b"x" * 9}.get(kind, other))
    with pytest.raises(NeedsPerson, match="cannot be relied on") as caught:
        verify(live, dumped, user=None)
    assert dumped.sha256 in caught.value.hint


def test_an_answer_that_is_cut_says_nothing_against_a_dump(
    live: Any, tmp_path: Path, cancel: threading.Event, cutting: Any
) -> None:
    with export(live) as snapshot:
        dumped = dump(live, snapshot, str(tmp_path / "main.sql.gz"), user=None, cancel=cancel)
    there = replace(live, host=cutting)
    verify(there, dumped, user=None)
    (answer,) = cutting.answers
    for size in (0, 10, 64, 66, 70, 300, 800, len(answer) - 1):
        cutting.answers, cutting.at, cutting.size = [], 0, size
        with pytest.raises(HostError, match="came by half"):
            verify(there, dumped, user=None)


def test_a_pg_dump_that_is_killed_leaves_no_dump_that_is_believed(
    live: Any, tmp_path: Path, cancel: threading.Event
) -> None:
    """Its exit status is lost in `pg_dump | gzip`, and gzip -t passes."""
    bindir = tmp_path / "bin"
    bindir.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (bindir / name).write_text(
            "#!/bin/sh\n"
            + ('case "$*" in *section=data*) kill -9 $$;; esac\n' if name == "pg_dump" else "")
            + f'exec {live.bindir}/{name} "$@"\n'
        )
        (bindir / name).chmod(0o755)
    from dataclasses import replace

    broken = replace(live, bindir=str(bindir))
    path = tmp_path / "main.sql.gz"
    with export(live) as snapshot, pytest.raises(StepFailed, match="dump"):
        dump(broken, snapshot, str(path), user=None, cancel=cancel)
    with pytest.raises(NeedsPerson):
        verify(live, Dumped(str(path), "", 0), user=None)


def test_kept_rows_survive_another_content(
    live: Any, tmp_path: Path, cancel: threading.Event
) -> None:
    wanted = ["fall", "teil"]
    document = dump_rows(live, wanted, str(tmp_path / "k.gz"), user=None, cancel=cancel)
    with connect(live) as connection:
        connection.execute('DELETE FROM "Ablage ä"."Fall 2" WHERE id > 3')
        connection.execute("DELETE FROM fall WHERE id > 100")
        connection.execute("INSERT INTO teil VALUES (1, 'neu')")
    found = load_rows(live, document, user=None, cancel=cancel)
    assert found["public.fall" if "public.fall" in found else '"public"."fall"'] == 300
    with connect(live) as connection:
        assert connection.execute("SELECT array_agg(t) FROM teil").fetchone() == (["x"],)
        connection.execute("ALTER TABLE teil DROP COLUMN t")
    with pytest.raises(StepFailed, match="no column 't'"):
        load_rows(live, document, user=None, cancel=cancel)
    with pytest.raises(Refused, match="no table"):
        dump_rows(live, ["gibt_es_nicht"], str(tmp_path / "x.gz"), user=None, cancel=cancel)
