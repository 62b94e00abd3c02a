"""The generated rows: as much as asked, German, connected; the same at every run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.rows import persons_for, rows_sql
from benchmarks.tree import Shape, grow
from biso_tasks.demo import data
from biso_tasks.demo.postgres import Cluster, start_cluster

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

SCHEMA = Path(data.__file__).parent / "bisoapp/webroot/migrations"
PEOPLE, FILES = 800, 120
TABLES = ("person", "beratungsfall", "bf_termin", "bf_termin_protokoll", "bf_notiz", "bf_log")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = start_cluster(tmp_path_factory.mktemp("rows"))
    made.psql("CREATE ROLE biso")
    yield made
    made.remove()


def filled(cluster: Cluster, name: str, *spans: tuple[int, int], seed: int = 1) -> str:
    cluster.psql(f"CREATE DATABASE {name} OWNER biso")
    for migration in sorted(SCHEMA.glob("*.sql"))[:-1]:
        cluster.psql(f"SET ROLE biso; {migration.read_text('utf-8')}", dbname=name)
    cluster.psql(f"CREATE TABLE empty AS SELECT pg_database_size('{name}')", dbname=name)
    for first, last in spans:
        sql = rows_sql(first, last, role="biso", files=FILES if first == 1 else 0, seed=seed)
        cluster.psql(sql, dbname=name)
    return name


@pytest.fixture(scope="module")
def whole(cluster: Cluster) -> str:
    return filled(cluster, "whole", (1, PEOPLE))


def rows(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    """Count and content of each table, whatever their order and their serial numbers."""
    found = {}
    for table in TABLES:
        line = "to_jsonb(t) - 'id'" if table in ("bf_termin_protokoll", "bf_notiz", "bf_log") else (
            "to_jsonb(t)"
        )  # fmt: skip
        asked = f"SELECT count(*), md5(string_agg(({line})::text, '' ORDER BY ({line})::text))"
        count, _, digest = cluster.psql(f"{asked} FROM {table} t", dbname=name).partition("|")
        found[table] = count, digest
    return found


def test_rows_belong_together_and_the_log_is_the_largest(cluster: Cluster, whole: str):
    counts = {table: int(count) for table, (count, _) in rows(cluster, whole).items()}
    assert counts == {
        "person": PEOPLE, "beratungsfall": 2 * PEOPLE, "bf_termin": 4 * PEOPLE,
        "bf_termin_protokoll": 4 * PEOPLE, "bf_notiz": 2 * PEOPLE, "bf_log": 30 * PEOPLE,
    }  # fmt: skip
    lost = cluster.psql(
        "SELECT count(*) FROM bf_log l LEFT JOIN beratungsfall f ON f.id = l.fall_id"
        " WHERE f.id IS NULL",
        dbname=whole,
    )
    assert lost == "0"
    partitions = "SELECT count(DISTINCT tableoid) FROM bf_log"
    assert cluster.psql(partitions, dbname=whole) == "3"


def test_the_text_is_german_and_hardly_twice_the_same(cluster: Cluster, whole: str):
    asked = "SELECT count(DISTINCT text) > 1000, bool_or(text ~ 'ü'), avg(length(text)) > 300"
    assert cluster.psql(f"{asked} FROM bf_termin_protokoll", dbname=whole) == "t|t|t"


def test_the_database_is_as_large_as_was_asked_for(cluster: Cluster):
    asked = 25.0
    name = filled(cluster, "sized", (1, persons_for(asked)))
    grown = cluster.psql(
        f"SELECT pg_database_size('{name}') - pg_database_size FROM empty", dbname=name
    )
    assert int(grown) / 1e6 == pytest.approx(asked, rel=0.2)


def test_the_same_rows_come_at_once_and_in_parts_and_others_of_another_seed(
    cluster: Cluster, whole: str
):
    parts = filled(cluster, "parts", (1, 300), (301, PEOPLE))
    assert rows(cluster, parts) == rows(cluster, whole)
    other = rows(cluster, filled(cluster, "other", (1, PEOPLE), seed=2))
    same = rows(cluster, whole)
    assert all(other[table][0] == same[table][0] for table in TABLES)
    assert other["person"] != same["person"]


def test_every_attachment_of_a_row_is_there(cluster: Cluster, whole: str, tmp_path: Path):
    grow(tmp_path, Shape(FILES, 10_000))
    named = cluster.psql("SELECT pfad FROM bf_datei", dbname=whole).splitlines()
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert set(named) == there
    assert len(named) == FILES


def test_numbers_go_on_where_the_rows_end(cluster: Cluster, whole: str):
    cluster.psql(
        "INSERT INTO person (vorname, nachname) VALUES ('Änne', 'Müller');"
        "DELETE FROM person WHERE nachname = 'Müller' AND vorname = 'Änne' AND plz IS NULL",
        dbname=whole,
    )


def test_a_span_that_is_none_is_refused():
    with pytest.raises(ValueError, match="people 5 to 4"):
        rows_sql(5, 4, role="biso", files=0)
