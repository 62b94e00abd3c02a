"""Which way bulk data takes, and what is said where that is not the one that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from biso_tasks.errors import Refused
from biso_tasks.host.route import choose_route, route_note


@dataclass
class Place:
    """A host of which only the address matters, "" being this machine."""

    name: str
    address: str
    reached: bool = True

    def reachable_from(self, other: Any) -> bool:
        assert other.address
        return self.reached


PROD, TEST = Place("prod", "u@prod:22"), Place("test", "u@test:22")
HERE = Place("hier", "")


@pytest.mark.parametrize(
    ("source", "target", "wanted", "found"),
    [
        (PROD, TEST, "auto", "direct"),
        (PROD, TEST, "relay", "relay"),
        (Place("prod", "u@prod:22", reached=False), TEST, "auto", "relay"),
        (PROD, PROD, "relay", "local"),
        (HERE, HERE, "direct", "local"),
        (HERE, TEST, "auto", "relay"),
        (PROD, HERE, "auto", "relay"),
    ],
)
def test_the_route(source: Any, target: Any, wanted: str, found: str) -> None:
    assert choose_route(source, target, wanted) == found
    assert route_note(source, target, wanted) == ()


@pytest.mark.parametrize(("source", "target"), [(HERE, TEST), (PROD, HERE)])
def test_direct_with_this_machine_as_one_end_is_said_to_be_relay(source: Any, target: Any) -> None:
    assert choose_route(source, target, "direct") == "relay"
    (note,) = route_note(source, target, "direct")
    assert note.startswith('route = "direct": hier is this machine')


def test_direct_that_does_not_work_is_refused() -> None:
    closed: Any = Place("prod", "u@prod:22", reached=False)
    target: Any = TEST
    with pytest.raises(Refused, match="cannot open an SSH connection"):
        choose_route(closed, target, "direct")
