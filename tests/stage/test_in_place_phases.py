"""The phases of an in-place refresh: what the intent says of a database is on its server's disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.stage import in_place
from biso_tasks.stage.before import Before


def test_what_a_phase_says_of_databases_is_flushed_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did: list[Any] = []

    @contextmanager
    def admin(server: str) -> Iterator[str]:
        yield server

    monkeypatch.setattr(in_place, "admin", admin)
    monkeypatch.setattr(in_place, "flush", lambda role: did.append(f"flush {role}"))
    state = SimpleNamespace(write=lambda name, document: did.append((name, document["phase"])))
    instance: Any = SimpleNamespace(state=state)
    filled: Any = [SimpleNamespace(server="main"), SimpleNamespace(server="log")]
    before = Before("r1", "offline", (), False, (), {})
    assert in_place.move_to(instance, before, "replacing").phase == "replacing"
    assert in_place.move_to(instance, before, "proven", filled=filled).phase == "proven"
    assert did == [
        ("intent", "replacing"), "flush main", "flush log", ("intent", "proven"),
    ]  # fmt: skip
