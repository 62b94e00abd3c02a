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


def test_the_mark_is_read_back_whatever_it_says(database: Connection) -> None:
    assert marked(database) is None
    mark(database, "anonymised copy of 'prod', run 1 %s \\")
    assert marked(database) == "anonymised copy of 'prod', run 1 %s \\"
