"""What the plan says of the way that a database takes, before anything is sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.live.staging import _describe_database
from biso_tasks.actions.staged.work import StageWork

MEASURED = "measures the link with 16 MiB at most, and packs where it is slow"
STREAMS = "in up to four streams, as the cores of both hosts allow"


@pytest.mark.parametrize(
    ("route", "size", "said"),
    [
        ("relay", 1_000_000, []),
        ("local", 100_000_000, []),
        ("relay", 100_000_000, [MEASURED]),
        ("direct", 5_000_000_000, [MEASURED, STREAMS]),
        ("local", 5_000_000_000, [STREAMS]),
    ],
)
def test_a_plan_says_what_will_be_measured_and_parted(
    route: str, size: int, said: list[str]
) -> None:
    facts = SimpleNamespace(route=route)
    work: Any = SimpleNamespace(
        stage=SimpleNamespace(databases=[SimpleNamespace(content="copy", stage="biso__stage")]),
        source=SimpleNamespace(name="prod"),
        target=SimpleNamespace(name="test"),
        source_facts=lambda number: SimpleNamespace(bytes=size),
        copied=[0],
        facts=facts,
    )
    work.describe_link = lambda size: StageWork.describe_link(work, size)
    context: Any = SimpleNamespace(work=work)
    first, *more = _describe_database(context).changes
    assert first.startswith("makes database biso__stage, copied from prod (")
    assert more == said
