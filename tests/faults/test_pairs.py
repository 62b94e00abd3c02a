"""Two commands at the same moment, from one machine and from two: each runs as it would alone, or
is refused by the name of the other; what is served afterwards is what some order of those that ran
would have left, rows and files together.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_cases import EVERYTHING
from fault_sets import damaged, watch
from fault_world import LIVE, PREVIOUS, STAGE, Picture, World

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(600),
]

COMMANDS = (
    *("backup", "restore", "refresh-test", "rollback"),
    *("reset-test", "prune", "verify", "recover"),
)
PAIRS = tuple(itertools.combinations_with_replacement(COMMANDS, 2))
PLACES = ("one machine", "two machines")
# The usual run: who swaps beside who swaps, who removes beside who reads, and two of a kind.
_DECISIVE = {
    ("refresh-test", "refresh-test", "two machines"),
    ("restore", "rollback", "one machine"),
    ("refresh-test", "recover", "two machines"),
    ("backup", "backup", "two machines"),
    ("backup", "prune", "one machine"),
}
_LOCKED = 5
_REFUSED = 3

State = tuple[Picture | None, Picture | None]


@dataclass
class Ended:
    """A command that ran beside another: `stage` is what it was about to serve, where it came so
    far."""

    words: tuple[str, ...]
    code: int
    document: dict[str, Any]
    err: str
    stage: Picture | None

    @property
    def message(self) -> str:
        return str((self.document.get("error") or {}).get("message", ""))


def cases() -> list[Any]:
    found = []
    for pair in PAIRS:
        for place in PLACES:
            if EVERYTHING or (*pair, place) in _DECISIVE:
                found.append(pytest.param(*pair, place, id=f"{pair[0]} {pair[1]} {place}"))
    return found


def at_once(world: World, commands: Sequence[str], *, apart: bool) -> list[Ended]:
    """Runs both from one machine, or `apart`, each from its own; takes a picture of each stage that
    is about to be served."""
    specs = [world.spec() for _ in commands]
    started = []
    for number, (command, spec) in enumerate(zip(commands, specs, strict=True)):
        own = world.folder / "fault" / str(number)
        (own / "steps").mkdir(parents=True)
        spec |= {name: str(own / name) for name in ("reached", "capture", "steps", "trace")}
        there = apart and number == 1
        started.append(world.start(spec, *world.words(command), there=there))
    stages: list[Picture | None] = [None for _ in commands]
    until = time.monotonic() + 240
    while any(child.poll() is None for child in started):
        assert time.monotonic() < until, [world._said(child) for child in started]
        for number, spec in enumerate(specs):
            wanted = Path(spec["capture"])
            if wanted.exists():
                stages[number] = world.picture(STAGE)
                wanted.unlink()
        time.sleep(0.01)
    found = []
    for child, command, stage in zip(started, commands, stages, strict=True):
        out, err = world._said(child)
        document = dict(json.loads(out)) if out.strip() else {}
        found.append(Ended(world.words(command), child.returncode, document, err, stage))
    return found


def reachable(old: State, ended: Sequence[Ended]) -> list[State]:
    """What is live and previous after those that ended well, in any order."""
    found = []
    for order in itertools.permutations([one for one in ended if one.code == 0]):
        live, previous = old
        for one in order:
            if one.words[0] == "rollback":
                live, previous = previous, live
            elif one.stage is not None:
                live, previous = one.stage, live
        found.append((live, previous))
    return found


@pytest.mark.parametrize(("first", "second", "place"), cases())
def test_two_at_once_run_or_are_refused_by_name(
    world: World,
    first: str,
    second: str,
    place: str,
    record_property: Callable[[str, object], None],
) -> None:
    world.over = "ssh"
    world.reset("again")
    old = world.base["again"]
    watched = watch(world)
    ended = at_once(world, (first, second), apart=place == "two machines")
    record_property("pair", f"{first}|{second}|{place}|{'|'.join(str(e.code) for e in ended)}")
    for one, other in (ended, ended[::-1]):
        assert "Traceback" not in one.err, one.err[-3000:]
        if one.code == _LOCKED:
            assert other.document["run"] in one.message, one.message
        elif one.code == _REFUSED:
            # The other had done what this one was about to do.
            assert other.code == 0, (one.message, other.message)
        else:
            assert one.code == 0, (one.words, one.code, one.message, one.err[-2000:])
    assert any(one.code == 0 for one in ended), [one.message for one in ended]
    now = world.picture(LIVE), world.picture(PREVIOUS)
    assert now in reachable(old, ended)
    assert world.ask()[0] == 200
    assert set(world.databases()) == {LIVE} | ({PREVIOUS} if now[1] else set())
    assert all(facts["open"] for facts in world.databases().values())
    assert world.prod_picture() == world.prod_before
    assert not (world.prod.datadir / "maintenance.on").exists()
    assert world.left_behind() == []
    fresh = watched.require_sound(verified="verify" in (first, second))
    assert len(fresh) == sum(one.words[0] == "backup" and one.code == 0 for one in ended)
    assert damaged(world) == []


def test_without_the_lock_two_meet_in_the_stage(world: World) -> None:
    """The test above would see it: with a `flock` that gives the lock to everybody."""
    world.over = "ssh"
    world.reset("again")
    fake = world.folder / "fake" / "flock"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    try:
        ended = at_once(world, ("refresh-test", "refresh-test"), apart=True)
    finally:
        fake.unlink()
    codes = {one.code for one in ended}
    assert _LOCKED not in codes
    assert codes != {0}, "both say that all is well"
