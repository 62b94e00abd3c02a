"""Which table a person means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.database.one_table import find_table
from biso_tasks.database.snapshot import label
from biso_tasks.database.sqltext import name
from biso_tasks.errors import Refused, UsageError

WORD = st.text("abÄ.\"' \n", min_size=1, max_size=6)


def labels(*tables: tuple[str, str]) -> list[str]:
    return [label(name(*table)) for table in tables]


@given(WORD, WORD)
def test_any_table_is_found_by_the_name_that_the_server_shows(schema: str, table: str) -> None:
    known = labels((schema, table))
    assert find_table(known, f"{schema}.{table}") == name(schema, table)
    assert find_table(known, table) == name(schema, table)
    assert find_table(known, known[0]) == name(schema, table)


def test_a_table_of_public_needs_no_schema() -> None:
    known = labels(("alt", "person"), ("public", "person"))
    assert find_table(known, "person") == name("public", "person")
    assert find_table(known, "alt.person") == name("alt", "person")


def test_what_can_mean_two_tables_is_asked_back() -> None:
    with pytest.raises(UsageError) as caught:
        find_table(labels(("a", "person"), ("b", "person")), "person")
    assert '"a"."person" or "b"."person"' in caught.value.message
    with pytest.raises(UsageError):
        find_table(labels(("public", "a.b"), ("a", "b")), "a.b")
    assert find_table(labels(("public", "a.b"), ("a", "b")), '"a"."b"') == name("a", "b")


def test_an_unknown_table_is_refused_with_what_is_near() -> None:
    with pytest.raises(Refused) as caught:
        find_table(labels(("public", "person")), "persn")
    assert "person" in caught.value.hint
