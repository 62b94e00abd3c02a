"""A large database comes in several streams: who takes which table, what happens when one ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from biso_tasks.database.snapshot import export
from biso_tasks.database.streams import at_once, how_many, shares
from biso_tasks.host.command import Result

LARGE = 5 << 30


class Cores:
    """A host that says how many cores it has."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, *_: Any, **__: Any) -> Result:
        return Result(0 if self.said else 127, self.said.encode() + b"\n", b"")


@pytest.mark.parametrize(
    ("source", "target", "size", "streams"),
    [
        ("16", "16", LARGE, 4),
        ("16", "6", LARGE, 3),
        ("2", "16", LARGE, 1),
        ("1", "1", LARGE, 1),
        ("16", "16", 1 << 29, 1),  # not worth their start
        ("", "16", LARGE, 1),  # no nproc
    ],
)
def test_there_are_as_many_streams_as_the_smaller_host_has_cores_for(
    source: str, target: str, size: int, streams: int
) -> None:
    assert how_many(Cores(source), Cores(target), size) == streams  # type: ignore[arg-type]


@pytest.mark.real
def test_each_large_table_is_in_one_share_and_the_rest_in_none(
    one: Any, fresh: Callable[..., str]
) -> None:
    def table(name: str, rows: int) -> str:
        return (
            f"CREATE TABLE {name} AS SELECT repeat('x', 500) AS v FROM generate_series(1, {rows})"
        )

    dbname = fresh(
        one, "prod", "biso_app", table('"Über ""x"""', 3000), table("b", 3000), table("c", 2900),
        table("d", 2800), table("klein", 1), table("ohne", 4000),
    )  # fmt: skip
    with export(one.server(dbname)) as snapshot:
        found = shares(snapshot, 3, ["public.ohne"])
        assert shares(snapshot, 1, []) == []
    assert len(found) == 2
    named = [name for share in found for name in share]
    assert len(named) == len(set(named)) <= 3
    assert set(named) <= {'public."Über ""x"""', "public.b", "public.c", "public.d"}


def test_the_first_failure_stops_the_others_and_is_what_is_raised() -> None:
    started = threading.Barrier(3)
    stopped = []

    def fails(stop: threading.Event) -> None:
        started.wait(10)
        raise ValueError("the first")

    def waits(stop: threading.Event) -> None:
        started.wait(10)
        for _ in range(1000):
            if stop.is_set():
                stopped.append(True)
                raise ValueError("because of the first")
            stop.wait(0.01)

    with pytest.raises(ValueError, match="the first"):
        at_once([waits, fails, waits], threading.Event())
    assert stopped == [True, True]


def test_a_ctrl_c_reaches_all_of_them() -> None:
    cancel = threading.Event()
    cancel.set()
    seen = []
    at_once([lambda stop: seen.append(stop.is_set())] * 2, cancel)
    assert seen == [True, True]
