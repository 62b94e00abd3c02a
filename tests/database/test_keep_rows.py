from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from biso_tasks.database.connect import DatabaseFailed, connect
from biso_tasks.database.keep_rows import KeptRows, keep_rows
from biso_tasks.database.measure import fingerprint
from biso_tasks.database.names import stage_name
from biso_tasks.errors import Refused

pytestmark = pytest.mark.real

LIVE = "rows'test"
STAGE = stage_name(LIVE)
TESTERS = "login LIKE 'test.%' -- those of the developers"

SCHEMA = (
    "CREATE TYPE art AS ENUM ('eins', 'zwei')",
    'CREATE TABLE users (id serial PRIMARY KEY, login text NOT NULL UNIQUE, "Größe" art[],'
    " angaben json, chef int CONSTRAINT hat_chef REFERENCES users, laenge int"
    " GENERATED ALWAYS AS (length(login)) STORED)",
    "CREATE TABLE rechte (user_id int CONSTRAINT von REFERENCES users ON DELETE CASCADE,"
    " recht text, PRIMARY KEY (user_id, recht))",
    "CREATE TABLE notiz (id int PRIMARY KEY, user_id int CONSTRAINT schrieb REFERENCES users)",
    "CREATE TABLE params (kunde text, name text, wert text)",
    "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'trigger ran'; END $$",
)
TRIGGER = (
    "CREATE TRIGGER nie BEFORE INSERT OR UPDATE OR DELETE ON users"
    " FOR EACH ROW EXECUTE FUNCTION stop()"
)
# 3 is a counsellor of production and a tester of test; test.eva is in both, as 2 and as 4.
PROD = (
    "INSERT INTO users (id, login) VALUES (1, 'chefin'), (2, 'test.eva'), (3, 'beraterin'),"
    " (5, 'test.alt')",
    "SELECT setval('users_id_seq', 5)",
    "INSERT INTO rechte VALUES (1, 'alles'), (2, 'prod'), (3, 'lesen')",
    "INSERT INTO notiz VALUES (1, 2), (2, 3)",
    "INSERT INTO params VALUES ('a', 'smtp.host', 'mail.prod'), ('a', 'titel', 'Prod')",
    TRIGGER,
)
OWN = (
    "INSERT INTO users VALUES (1, 'chefin', NULL, NULL, NULL), (3, 'test.max', '{eins,zwei}',"
    " '{\"a\":\t\"te st\"}', 4), (4, 'test.eva', NULL, NULL, NULL),"
    " (9, 'andere', NULL, NULL, NULL)",
    "SELECT setval('users_id_seq', 40)",
    "INSERT INTO rechte VALUES (3, 'admin'), (4, 'admin'), (9, 'nichts')",
    "INSERT INTO params VALUES ('a', 'smtp.host', 'localhost'), ('b', 'smtp.port', '25'),"
    " ('a', 'titel', 'Test')",
    TRIGGER,
)
RIGHTS = "user_id IN (SELECT id FROM users WHERE login LIKE 'test.%')"


@pytest.fixture
def both(one: Any, fresh: Callable[..., str]) -> Any:
    fresh(one, LIVE, "biso_app", *SCHEMA, *OWN)
    fresh(one, STAGE, "biso_app", *SCHEMA, *PROD)
    return one.server(LIVE)


def rows(server: Any, text: str) -> list[tuple[Any, ...]]:
    with connect(server, STAGE) as connection:
        return connection.execute(text.encode()).fetchall()


def test_a_row_is_found_again_by_its_other_key_and_a_taken_number_is_replaced(both: Any) -> None:
    done = keep_rows(both, both.at(STAGE), {"rechte": RIGHTS, "users": TESTERS})
    assert done == {
        '"public"."users"': KeptRows(2, renumbered=2),
        '"public"."rechte"': KeptRows(2),
    }
    users = rows(both, "SELECT id, login, chef FROM users ORDER BY id")
    # test.max was 3, which is a counsellor's; test.eva is 2 as in production, and still his chief
    assert users == [
        (1, "chefin", None), (2, "test.eva", None), (3, "beraterin", None), (6, "test.max", 2),
    ]  # fmt: skip
    own = rows(both, "SELECT \"Größe\"::text, angaben->>'a', laenge FROM users WHERE id = 6")
    assert own == [("{eins,zwei}", "te st", 8)]
    rights = rows(both, "SELECT user_id, recht FROM rechte ORDER BY 1, 2")
    assert rights == [(1, "alles"), (2, "admin"), (3, "lesen"), (6, "admin")]
    assert rows(both, "SELECT * FROM notiz ORDER BY 1") == [(1, 2), (2, 3)]
    with connect(both, STAGE) as connection:
        assert connection.execute("SELECT nextval('users_id_seq')").fetchone() == (7,)
        keys = connection.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'f' AND convalidated"
        ).fetchall()
        assert {key for (key,) in keys} == {"von", "hat_chef", "schrieb"}
        (state,) = connection.execute(
            "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'nie'"
        ).fetchone() or ("",)
        assert state == "O"


def test_rows_without_a_key_replace_those_that_fulfil_the_condition(both: Any) -> None:
    done = keep_rows(both, both.at(STAGE), {"public.params": "name LIKE 'smtp.%'"})
    assert done == {'"public"."params"': KeptRows(2)}
    assert rows(both, "SELECT * FROM params ORDER BY 1, 2") == [
        ("a", "smtp.host", "localhost"), ("a", "titel", "Prod"), ("b", "smtp.port", "25"),
    ]  # fmt: skip


def unchanged(both: Any, wanted: dict[str, str], error: type[Exception], match: str) -> None:
    with connect(both, STAGE) as connection:
        before = fingerprint(connection)
    with pytest.raises(error, match=match):
        keep_rows(both, both.at(STAGE), wanted)
    with connect(both, STAGE) as connection:
        assert fingerprint(connection) == before


def test_a_foreign_key_that_does_not_hold_changes_nothing_and_is_named(both: Any) -> None:
    with connect(both) as connection:
        connection.execute("ALTER TABLE users DISABLE TRIGGER nie")
        connection.execute("DELETE FROM users WHERE login = 'test.eva' AND chef IS NULL AND id = 0")
        connection.execute("UPDATE users SET chef = 9 WHERE id = 3")
    unchanged(both, {"users": TESTERS}, DatabaseFailed, "hat_chef")


def test_a_key_that_is_another_row_s_changes_nothing_and_is_said(both: Any) -> None:
    with connect(both) as connection:
        connection.execute("INSERT INTO rechte VALUES (1, 'alles')")
    unchanged(both, {"rechte": "user_id = 1 AND recht = 'alles' AND current_database() !~ 'stage'"},
              Refused, "1 row.* of .*rechte")  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "error", "match"),
    [
        ({"user": "true"}, Refused, "keep_rows: there is no table 'user' in the test instance"),
        ({"users": "gibtsnicht = 1"}, DatabaseFailed, "gibtsnicht"),
        ({"users": "login LIKE 'test.%'); DROP TABLE notiz; --"}, DatabaseFailed, "syntax|insert"),
    ],
)
def test_what_cannot_be_asked_changes_nothing(
    both: Any, wanted: dict[str, str], error: type[Exception], match: str
) -> None:
    unchanged(both, wanted, error, match)


def test_nothing_wanted_is_nothing_done(both: Any) -> None:
    assert keep_rows(both, both.at(STAGE), {}) == {}
