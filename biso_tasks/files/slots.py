"""What is exchanged by renames, and in which order: pure, so that every interruption can be tried.

A slot has four paths on one filesystem. Before a swap its live tree stands at `live`, the new one
at `stage`, and the one of last time, if any, at `previous`; afterwards the new one is `live`, the
old one `previous`, and the one of last time has gone to `stage`, from where it is discarded. A
rollback is the same between `live` and `previous`. `moving` is only used on the way.

A webroot is a slot as well as a data dir, and the data dir may lie inside it: then the inner tree
is lifted out before the outer one moves, and put in where it belongs afterwards. Nothing marks such
a pair but their live paths. A slot without `stage` and `previous` is not exchanged: it is only
lifted over, from the outer tree that goes into the one that comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

__all__ = ["Slot", "outer_slots", "places_inside", "renames"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Four paths and the identities that stood there before ("" where there was nothing). Without
    `stage` and `previous` what is live stays so, and is only lifted."""

    live: str
    stage: str
    previous: str
    moving: str
    live_id: str
    stage_id: str
    previous_id: str

    def wanted(self, *, after: bool, rollback: bool) -> dict[str, str]:
        """Where each identity belongs before or after the exchange."""
        if not self.stage:
            places = {self.live_id: self.live}
        elif not after:
            places = {self.live_id: self.live, self.stage_id: self.stage}
            places[self.previous_id] = self.previous
        elif rollback:
            places = {self.live_id: self.previous, self.previous_id: self.live}
            places[self.stage_id] = self.stage
        else:
            places = {self.live_id: self.previous, self.stage_id: self.live}
            places[self.previous_id] = self.stage
        return {identity: path for identity, path in places.items() if identity}

    def as_dict(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Slot:
        return Slot(**{name: str(document[name]) for name in Slot.__slots__})


def renames(
    slots: Sequence[Slot],
    where: Mapping[tuple[int, str], str],
    *,
    after: bool,
    rollback: bool,
) -> list[tuple[str, str]]:
    """The renames, in order, after which everything stands where it belongs. `where` says where
    each identity stands now, by the number of its slot. Each path of the result is the one of its
    moment: an inner tree goes into the outer one that stands at the live path by then."""
    outer_of = outer_slots(slots)
    at: list[dict[str, str]] = []
    wanted: list[dict[str, str]] = []
    for number, one in enumerate(slots):
        wanted.append(one.wanted(after=after, rollback=rollback))
        at.append({identity: where[number, identity] for identity in wanted[number]})
    around: list[tuple[str, str]] = []
    moving: set[int] = set()
    for number, one in enumerate(slots):
        if number not in outer_of:
            own = _renames(at[number], wanted[number], one.moving)
            around += own
            if own:
                moving.add(number)
    out: list[tuple[str, str]] = []
    into: list[tuple[str, str]] = []
    for number, outer in outer_of.items():
        if outer in moving:
            out += _lifts(slots[number], slots[outer], at[number], wanted[number])
        into += _renames(at[number], wanted[number], slots[number].moving)
    return [*out, *around, *into]


def outer_slots(slots: Sequence[Slot]) -> dict[int, int]:
    """For each slot whose live path lies in another's: the numbers of both."""
    by_live = {one.live: number for number, one in enumerate(slots)}
    found = {}
    for number, one in enumerate(slots):
        for folder in PurePosixPath(one.live).parents:
            if str(folder) in by_live:
                found[number] = by_live[str(folder)]
    return found


def places_inside(inner: Slot, outer: Slot) -> list[str]:
    """Where the inner tree is while it is in an outer one, wherever that stands."""
    below = inner.live[len(outer.live) :]
    return [f"{place}{below}" for place in (outer.live, outer.stage, outer.previous, outer.moving)]


def _lifts(
    inner: Slot, outer: Slot, at: dict[str, str], wanted: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Out of every outer tree, to where it belongs if that is free, else to any free place of its
    own: there are as many as a slot has trees."""
    moves = []
    inside = set(places_inside(inner, outer))
    for identity, path in list(at.items()):
        if path in inside:
            choice = (wanted[identity], inner.moving, inner.stage, inner.previous)
            taken = inside | set(at.values()) | {""}
            target = next(place for place in choice if place not in taken)
            moves.append((path, target))
            at[identity] = target
    return moves


def _renames(at: dict[str, str], wanted: Mapping[str, str], moving: str) -> list[tuple[str, str]]:
    """Renames in an order in which every target is free; a circle is opened by way of `moving`."""
    moves = []
    while left := [one for one in at if at[one] != wanted[one]]:
        free = [one for one in left if wanted[one] not in at.values()]
        who = free[0] if free else left[-1]
        target = wanted[who] if free else moving
        moves.append((at[who], target))
        at[who] = target
    return moves
