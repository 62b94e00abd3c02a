"""The order of renames: from every state that kills can leave, in whatever sequence of attempts,
each of the two goals is reached, and no rename ever meets something or goes nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from biso_tasks.files.slots import Slot, outer_slots, places_inside, renames

WEBROOT = Slot("/w", "/s/stage/w", "/s/previous/w", "/s/moving-w", "w0", "w1", "w9")
DATA = Slot("/w/a/d", "/s/stage/d", "/s/previous/d", "/s/moving", "d0", "d1", "d9")

State = frozenset[tuple[str, str]]
"""What stands where: paths and identities."""


def without(one: Slot, *names: str) -> Slot:
    return Slot.from_dict({**one.as_dict(), **dict.fromkeys(names, "")})


CARRIED = without(DATA, "stage", "previous", "stage_id", "previous_id")

FORWARD = {
    "webroot and data": (WEBROOT, DATA),
    "never swapped before": (without(WEBROOT, "previous_id"), without(DATA, "previous_id")),
    "webroot of last time only": (WEBROOT, without(DATA, "previous_id")),
    "data of last time only": (without(WEBROOT, "previous_id"), DATA),
    "webroot alone, data lifted over": (WEBROOT, CARRIED),
    "webroot alone, never before": (without(WEBROOT, "previous_id"), CARRIED),
    "data dir first in the list": (DATA, WEBROOT),
    "bare target": (
        without(WEBROOT, "live_id", "previous_id"),
        without(DATA, "live_id", "previous_id"),
    ),
    "no data dir yet": (WEBROOT, without(DATA, "live_id", "previous_id")),
    "data dir outside": (WEBROOT, Slot.from_dict({**DATA.as_dict(), "live": "/srv/d"})),
    "data alone": (DATA,),
    "webroot alone": (WEBROOT,),
}
BACK = {
    "webroot and data": (without(WEBROOT, "stage_id"), without(DATA, "stage_id")),
    "with a stage there": (WEBROOT, DATA),
    "webroot alone, data lifted over": (without(WEBROOT, "stage_id"), CARRIED),
    "data alone": (without(DATA, "stage_id"),),
}
CASES = [(name, slots, False) for name, slots in FORWARD.items()]
CASES += [(f"rollback: {name}", slots, True) for name, slots in BACK.items()]


def goal(slots: tuple[Slot, ...], *, after: bool, rollback: bool) -> State:
    return frozenset(
        (path, identity)
        for one in slots
        for identity, path in one.wanted(after=after, rollback=rollback).items()
    )


def where(slots: tuple[Slot, ...], state: State) -> Mapping[tuple[int, str], str]:
    """Looked for in the places that the product looks in, and nowhere else."""
    found = {}
    outer = outer_slots(slots)
    for number, one in enumerate(slots):
        live = places_inside(one, slots[outer[number]]) if number in outer else [one.live]
        own = {*live, one.stage, one.previous, one.moving}
        ids = {one.live_id, one.stage_id, one.previous_id}
        for path, identity in state:
            if path in own and identity in ids:
                found[number, identity] = path
    return found


def moved(state: State, source: str, target: str) -> State:
    """As mv -T -n does it: what lies in a directory goes with it."""
    paths = {path for path, _ in state}
    assert source in paths, f"nothing at {source} to go to {target}"
    assert target not in paths, f"{target} is taken"
    if target.startswith("/w/") and any(path.endswith("/w") for path in paths):
        assert "/w" in paths, f"{target} has no webroot to go into"
    return frozenset(
        (target + path[len(source) :], identity)
        if path == source or path.startswith(f"{source}/")
        else (path, identity)
        for path, identity in state
    )


@pytest.mark.parametrize(("name", "slots", "rollback"), CASES, ids=[name for name, _, _ in CASES])
def test_both_goals_are_reached_from_every_state_that_any_sequence_of_kills_can_leave(
    name: str, slots: tuple[Slot, ...], rollback: bool
) -> None:
    goals = {after: goal(slots, after=after, rollback=rollback) for after in (False, True)}
    known = {goals[False]}
    left = [goals[False]]
    while left:
        start = left.pop()
        for after, wanted in goals.items():
            state = start
            for source, target in renames(
                slots, where(slots, start), after=after, rollback=rollback
            ):
                state = moved(state, source, target)
                if state not in known:
                    known.add(state)
                    left.append(state)
            assert state == wanted, f"{name}: to {'after' if after else 'before'} from {start}"
    assert goals[True] in known
    if outer_slots(slots):
        assert len(known) > 2


def test_a_tree_of_what_is_served_is_moved_as_seldom_as_can_be() -> None:
    """A first swap with the data dir inside: out to the previous one at once, not by way of a
    holding place."""
    slots = FORWARD["never swapped before"]
    state = goal(slots, after=False, rollback=False)
    assert renames(slots, where(slots, state), after=True, rollback=False) == [
        ("/w/a/d", "/s/previous/d"),
        ("/w", "/s/previous/w"),
        ("/s/stage/w", "/w"),
        ("/s/stage/d", "/w/a/d"),
    ]


def test_nothing_is_lifted_where_the_webroot_stays() -> None:
    slots = (WEBROOT, CARRIED)
    state = goal(slots, after=True, rollback=False)
    assert renames(slots, where(slots, state), after=True, rollback=False) == []
