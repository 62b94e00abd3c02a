"""An answer that came by half is the host's failure, and what is our own stays ours."""

from __future__ import annotations

import pytest

from biso_tasks.errors import Refused
from biso_tasks.host import HostError
from biso_tasks.host.answer import answered


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
