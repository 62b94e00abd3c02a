"""Neutralising a stage, and the mark that it is a copy."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from biso_tasks.errors import StepFailed
from biso_tasks.privacy.neutralise import mark, marked, neutralise

pytestmark = pytest.mark.real

Connection = psycopg.Connection[Any]


@pytest.fixture
def params(database: Connection) -> Connection:
    database.execute("CREATE TABLE params (name text, value text, kunde text)")
    database.execute(
        "INSERT INTO params VALUES ('mail', 'smtp.example.ch', 'x'), ('url', 'u', 'x')"
    )
    return database


def test_sql_and_params_of_the_site_are_applied(params: Connection) -> None:
    done = neutralise(params, ["CREATE TABLE a (b int)", "DELETE FROM params WHERE name = 'url'"],
                      {"mail": "it's 100% off"})  # fmt: skip
    assert done == 1
    assert params.execute("SELECT value FROM params").fetchall() == [("it's 100% off",)]


@pytest.mark.parametrize(
    ("statements", "values", "named"),
    [(["DELETE FROM nirgends"], {}, "statement 2"), ([], {"mial": "x"}, "mial")],
)
def test_a_mistake_is_named_and_nothing_is_kept(
    params: Connection, statements: list[str], values: dict[str, str], named: str
) -> None:
    first = "DELETE FROM params WHERE name = 'url'"
    with pytest.raises(StepFailed, match=named):
        neutralise(params, [first, *statements], values)
    assert params.execute("SELECT count(*) FROM params").fetchone() == (2,)


@pytest.mark.parametrize("value", ["wert", "Inhalt", "val"])
def test_the_column_of_values_is_told_by_what_it_is_called(
    value: str, database: Connection
) -> None:
    database.execute(f'CREATE TABLE params (kunde text, name text, "{value}" text)'.encode())
    database.execute("INSERT INTO params VALUES ('x', 'tage', '2'), ('x', 'mail', 'an')")
    assert neutralise(database, [], {"tage": 0, "mail": False}) == 2
    rows = database.execute(f'SELECT "{value}" FROM params ORDER BY name'.encode()).fetchall()
    assert rows == [("false",), ("0",)]


@pytest.mark.parametrize(
    ("columns", "given", "said"),
    [
        ("name text, wert text, value text", {}, "more than one column for the value"),
        ("name text, zahl text", {}, "no column for the value: it has name, zahl"),
        ("name text, wert text", {"value": "zahl"}, "no column for the value"),
        ("wert text", {}, "no column for the name"),
    ],
)
def test_columns_that_cannot_be_told_are_said_with_those_that_are_there(
    columns: str, given: dict[str, str], said: str, database: Connection
) -> None:
    database.execute(f"CREATE TABLE params ({columns})".encode())
    with pytest.raises(StepFailed, match=said) as raised:
        neutralise(database, [], {"a": "b"}, **given)
    assert "[neutralize] " in raised.value.hint


def test_the_table_and_its_columns_can_be_given_and_one_that_is_not_there_is_named(
    database: Connection,
) -> None:
    database.execute("CREATE SCHEMA s; CREATE TABLE s.e (a text, value text, b text)")
    database.execute("INSERT INTO s.e VALUES ('mail', 'x', 'y')")
    assert neutralise(database, [], {"mail": "z"}, table="s.e", name="a", value="b") == 1
    assert database.execute("SELECT * FROM s.e").fetchall() == [("mail", "x", "z")]
    with pytest.raises(StepFailed, match=r"table nirgends\.e is not there"):
        neutralise(database, [], {"mail": "z"}, table="nirgends.e")


def test_the_mark_is_read_back_whatever_it_says(database: Connection) -> None:
    assert marked(database) is None
    mark(database, "anonymised copy of 'prod', run 1 %s \\")
    assert marked(database) == "anonymised copy of 'prod', run 1 %s \\"
