"""The phases of an in-place refresh: what the intent says of a database is on its server's disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.errors import StepFailed
from biso_tasks.host.protocol import HostError
from biso_tasks.stage import in_place, insist
from biso_tasks.stage.before import Before
from biso_tasks.stage.swap import SiteAnswersBadly


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


@pytest.mark.parametrize("fault", ["none", "answers badly", "link lost", "not written down"])
def test_proven_content_is_given_up_for_a_site_that_answers_badly_alone(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A link that is lost, or a disk on which nothing can be written down, says nothing of it."""
    did: list[str] = []
    before = Before("r1", "proven", (), False, (), {})

    def serve(*_: Any, record: bool) -> tuple[str, ...]:
        if record and fault == "answers badly":
            raise SiteAnswersBadly("it answers 500")
        if fault == "link lost":
            raise HostError("the link is down")
        did.append("serve new" if record else "serve old")
        return ()

    def write(name: str, document: Any) -> None:
        if fault == "not written down":
            raise HostError("no space left")
        did.append(f"write {name}")

    monkeypatch.setattr(in_place, "read_before", lambda instance, document: before)
    monkeypatch.setattr(in_place, "_all_in_place", lambda instance: ())
    monkeypatch.setattr(in_place, "serve", serve)
    monkeypatch.setattr(in_place, "put_back", lambda *_: did.append("put back") or ())
    monkeypatch.setattr(in_place, "access", lambda instance: None)
    monkeypatch.setattr(in_place, "discard", lambda *_, inside: did.append("forget"))
    clock = iter(range(1000))
    fast = SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None)
    monkeypatch.setattr(insist, "time", fast)
    state = SimpleNamespace(write=write, remove=lambda name: did.append(f"remove {name}"))
    layout = SimpleNamespace(in_place="/kept", stage_dir="/stage")
    instance: Any = SimpleNamespace(name="test", state=state, layout=layout)
    expected = {
        "none": ["serve new", "write instance", "remove intent", "forget"],
        "answers badly": ["write intent", "put back", "serve old", "remove intent", "forget"],
        "link lost": [],
        "not written down": ["serve new"],
    }[fault]
    told = {"link lost": "the link is down", "not written down": "is whole and serves"}.get(fault)
    if told is None:
        in_place.recover_in_place(instance, {})
    else:
        with pytest.raises(StepFailed, match=told):
            in_place.recover_in_place(instance, {})
    assert did == expected
