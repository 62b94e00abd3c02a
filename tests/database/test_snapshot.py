from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from biso_tasks.database.connect import DatabaseFailed, connect
from biso_tasks.database.measure import analyze, fingerprint
from biso_tasks.database.snapshot import Counts, count, differences, export

pytestmark = pytest.mark.real

FEW = (
    "CREATE TABLE t (a int, b text)",
    "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g",
    "CREATE SEQUENCE s",
    "SELECT nextval('s')",
    "SELECT lo_create(0)",
)


def test_counts_are_those_of_the_snapshot_whatever_is_written_since(
    one: Any, fresh: Callable[..., str]
) -> None:
    server = one.server(fresh(one, "biso", "biso_app", *FEW))
    with export(server) as snapshot:
        one.sql("INSERT INTO t VALUES (1)", "CREATE TABLE later (a int)", dbname="biso")
        counts = snapshot.counts()
        with connect(server) as importer:
            importer.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            importer.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.id}'".encode())
            assert importer.execute("SELECT count(*) FROM t").fetchone() == (100,)
    assert counts.tables == {'"public"."t"': 100}
    assert counts.sequences == {'"public"."s"': (1, True)}
    assert counts.large_objects == 1


def test_an_impatient_server_does_not_end_the_exporter(one: Any, fresh: Callable[..., str]) -> None:
    server = one.server(fresh(one, "biso", "biso_app", *FEW))
    one.sql("ALTER DATABASE biso SET idle_in_transaction_session_timeout = '100ms'")
    with export(server) as snapshot:
        time.sleep(0.5)
        assert snapshot.counts().rows == 100
    with pytest.raises(DatabaseFailed), connect(server) as plain:  # noqa: PT012  the trap
        plain.execute("SELECT 1")
        time.sleep(0.5)
        plain.execute("SELECT 1")


def test_a_server_that_ended_the_session_has_let_go_of_it_as_well(
    one: Any, fresh: Callable[..., str]
) -> None:
    """What a run cleans up after a restart of PostgreSQL must not fail on what is gone."""
    server = one.server(fresh(one, "biso", "biso_app", *FEW))
    with export(server), one.superuser("biso") as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'biso' AND pid <> pg_backend_pid()"
        )


def test_no_migration_comes_between_and_a_running_one_is_told(
    one: Any, fresh: Callable[..., str]
) -> None:
    server = one.server(fresh(one, "biso", "biso_app", *FEW))
    with export(server), one.superuser("biso") as other:
        other.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("ALTER TABLE t ADD COLUMN c int")
        other.execute("INSERT INTO t VALUES (1)")  # the application is not held up
    with one.superuser("biso") as other:
        other.execute("BEGIN")
        other.execute("ALTER TABLE t ADD COLUMN c int")
        with pytest.raises(DatabaseFailed, match="locked"), export(server, lock_timeout=0.2):
            pass


def test_rows_hidden_by_row_level_security_are_an_error_not_a_smaller_count(
    one: Any, fresh: Callable[..., str]
) -> None:
    server = one.server(fresh(one, "biso", "biso_app", *FEW))
    one.sql(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY",
        dbname="biso",
    )
    with pytest.raises(DatabaseFailed, match="row-level security"), export(server) as snapshot:
        snapshot.counts()


def test_differences_are_named() -> None:
    before = Counts({"a": 1, "b": 2, "c": 3}, {"s": (1, True)}, {"m": 1, "n": None}, 2)
    after = Counts({"a": 1, "b": 1, "d": 3}, {"s": (1, False)}, {"m": None}, 1)
    assert differences(before, before) == []
    assert differences(before, after) == [
        "table b has 1, expected 2",
        "table c is missing",
        "table d should not be there",
        "sequence s has (1, False), expected (1, True)",
        "materialised view m differs",
        "materialised view n differs",
        "1 large objects, expected 2",
    ]
    assert "table b has 1, expected 2" not in differences(before, after, without=frozenset("b"))


def test_a_fingerprint_ignores_order_and_sees_one_changed_letter(
    one: Any, fresh: Callable[..., str]
) -> None:
    rows = "SELECT g AS a, 'ä' || g AS b FROM generate_series(1, 50) g ORDER BY g"
    fresh(one, "a", "biso_app", f"CREATE TABLE t AS {rows}")
    fresh(one, "b", "biso_app", f"CREATE TABLE t AS {rows} DESC")
    with connect(one.server("a")) as a, connect(one.server("b")) as b:
        assert fingerprint(a) == fingerprint(b)
        b.execute("UPDATE t SET b = 'Ä7' WHERE a = 7")
        assert fingerprint(a) != fingerprint(b)
        assert count(a) == count(b)  # counts alone would not notice
        # equal rows do not cancel each other out
        a.execute("INSERT INTO t VALUES (99, 'x'), (99, 'x')")
        b.execute("INSERT INTO t VALUES (98, 'y'), (98, 'y')")
        assert fingerprint(a)["tables"] != fingerprint(b)["tables"]


@pytest.mark.parametrize("large", [False, True])
def test_analyze_gives_the_planner_statistics(
    one: Any, fresh: Callable[..., str], monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    parts = (
        'CREATE TABLE "Teile %" (g int) PARTITION BY RANGE (g)',
        'CREATE TABLE teil_1 PARTITION OF "Teile %" FOR VALUES FROM (0) TO (100)',
        'INSERT INTO "Teile %" SELECT generate_series(1, 99)',
        'ALTER TABLE "Teile %" OWNER TO biso_app; ALTER TABLE teil_1 OWNER TO biso_app',
        "CREATE MATERIALIZED VIEW sicht AS SELECT 1 AS eins; ALTER TABLE sicht OWNER TO biso_app",
    )
    server = one.server(fresh(one, "biso", "biso_app", *FEW, *parts))
    if large:
        monkeypatch.setattr(f"{analyze.__module__}._LARGE", 0)
    analyze(server, "biso")
    with connect(server) as connection:
        found = connection.execute(
            "SELECT tablename, inherited, count(*) FROM pg_stats "
            "WHERE schemaname = 'public' GROUP BY 1, 2 ORDER BY 1"
        )
        assert found.fetchall() == [
            ("Teile %", True, 1), ("sicht", False, 1), ("t", False, 2), ("teil_1", False, 1),
        ]  # fmt: skip
