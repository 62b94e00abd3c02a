"""What counts as the original of a cell: a value that the mask leaves as it is must not."""

from __future__ import annotations

import pytest

from biso_tasks.privacy.cells import Values
from biso_tasks.privacy.columns import Column, Family, Type
from biso_tasks.privacy.hashes import Hasher
from biso_tasks.privacy.originals import Cells


def cells(family: Family, *, array: bool = False) -> Cells:
    inner = Type(family, "pg_catalog", family, family)
    outer = Type(f"_{family}", "pg_catalog", f"{family}[]", "array", element=inner)
    return Cells(Column("public", "t", "c", outer if array else inner), Hasher())


def told(found: Cells, raw: str, key: str = "1") -> tuple[int, int]:
    """How many pieces of the value were in that row before, and of how many that weigh."""
    return found.survivors((key,), Values(found.column, (raw,)))


@pytest.mark.parametrize(
    ("family", "raw"),
    [
        ("date", "9999-12-31"),
        ("date", "0001-01-01"),
        ("date", "infinity"),
        ("date", "0044-03-15 BC"),
        ("timestamp", "9999-12-31 23:59:59+00"),
        ("timestamp", "10000-01-01 00:00:00"),
        ("range", "empty"),
        ("range", "(,)"),
    ],
)
def test_a_date_that_is_nobodys_is_no_original(family: Family, raw: str) -> None:
    """They stand unchanged in the stage; taken for survivors, no refresh would ever pass."""
    assert told(cells(family), raw) == (0, 0)


@pytest.mark.parametrize(
    ("family", "raw"),
    [
        ("date", "1961-05-17"),
        ("timestamp", "2024-02-29 08:00:00+00"),
        ("range", "[2024-01-01,9999-12-31)"),
        ("network", "::abcd"),
        ("text", "9999-12-31 Müller"),
    ],
)
def test_any_other_value_is(family: Family, raw: str) -> None:
    found = cells(family)
    assert told(found, raw)[1]
    found.learn("1", raw)
    found.freeze()
    assert told(found, raw)[0]
    assert told(found, raw, "2")[0] == 0, "another row's"


def test_the_elements_of_an_array_are_judged_one_by_one() -> None:
    found = cells("date", array=True)
    assert told(found, '["9999-12-31","infinity"]') == (0, 0)
    assert told(found, '["9999-12-31","1961-05-17"]') == (0, 1)
