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


def test_what_proved_an_instance_stays_with_it_as_long_as_it_is_not_raw() -> None:
    proven = {"run": "p", "values": 3}
    given: dict[str, Any] = {"run": "r", "source": "s", "areas": REFRESHED}
    first = after_swap(instance(None), raw=False, proven=proven, **given)
    assert first["current"]["proven"] == proven
    code = after_swap(instance(first), run="c", raw=False, source="s", areas=("webroot",))
    assert (code["current"]["raw"], code["current"]["proven"]) == (False, proven)
    raw = after_swap(instance(first), raw=True, proven=proven, **given)
    assert "proven" not in raw["current"]
    assert raw["previous"]["proven"] == proven
    assert after_rollback(instance(raw))["current"]["proven"] == proven
    unproven = after_swap(instance(None), raw=False, **given)
    assert "proven" not in unproven["current"]


@pytest.mark.parametrize("raw", [True, None])
def test_nobody_goes_back_to_what_is_not_known_to_be_anonymised_where_that_is_required(
    raw: bool | None,
) -> None:
    previous = {"raw": raw, "run": None}
    with pytest.raises(Refused, match="was not anonymised by this tool"):
        require_not_raw(instance(None), previous, required=True)
    require_not_raw(instance(None), previous, required=False)
    require_not_raw(instance(None), {"raw": False}, required=True)


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
