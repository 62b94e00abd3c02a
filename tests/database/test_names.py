from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.database.names import (
    LIMIT,
    baseline_name,
    previous_name,
    stage_name,
    swap_name,
)
from biso_tasks.errors import Refused

live = (
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    .filter(lambda s: len(s.encode()) <= LIMIT)
    .filter(lambda s: not s.endswith(("__stage", "__previous", "__baseline", "__swap")))
)


@given(live)
def test_a_derived_name_fits_and_is_never_the_live_name_or_another_derived_one(db: str) -> None:
    names = [stage_name(db), previous_name(db), baseline_name(db), swap_name(db)]
    assert all(len(name.encode()) <= LIMIT for name in names)
    assert len({db, *names}) == 5


@given(live, live)
def test_distinct_live_databases_have_distinct_stages(one: str, two: str) -> None:
    assert (one == two) == (stage_name(one) == stage_name(two))
    assert stage_name(one) != previous_name(two)


def test_a_short_name_gets_a_plain_suffix() -> None:
    assert stage_name("biso_test") == "biso_test__stage"
    assert previous_name("biso_test") == "biso_test__previous"


def test_a_name_of_63_bytes_is_shortened_where_the_server_would_have_given_the_live_one() -> None:
    db = "x" * 63
    assert (db + "__stage").encode()[:LIMIT].decode() == db  # what a truncated name would be
    assert stage_name(db) != db
    assert len(stage_name(db)) == LIMIT


def test_umlauts_are_not_cut_in_half() -> None:
    for length in range(20, 32):
        assert "�" not in stage_name("ä" * length)
        stage_name("a" + "ä" * length).encode().decode()


@pytest.mark.parametrize("db", ["", "a\0b", "x" * 64, "ä" * 32, "biso__stage", "biso__previous"])
def test_what_cannot_be_a_live_database_is_refused(db: str) -> None:
    with pytest.raises(Refused):
        stage_name(db)
