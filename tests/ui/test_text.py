from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.ui.meter import Meter
from biso_tasks.ui.text import amount, cells, clean, clean_lines, duration, fact, pad, size, wrap


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_a_cleaned_text_holds_nothing_that_a_terminal_acts_on_and_can_be_encoded(text: str) -> None:
    assert clean(text).isprintable()
    clean(text).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller 表 …", "Müller 表 …"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\nb\rc\td", "a\\nb\\rc d"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("12\u00a0kB", "12 kB"),
    ],
)
def test_what_is_not_printable_is_written_out(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_lines_stay_lines_and_a_text_of_nothing_has_none() -> None:
    assert clean_lines("one\r\ntwo\x1b") == ["one", "two\\x1b"]
    assert clean_lines("") == []


def test_umlauts_take_one_column_however_they_are_written_and_wide_characters_two() -> None:
    assert [cells(text) for text in ("uber", "über", "u\u0308ber", "表示")] == [4, 4, 4, 4]
    assert pad("u\u0308b", 4) == "u\u0308b  "


@given(st.text(alphabet="aä表 -/", max_size=80), st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_nothing_but_blanks(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert lines
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.00 s"),
        (0.04, "0.04 s"),
        (0.999, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3840, "1 h 04 min"),
        (86399, "1 d 0 h"),
        (183600, "2 d 3 h"),
        (-1, "0.00 s"),
    ],
)
def test_durations_have_the_unit_that_fits(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (99_960, "100 kB"), (999_600, "1.0 MB"),
     (85_300_000, "85.3 MB"), (120e9, "120 GB"), (5e15, "5.0 PB")],
)  # fmt: skip
def test_sizes_have_the_unit_that_fits(count: float, shown: str) -> None:
    assert size(count) == shown


def test_amounts_are_sizes_where_the_unit_is_bytes() -> None:
    assert amount(1_200_000_000, "bytes") == "1.2 GB"
    assert amount(12345, "rows") == "12,345 rows"


def test_facts_are_shown_by_what_their_key_says() -> None:
    assert fact("downtime_seconds", 0.4) == "0.40 s"
    assert fact("bytes", 1500) == "1.5 kB"
    assert fact("proof", {"columns": 12, "leaks": 0}) == "columns: 12, leaks: 0"
    assert fact("x", [True, None, "a\x1b"]) == "yes, –, a\\x1b"
    assert fact("leaks", []) == "none"
    leaks = [{"place": "person.name", "kind": "name"}, {"place": "bf_log.text", "kind": "mail"}]
    assert fact("leaks", leaks) == "place: person.name, kind: name; place: bf_log.text, kind: mail"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_meter_tells_amount_rate_and_time_left() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.text() == ""
    for second in range(5):
        clock.now = second
        meter.update(second * 100_000_000, 1_000_000_000, "B")
    assert meter.text() == "400 MB of 1.0 GB, 100 MB/s, 6.0 s left"
    assert meter.fraction == 0.4


def test_a_stalled_transfer_shows_a_falling_rate() -> None:
    clock = Clock()
    meter = Meter(clock)
    for second in range(30):
        clock.now = second
        meter.update(min(second, 10) * 1000, None, "rows")
    assert meter.text() == "10,000 rows, 0 rows/s"


def test_a_second_try_begins_its_rate_afresh_and_no_rate_is_negative() -> None:
    clock = Clock()
    meter = Meter(clock)
    for done in (0, 500, 900, 0, 10):
        clock.now += 2
        meter.update(done, None, "B")
    assert meter.rate() == 5


def test_no_rate_is_told_in_the_first_second() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.update(1000, None, "B")
    clock.now = 0.5
    assert meter.text() == "1.0 kB"
