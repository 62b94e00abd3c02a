"""The drift gate on a real server: a column of each type, each kind of table, is seen and named."""

from __future__ import annotations

from typing import Any, get_args

import psycopg
import pytest

from biso_tasks.privacy.classify import Classified, classify
from biso_tasks.privacy.columns import Family, partitions, read_columns
from biso_tasks.privacy.inventory.drift import column_drift
from biso_tasks.privacy.inventory.match import apply
from biso_tasks.privacy.inventory.model import fits
from biso_tasks.privacy.inventory.read import parse_inventory
from biso_tasks.privacy.inventory.write import propose, render

pytestmark = pytest.mark.real

Connection = psycopg.Connection[Any]

# Every family that a column of a table can have, most of them by several types.
TYPES: dict[Family, tuple[str, ...]] = {
    "text": ("text", "varchar(20)", "char(3)", "citext", "name", "tel"),
    "number": ("int", "bigint", "numeric(12,2)", "real", "money"),
    "boolean": ("bool", "bit(3)"),
    "date": ("date",),
    "timestamp": ("timestamp", "timestamptz"),
    "time": ("time", "interval"),
    "json": ("json",),
    "jsonb": ("jsonb",),
    "bytea": ("bytea",),
    "xml": ("xml",),
    "hstore": ("hstore",),
    "network": ("inet", "macaddr"),
    "uuid": ("uuid",),
    "enum": ("stimmung",),
    "range": ("daterange", "int4range"),
    "search": ("tsvector",),
    "array": ("text[]", "citext[]", "date[]", "int[]", "jsonb[]"),
    "composite": ("adresse",),
    "other": ("point", "tsquery"),
}
EACH = [(family, name) for family, names in TYPES.items() for name in names]


def scanned(connection: Connection) -> tuple[Classified, ...]:
    return classify(connection)


@pytest.fixture(scope="module")
def committed(cluster: Any, planted: str) -> str:
    """privacy.toml as the scan of the planted database proposes it."""
    with cluster.connect(planted) as connection:
        found = scanned(connection)
        return render(propose(found, [], None, partitions(connection)), None)


@pytest.fixture(scope="module")
def copied(cluster: Any, make_database: Any, planted: str) -> Any:
    with cluster.connect(make_database(planted)) as connection:
        connection.execute("DROP VIEW sicht")  # it holds fast the type of every column
        yield connection


@pytest.fixture
def stage(copied: Connection) -> Any:
    """One copy for all: what a migration does is taken back again."""
    with copied.transaction(force_rollback=True):
        yield copied


def test_every_family_is_among_the_types() -> None:
    assert set(TYPES) == set(get_args(Family)) - {"large object"}


def test_what_was_proposed_is_complete_and_says_what_the_scan_says(
    committed: str, stage: Connection
) -> None:
    inventory = parse_inventory(committed.encode(), "privacy.toml")
    parts = partitions(stage)
    assert not column_drift([inventory], read_columns(stage), parts)
    found = scanned(stage)
    again = apply([inventory], found, parts)
    assert [(o.column.label, o.personal, o.kind) for o in again if o.personal] == [
        (o.column.label, o.personal, o.kind) for o in found if o.personal
    ]
    assert all(one.decided == "privacy.toml" for one in again)
    assert all(fits(one.kind, one.column.type) for one in found if one.personal)
    assert "notiz.Bemerkung" in committed and "notiz_1" not in committed


@pytest.mark.parametrize(("family", "name"), EACH, ids=[name for _, name in EACH])
@pytest.mark.parametrize("table", ["person", "notiz", "neu"])
def test_a_column_of_each_type_in_each_kind_of_table_is_named(
    family: Family, name: str, table: str, committed: str, stage: Connection
) -> None:
    inventory = parse_inventory(committed.encode(), "privacy.toml")
    if table == "neu":
        stage.execute("CREATE TABLE neu ()")
    stage.execute(f"ALTER TABLE {table} ADD COLUMN haustier {name}".encode())
    columns = read_columns(stage)
    assert {c.type.family for c in columns if c.name == "haustier"} == {family}
    drift = column_drift([inventory], columns, partitions(stage))
    assert [one.name for one in drift.unclassified] == [f"{table}.haustier"]
    assert not drift.unused and not drift.changed


@pytest.mark.parametrize(
    ("change", "drifts"),
    [
        ("ALTER TABLE bf_log ALTER text TYPE varchar(900)", set()),
        ("ALTER TABLE person ALTER foto TYPE text USING 'x'", {"person.foto"}),
        ("ALTER TABLE person ALTER zusatz TYPE text", {"person.zusatz"}),
        ("ALTER TABLE person ALTER hobbys TYPE text USING 'x'", {"person.hobbys"}),
        ("ALTER TABLE fall_status ALTER bezeichnung TYPE jsonb USING '1'",
         {"fall_status.bezeichnung"}),
        ("ALTER TABLE person ALTER aktiv TYPE text", {"person.aktiv"}),
    ],
)  # fmt: skip
def test_a_column_of_another_type_is_named(
    change: str, drifts: set[str], committed: str, stage: Connection
) -> None:
    inventory = parse_inventory(committed.encode(), "privacy.toml")
    stage.execute(change.encode())
    drift = column_drift([inventory], read_columns(stage), partitions(stage))
    assert {one.name for one in drift.changed} == drifts
    assert not drift.unclassified


def test_a_column_that_is_gone_leaves_a_rule_that_matches_nothing(
    committed: str, stage: Connection
) -> None:
    inventory = parse_inventory(committed.encode(), "privacy.toml")
    before = read_columns(stage)
    stage.execute("ALTER TABLE person DROP COLUMN besonderes")
    parts = partitions(stage)
    drift = column_drift([inventory], read_columns(stage), parts)
    assert [one.name for one in drift.unused] == ["person.besonderes"]
    line = committed.splitlines().index(
        next(one for one in committed.splitlines() if "person.besonderes" in one)
    )
    assert f"privacy.toml:{line + 1}:" in drift.unused[0].why
    assert not column_drift([inventory], read_columns(stage), parts, before=before)


def test_a_partition_that_was_added_is_no_drift(committed: str, stage: Connection) -> None:
    inventory = parse_inventory(committed.encode(), "privacy.toml")
    stage.execute("CREATE TABLE notiz_3 PARTITION OF notiz FOR VALUES FROM (1000) TO (2000)")
    assert not column_drift([inventory], read_columns(stage), partitions(stage))
