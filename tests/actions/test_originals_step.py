"""What biso.toml says of the proof reaches whoever collects the originals."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.staged import preparing


def test_bound_own_and_keep_reach_the_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def collect(connection: object, inventory: object, **more: Any) -> SimpleNamespace:
        asked.update(more)
        return SimpleNamespace(sampled=False, values=0)

    monkeypatch.setattr(preparing, "collect", collect)
    monkeypatch.setattr(preparing, "judge_source", lambda *_: ())
    work = SimpleNamespace(
        copied=[0],
        original=lambda number: nullcontext(),
        config=SimpleNamespace(keep_tables=("public.params",)),
        said=(),
    )
    privacy = SimpleNamespace(bound=7, own=("info@stelle.example",))
    context: Any = SimpleNamespace(work=work, site=SimpleNamespace(privacy=privacy))
    preparing._originals(context)
    assert asked == {"bound": 7, "own": ("info@stelle.example",), "keep": ("params",)}
