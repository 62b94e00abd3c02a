"""What the host remembers: which areas a rollback exchanges, and whether what is served is raw."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.errors import Refused
from biso_tasks.stage.model import REFRESHED, Area
from biso_tasks.stage.record import after_rollback, after_swap, areas_of, require_not_raw


def instance(record: dict[str, Any] | None) -> Any:
    return SimpleNamespace(name="test", state=SimpleNamespace(read=lambda name: record))


def swapped(
    record: dict[str, Any] | None, *, raw: bool, areas: Collection[Area] = REFRESHED
) -> dict[str, Any]:
    return after_swap(instance(record), run="r", raw=raw, source="s", areas=areas)


def test_a_rollback_and_the_one_after_it_exchange_what_the_swap_exchanged() -> None:
    record = swapped(swapped(None, raw=False), raw=True, areas=("database", "webroot"))
    for _ in range(3):
        assert record["previous"]["areas"] == ["webroot", "database"]
        assert areas_of(record["previous"]) == {"webroot", "database"}
        record = after_rollback(instance(record))


def test_there_is_no_way_back_to_what_was_only_a_shell() -> None:
    given: dict[str, Any] = {"run": "r", "raw": True, "source": "s", "areas": ("webroot", "data")}
    partly = after_swap(instance(None), **given, lacking=("webroot",))
    assert partly["previous"]["areas"] == ["data"]
    assert partly["current"]["areas"] == ["webroot", "data"]
    assert after_swap(instance(None), **given, lacking=("webroot", "data"))["previous"] is None


def test_a_record_of_an_older_version_is_one_of_a_refresh() -> None:
    assert areas_of({"run": "r", "raw": False}) == {"data", "database"}
    back = after_rollback(instance({"current": {"raw": False}, "previous": {"raw": True}}))
    assert (back["current"]["raw"], back["previous"]["raw"]) == (True, False)


@pytest.mark.parametrize(
    ("areas", "came", "stood", "expected"),
    [
        (("data", "database"), False, True, False),
        (("data", "database"), True, False, True),
        (("webroot",), True, False, False),
        (("webroot",), False, True, True),
        (("data",), False, True, True),
        (("database", "webroot"), True, False, True),
        (("data",), False, False, False),
    ],
)
def test_an_instance_is_raw_while_any_part_of_it_is(
    areas: tuple[Area, ...], came: bool, stood: bool, expected: bool
) -> None:
    record = swapped(swapped(None, raw=stood), raw=came, areas=areas)
    assert record["current"]["raw"] is expected
    assert after_rollback(instance(record))["current"]["raw"] is (
        stood if {"data", "database"} <= set(areas) else expected
    )


def test_nobody_knows_of_an_instance_of_before_this_tool() -> None:
    assert swapped(None, raw=False, areas=("data",))["current"]["raw"] is None


def test_a_webroot_alone_may_come_back_where_raw_data_may_not() -> None:
    require_not_raw(instance(None), {"raw": True, "areas": ["webroot"]}, required=True)
    with pytest.raises(Refused, match="not anonymised"):
        require_not_raw(instance(None), {"raw": True, "areas": ["webroot", "data"]}, required=True)
