"""Whole tables, many rows at a time: what comes is what stands there, whatever the values hold."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.cells import expression
from biso_tasks.privacy.classify import classify
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.reading import batches
from biso_tasks.privacy.sqltext import settle

pytestmark = pytest.mark.real


@pytest.mark.parametrize("text", ["x", "\x1e"], ids=["joined by the server", "row by row"])
@pytest.mark.parametrize("limit", [None, 1, 2500, 9000])
def test_a_table_comes_whole_or_as_many_rows_as_are_asked_for(
    database: psycopg.Connection[Any], text: str, limit: int | None
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    database.execute(
        "INSERT INTO t SELECT i, %s || repeat('y', 200) || i FROM generate_series(1, 8000) i",
        (text,),
    )
    by_name = {one.column.name: one.column for one in classify(database)}
    key, value = by_name["id"], by_name["v"]
    with database.transaction():
        settle(database)
        found = list(batches(database, [key], [expression(value, "t")], key, limit=limit))
        # the connection is free again, whatever was left unread
        assert database.execute("SELECT 1").fetchone() == (1,)
    keys = [one for batch in found for one in batch.keys]
    wanted = 8000 if limit is None else min(limit, 8000)
    assert len(keys) == len(set(keys)) == wanted
    for batch in found:
        assert batch.columns == [[f"{text}{'y' * 200}{one}" for one in batch.keys]]


def test_a_mark_of_ours_in_a_value_neither_hides_a_row_nor_counts_it_twice(
    database: psycopg.Connection[Any],
) -> None:
    """Rows that were read in one piece come again one by one when a later piece holds the mark."""
    database.execute("CREATE TABLE person (id int PRIMARY KEY, bemerkung text)")
    database.execute(
        "INSERT INTO person SELECT i, repeat('Lorem ', 300) || 'Akte ' || i FROM "
        "generate_series(1, 12000) i"
    )
    database.execute("UPDATE person SET bemerkung = E'\\x1e' || bemerkung WHERE id = 12000")
    originals = collect(database, inventory := classify(database))
    # so that single cells are judged, not the column
    database.execute("UPDATE person SET bemerkung = NULL WHERE id <= 6500")
    database.execute("VACUUM FULL person")
    done = mask(database, originals, inventory)
    assert dict(done.cells)["person.bemerkung"] == 5500
    left = database.execute("SELECT count(*) FROM person WHERE bemerkung LIKE '%Akte%'").fetchone()
    assert left == (0,)
