"""Many values at a time give what each gives alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.privacy.bound import Cells, fold_all
from biso_tasks.privacy.cells import Values
from biso_tasks.privacy.columns import Column, Type
from biso_tasks.privacy.detect import fold, identifiers
from biso_tasks.privacy.distinctive import Distinctive
from biso_tasks.privacy.hashes import CELL, Hasher, Vocabulary

TEXT = Type("text", "pg_catalog", "text", "text")

values = st.lists(
    st.text(max_size=30)
    | st.sampled_from(["MÜLLER", " Mu\u0308ller\t", "Weiß", "Żurek", "---", "1 \x1e2"])
)


@given(values)
def test_many_values_are_folded_as_one_is(found: list[str]) -> None:
    assert fold_all(found) == [fold(one.replace(CELL, " ")) for one in found]


@given(values)
def test_many_values_are_remembered_as_one_is(found: list[str]) -> None:
    column = Column("public", "t", "c", TEXT)
    keys = [str(at) for at in range(len(found))]
    many, single = Cells(column, hasher := Hasher()), Cells(column, hasher)
    count = many.learn_all(keys, Values(column, found))
    assert count == sum(single.learn(key, one) for key, one in zip(keys, found, strict=True))
    weighing = set()
    for at, (key, one) in enumerate(zip(keys, found, strict=True)):
        alone = Values(column, (one,))
        assert many.survivors((key,), alone) == single.survivors((key,), alone)
        weighing |= {at} if many.survivors((key,), alone)[1] else set()
    assert many.survivors(keys, Values(column, found)) == (count, count)
    assert many.rows(keys, Values(column, found)) == weighing


@pytest.mark.parametrize("letter", ["ä", " Ö ", "ß", "x", "王"])
def test_one_letter_points_to_nobody_however_it_folds(letter: str) -> None:
    cells = Cells(Column("public", "t", "c", TEXT), Hasher())
    assert cells.learn("1", letter) == 0
    assert cells.learn("1", "Bö") == 1


@given(st.lists(st.text(max_size=60), max_size=8), st.data())
def test_words_and_identifiers_do_not_reach_from_cell_to_cell(cells: list[str], data: Any) -> None:
    cells = [one.replace(CELL, "") for one in cells]
    cells.insert(data.draw(st.integers(0, len(cells))), "079 123 45 67, a.b@c.example")
    words = Vocabulary(Hasher())
    joined: list[int] = []
    for one in cells:
        joined += [*words.of(one), words.cell]
    assert words.of(CELL.join(cells) + CELL) == joined
    assert sorted(identifiers(CELL.join(cells))) == sorted(
        found for one in cells for found in identifiers(one)
    )


def test_a_name_at_the_end_of_one_cell_and_the_start_of_the_next_is_none() -> None:
    known = Distinctive(Hasher())
    known.learn_name("Anna", "Müller")
    known.freeze()
    assert known.find_cells(["sie heisst Anna", "Müller und Söhne"]) == frozenset()
    assert known.find_cells(["sie heisst", "Anna Müller"]) == {"name"}


@given(
    st.lists(
        st.text(max_size=20)
        | st.sampled_from(["Anna Müller", "zu Anna <b>Müller</b>", "079 123 45 67", "Müller", "x"]),
        max_size=20,
    )
)
def test_which_of_many_texts_hold_an_original_is_what_each_says_alone(cells: list[str]) -> None:
    known = Distinctive(Hasher())
    known.learn_name("Anna", "Müller")
    known.learn("079 123 45 67")
    known.freeze()
    assert known.holding(cells) == {at for at, one in enumerate(cells) if known.find(one)}
