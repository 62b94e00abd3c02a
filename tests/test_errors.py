"""What an error shows may quote a host, and a host may print anything."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.database.connect import NotConnected
from biso_tasks.errors import StepFailed, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mrot\x1b[0m", "rot"),
        ("\x1b]0;Titel\x07x", "x"),
        ("\x1b]8;;http://x\x1b\\Link\x1b]8;;\x1b\\", "Link"),
        ("a\0b\x08\x7f", "ab"),
        ("eins\r\nzwei\rdrei\tvier", "eins\nzwei\ndrei vier"),
        ("Größe\u00a0ü", "Größe\u00a0ü"),
        ("\x1b", ""),
        ("\x9b31mrot", "rot"),
    ],
)
def test_a_text_is_shown_without_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_full_disk_has_a_remedy_whoever_says_so() -> None:
    for said in (
        'rsync: write failed on "/x": No space left on device (28)',
        'could not extend file "base/1/2": No space left on device',
        "cp: error writing '/x': Disk quota exceeded",
        "tar: Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
    ):
        assert "free room" in StepFailed(said).hint
        assert StepFailed(said, hint="another one").hint == "another one"
    assert StepFailed("something else").hint == ""


@given(st.text())
def test_no_control_character_comes_through(text: str) -> None:
    error = StepFailed(text, hint=text)
    for shown in (error.message, error.hint, str(error)):
        assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown) is None


def test_an_error_with_another_hint_is_the_same_in_all_else() -> None:
    """Some take more than a message: a copy by the constructor would not do."""
    error = NotConnected("refused", reason="unreachable", hint="is it running?")
    error.__cause__ = ValueError("why")
    told = error.with_hint("start it")
    assert (type(told), told.message, told.reason) == (NotConnected, "refused", "unreachable")
    assert (told.hint, error.hint) == ("start it", "is it running?")
    assert told.__cause__ is error.__cause__
    assert str(told) == "refused\n  → start it"
