"""An answer that came by half is the host's failure, and what is our own stays ours."""

from __future__ import annotations

import pytest

from biso_tasks.errors import Refused
from biso_tasks.host import HostError
from biso_tasks.host.answer import answered, fields


def test_an_answer_without_its_parts_names_the_host() -> None:
    for answer in ("one", "one two three"):
        with (
            pytest.raises(HostError, match="prod: its answer about its clock came by half"),
            answered("prod", "its clock"),
        ):
            _, _ = answer.split()
    with pytest.raises(HostError), answered("prod", "its clock"):
        [][0]


def test_what_is_no_answer_passes_through() -> None:
    with pytest.raises(Refused), answered("prod", "its clock"):
        raise Refused("no", hint="none")
    with pytest.raises(TypeError), answered("prod", "its clock"):
        raise TypeError


WHOLE = b"eins\0\0drei \xc3\xa4\n\xff\0end\0"


def test_fields_are_what_stands_before_each_nul() -> None:
    assert fields("prod", "names", b"") == []
    assert fields("prod", "names", WHOLE, 4) == ["eins", "", "drei ä\n\udcff", "end"]
    assert fields("prod", "names", WHOLE, 3, end=True) == ["eins", "", "drei ä\n\udcff"]
    assert fields("prod", "names", b"end\0", end=True) == []


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_list_with_an_end_that_is_cut_anywhere_is_no_list(size: int) -> None:
    with pytest.raises(HostError, match="prod: its answer about names came by half"):
        fields("prod", "names", WHOLE[:size], end=True)
    with pytest.raises(HostError):
        fields("prod", "names", WHOLE[:size], 4)
    if size not in (0, *(at for at in range(1, len(WHOLE)) if WHOLE[at - 1] == 0)):
        with pytest.raises(HostError):
            fields("prod", "names", WHOLE[:size])


def test_more_than_was_asked_for_is_no_answer_either() -> None:
    with pytest.raises(HostError):
        fields("prod", "names", WHOLE, 2)
