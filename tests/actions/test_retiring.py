"""Which releases stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.sets.retiring import decide_releases, retire_releases
from biso_tasks.backup.state import Mark, Pin, SetState
from biso_tasks.errors import Locked

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Shelf:
    """A store of so many releases, one a day, the newest today."""

    def __init__(self, states: dict[int, str], *, pinned: int = -1, read: int = -1) -> None:
        self.read = read
        self.sets = [_release(age, state, pinned == age) for age, state in states.items()]

    def list(self) -> tuple[Any, ...]:
        return tuple(sorted(self.sets, key=lambda one: one.id))

    def remove(self, id: str) -> None:
        if self.read >= 0 and id == _id(self.read):
            raise Locked(f"{id} is being read")
        self.sets = [one for one in self.sets if one.id != id]

    def remove_partial(self, id: str) -> None:
        self.remove(id)


def _id(age: int) -> str:
    return f"{NOW - timedelta(days=age):%Y%m%d_%H%M%S}-test"


def _release(age: int, state: str, pinned: bool) -> Any:
    mark = Mark(NOW.isoformat(), "r")
    status = SetState("0" * 64, mark, pin=Pin("x", NOW.isoformat()) if pinned else None)
    return SimpleNamespace(
        id=_id(age), moment=NOW - timedelta(days=age), environment="test", state=state,
        areas=("data", "database"), pin=status.pin, released=state != "partial",
    )  # fmt: skip


def kept(shelf: Shelf, keep: int) -> list[int]:
    retire_releases(shelf, keep, NOW)  # type: ignore[arg-type]
    return sorted((NOW - one.moment).days for one in shelf.sets)


def test_the_newest_good_ones_stay() -> None:
    assert kept(Shelf(dict.fromkeys(range(6), "good")), 3) == [0, 1, 2]


@pytest.mark.parametrize("keep", [0, 1])
def test_the_last_good_one_always_stays(keep: int) -> None:
    assert kept(Shelf({0: "damaged", 3: "good", 900: "verified"}), keep) == [0, 3]
    assert kept(Shelf({900: "good"}), keep) == [900]


def test_a_pinned_one_stays_and_one_that_is_read_waits() -> None:
    states = dict.fromkeys(range(5), "good")
    assert kept(Shelf(states, pinned=4), 2) == [0, 1, 4]
    shelf = Shelf(states, read=3)
    done = retire_releases(shelf, 2, NOW)  # type: ignore[arg-type]
    assert list(done.in_use) == [_id(3)]
    assert done.removed == (_id(4), _id(2))


def test_a_partial_one_goes_after_a_day() -> None:
    assert kept(Shelf({0: "partial", 2: "partial", 1: "good"}), 1) == [0, 1]


def test_each_one_has_a_reason() -> None:
    shelf = Shelf(dict.fromkeys(range(3), "good"))
    decided = decide_releases(shelf, 2, NOW)  # type: ignore[arg-type]
    assert list(decided.keep) == [_id(0), _id(1)]
    assert decided.remove == {_id(2): "newer ones are as many as are kept"}
