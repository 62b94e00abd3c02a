from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from biso_tasks.database.connect import connect
from biso_tasks.database.keep import keep_tables
from biso_tasks.database.measure import fingerprint
from biso_tasks.database.names import stage_name
from biso_tasks.errors import Refused, StepFailed

pytestmark = pytest.mark.real

SCHEMA = (
    'CREATE TABLE params (id serial PRIMARY KEY, kunde text, "Größe" int DEFAULT 0)',
    "CREATE TABLE child (id int PRIMARY KEY, p int CONSTRAINT zeigt REFERENCES params"
    " ON DELETE CASCADE)",
    "COMMENT ON CONSTRAINT zeigt ON child IS 'wichtig'",
    "CREATE TABLE teile (id int, tag int) PARTITION BY LIST (tag)",
    "CREATE TABLE teile_1 PARTITION OF teile FOR VALUES IN (1)",
    "CREATE TABLE teile_2 PARTITION OF teile FOR VALUES IN (2)",
    'CREATE SCHEMA "Öl"',
    'CREATE TABLE "Öl"."T t" (a text)',
    "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'trigger ran'; END $$",
    "CREATE TRIGGER nie BEFORE INSERT ON params FOR EACH ROW EXECUTE FUNCTION stop()",
    "ALTER TABLE params DISABLE TRIGGER nie",
)
ENABLE = "ALTER TABLE params ENABLE ALWAYS TRIGGER nie"
PROD = (
    "INSERT INTO params (kunde) SELECT 'prod' FROM generate_series(1, 5)",
    "INSERT INTO child SELECT g, g FROM generate_series(1, 3) g",
    "INSERT INTO teile VALUES (1, 1)",
    'INSERT INTO "Öl"."T t" VALUES (\'prod\')',
    ENABLE,
)
OWN = (
    "INSERT INTO params (kunde) SELECT 'test' FROM generate_series(1, 4)",
    "INSERT INTO teile VALUES (7, 1), (8, 2)",
    'INSERT INTO "Öl"."T t" VALUES (\'te\tst\')',
    ENABLE,
)


@pytest.fixture
def both(one: Any, fresh: Callable[..., str]) -> Any:
    fresh(one, "o'test", "biso_app", *SCHEMA, *OWN)
    fresh(one, stage_name("o'test"), "biso_app", *SCHEMA, *PROD)
    return one.server("o'test")


def prints(server: Any, dbname: str | None = None) -> dict[str, Any]:
    with connect(server, dbname) as connection:
        return fingerprint(connection)


def test_the_test_instance_s_own_rows_survive_and_others_are_untouched(
    both: Any, cancel: threading.Event
) -> None:
    stage = stage_name("o'test")
    child = prints(both, stage)["tables"]['"public"."child"']
    kept = keep_tables(both, both.at(stage), ["params", "teile", "Öl.T t"], cancel=cancel)
    assert kept['"public"."params"'] == 4
    assert kept['"public"."teile_1"'] == 1
    live, now = prints(both), prints(both, stage)
    assert now["tables"].pop('"public"."child"') == child  # no cascade
    live["tables"].pop('"public"."child"')
    assert now == live  # the sequence of params included
    with connect(both, stage) as connection:
        keys = connection.execute(
            "SELECT pg_get_constraintdef(oid), obj_description(oid) FROM pg_constraint"
            " WHERE conname = 'zeigt'"
        ).fetchall()
        assert keys == [("FOREIGN KEY (p) REFERENCES params(id) ON DELETE CASCADE", "wichtig")]
        trigger = connection.execute(
            "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'nie'"
        ).fetchone()
        assert trigger == ("A",)


@pytest.mark.parametrize("word", ["gibtsnicht", "Params"])
def test_a_table_that_is_not_there_is_named_before_anything_changes(
    both: Any, cancel: threading.Event, word: str
) -> None:
    stage = stage_name("o'test")
    before = prints(both, stage)
    with pytest.raises(Refused, match=f"no table '{word}' in the test instance"):
        keep_tables(both, both.at(stage), ["params", word], cancel=cancel)
    assert prints(both, stage) == before


def test_a_column_that_the_stage_lacks_is_named_before_anything_changes(
    both: Any, cancel: threading.Event
) -> None:
    stage = stage_name("o'test")
    with connect(both, stage) as connection:
        connection.execute('ALTER TABLE params DROP COLUMN "Größe"')
    before = prints(both, stage)
    with pytest.raises(Refused, match="column 'Größe'"):
        keep_tables(both, both.at(stage), ["params"], cancel=cancel)
    assert prints(both, stage) == before


def test_a_foreign_key_that_does_not_hold_changes_nothing_and_is_named(
    both: Any, cancel: threading.Event
) -> None:
    stage = stage_name("o'test")
    with connect(both) as connection:
        connection.execute("DELETE FROM params WHERE id = 2")
    before = prints(both, stage)
    with pytest.raises(StepFailed, match="zeigt"):
        keep_tables(both, both.at(stage), ["params"], cancel=cancel)
    assert prints(both, stage) == before
