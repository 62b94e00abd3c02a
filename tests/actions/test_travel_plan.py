"""What the plan says of the way that a database takes, before anything is sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.live.staging import _describe_database, _describe_link

MEASURED = "nothing: measures the link with 16 MiB, twice where it looks slow"
PACKED = "packed on the way where the link is slow"
STREAMS = "in up to four streams, as the cores of both hosts allow"
LITTLE = "nothing: so little is soon there"
LOCAL = "nothing: both are on one machine"


@pytest.mark.parametrize(
    ("route", "size", "link", "said"),
    [
        ("relay", 1_000_000, LITTLE, []),
        ("local", 100_000_000, LOCAL, []),
        ("relay", 100_000_000, MEASURED, [PACKED]),
        ("direct", 5_000_000_000, MEASURED, [PACKED, STREAMS]),
        ("local", 5_000_000_000, LOCAL, [STREAMS]),
    ],
)
def test_a_plan_says_what_will_be_measured_and_parted(
    route: str, size: int, link: str, said: list[str]
) -> None:
    work: Any = SimpleNamespace(
        stage=SimpleNamespace(databases=[SimpleNamespace(content="copy", stage="biso__stage")]),
        source=SimpleNamespace(name="prod"),
        target=SimpleNamespace(name="test"),
        source_facts=lambda number: SimpleNamespace(bytes=size),
        copied=[0],
        facts=SimpleNamespace(route=route),
    )
    context: Any = SimpleNamespace(work=work)
    assert _describe_link(context).changes == (link,)
    first, *more = _describe_database(context).changes
    assert first.startswith("makes database biso__stage, copied from prod (")
    assert more == said
