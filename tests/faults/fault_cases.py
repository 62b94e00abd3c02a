"""The matrix of faults, generated from the built-in recipes: every step, every manner of ending."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from fault_world import IN_PLACE, SWAPS, World, recipes

EVERYTHING = os.environ.get("BISO_FAULTS") == "all"
PLENTY = 100_000
"""Bytes that are enough for what a late step of a backup has still to write, but not for an early
one's."""
SHARES = 8
"""The verbs of an exchange are dealt to so many cases; each takes every eighth."""
DECISIVE = {"swap", "window", "seal", "replace-database", "replace-data", "recover"}
"""Steps after which something else is served, sealed or closed than before."""


@dataclass(frozen=True)
class Manner:
    """How a run is ended. `side` is when: before or after the step's work, in its middle (after
    half of the commands that it gives), or during one verb of the exchange."""

    act: str
    side: str

    def __str__(self) -> str:
        return f"{self.act}-{self.side}"


STEP_MANNERS = (
    Manner("kill", "before"),
    Manner("kill", "middle"),
    Manner("fail", "before"),
    Manner("kill", "after"),
    Manner("term", "middle"),
    Manner("fail", "after"),
    Manner("int2", "before"),
)
LINK_MANNERS = (Manner("cut", "before"), Manner("cut", "middle"))
# PostgreSQL goes down, fast or as by a power cut, and comes up again.
SERVER_MANNERS = (
    Manner("restart", "before"),
    Manner("restart", "middle"),
    Manner("crash", "middle"),
)
EXCHANGE_MANNERS = (
    Manner("kill", "after"),
    Manner("kill", "during"),
    Manner("fail", "before"),
    Manner("fail", "after"),
    Manner("down", "before"),
    Manner("cut", "after"),
    Manner("term", "before"),
)


@dataclass(frozen=True)
class StepCase:
    recipe: str
    step: str
    manner: Manner
    over: str = "local"
    cut: tuple[str, ...] = ("prod", "test")

    def __str__(self) -> str:
        where = "" if self.manner.act != "cut" else "-" + "+".join(self.cut)
        return f"{self.recipe}-{self.step}-{self.manner}{where}-{self.over}"


@dataclass(frozen=True)
class ExchangeCase:
    recipe: str
    manner: Manner
    share: int
    over: str

    def __str__(self) -> str:
        return f"{self.recipe}-{self.manner}-{self.share + 1}of{SHARES}-{self.over}"


def step_cases(*, everything: bool = EVERYTHING) -> list[StepCase]:
    """Each step of each recipe that builds a stage, in each manner; in a usual run each step of the
    main job in one, the manners taking turns, and of the others the swap and what no recipe before
    them does: of all these the decisive ones, and every third."""
    cases = []
    known: set[str] = set()
    staging = [name for name, steps in recipes().items()
               if any(step.uses in (*SWAPS, "read-back") for step in steps)]  # fmt: skip
    for recipe in sorted(staging, key=lambda name: (*_ORDER, name).index(name)):
        steps = recipes()[recipe]
        for number, step in enumerate(steps):
            if everything:
                cases += _all_manners(recipe, step.name, (("prod",), ("test",)))
            elif step.uses not in known or step.uses in SWAPS:
                manner = STEP_MANNERS[number % len(STEP_MANNERS)]
                cases.append(StepCase(recipe, step.name, manner))
        known |= {step.uses for step in steps}
    return cases if everything else _usual(cases)


def set_cases(*, everything: bool = EVERYTHING) -> list[StepCase]:
    """Each step of each recipe that seals a set, in each manner; in a usual run every third step of
    `backup` in one, with the middle of those in which most is under way."""
    cases = []
    for recipe, steps in recipes().items():
        if not any(step.uses == "set-seal" for step in steps):
            continue
        for number, step in enumerate(steps):
            if everything:
                where = "prod" if recipe == "backup" else "test"
                cases += _all_manners(recipe, step.name, ((where,),))
                cases += [StepCase(recipe, step.name, manner) for manner in SERVER_MANNERS]
            elif recipe == "backup":
                # Shifted, so that the window is killed in its middle.
                manner = STEP_MANNERS[(number + 4) % len(STEP_MANNERS)]
                cases.append(StepCase(recipe, step.name, manner))
    if not everything:
        cases = _usual(cases)
        cases.append(StepCase("backup", "seal", Manner("kill", "middle")))
        cases.append(StepCase("backup", "window", Manner("cut", "middle"), "ssh", ("prod",)))
        cases.append(StepCase("backup", "window", Manner("restart", "middle")))
        cases.append(StepCase("backup", "describe", Manner("crash", "middle")))
        cases.append(StepCase("baseline", "retire", Manner("fail", "after")))
    return cases


def in_place_cases(*, everything: bool = EVERYTHING) -> list[StepCase]:
    """Each step of a refresh in place, in each manner; in a usual run each from taking the site
    away on (what is before it is as in any refresh), killed before, in the middle or after its work
    by turns: of all these the decisive ones, and every third."""
    kills = [manner for manner in STEP_MANNERS if manner.act == "kill"]
    cases = []
    steps = recipes(without=())[IN_PLACE]
    away = [step.name for step in steps].index("offline")
    for number, step in enumerate(steps):
        if everything:
            cases += _all_manners(IN_PLACE, step.name, (("prod",), ("test",)))
        elif number >= away:
            cases.append(StepCase(IN_PLACE, step.name, kills[number % len(kills)]))
    return cases if everything else _usual(cases)


def program_cases(*, everything: bool = EVERYTHING) -> list[tuple[str, str]]:
    """Each program that brings files or rows into a set, and each step of `backup` in which it may
    be killed; in a usual run the one under which production waits."""
    if not everything:
        return [("rsync", "window")]
    steps = [step.name for step in recipes()["backup"]]
    return [(program, step) for program in ("rsync", "pg_dump") for step in steps]


def full_cases(*, everything: bool = EVERYTHING) -> list[tuple[str, int]]:
    """Each step of `backup` before which the disk gets full, and how many bytes are left."""
    if not everything:
        return [("guard", 0), ("copy-files", 20_000), ("window", 4_096), ("dump", 8_192),
                ("seal", 4_096)]  # fmt: skip
    steps = [step.name for step in recipes()["backup"]]
    return [(step, left) for step in steps for left in (0, 4_096, 20_000, PLENTY)]


def _usual(cases: list[StepCase]) -> list[StepCase]:
    return [one for number, one in enumerate(cases) if one.step in DECISIVE or number % 3 == 0]


def _all_manners(recipe: str, step: str, cuts: tuple[tuple[str, ...], ...]) -> list[StepCase]:
    return [
        *(StepCase(recipe, step, manner) for manner in STEP_MANNERS),
        *(StepCase(recipe, step, manner, "ssh", cut) for cut in cuts for manner in LINK_MANNERS),
    ]


def at_step(world: World, case: StepCase) -> dict[str, Any]:
    """The fault of a case, for `world.run`. A step's middle is that of its verbs in maintenance,
    where there are such; a step without any verb has no middle: its beginning stands for it."""
    of = "test" if case.recipe == "baseline" else "prod"
    crash = case.manner.act == "crash"
    act = "restart" if crash else case.manner.act
    if case.manner.side == "middle":
        points = world.points(case.recipe, "again")
        kept_out = f"{case.step} (in maintenance)"
        scope, side = (kept_out, "before") if kept_out in points else (case.step, "during")
        if scope in points:
            return world.spec(
                scope=scope, call=(len(points[scope]) + 1) // 2, side=side, delay=0.05,
                act=act, crash=crash, cut=case.cut, of=of,
            )  # fmt: skip
    side = "after" if case.manner.side == "after" else "before"
    return world.spec(step=case.step, side=side, act=act, crash=crash, cut=case.cut, of=of)


CODES = {"kill": {-9}, "fail": {0, 1, 6}, "down": {0, 1, 6}, "cut": {0, 1, 6}, "term": {130, 0},
         "int2": {130, 0}, "restart": {0, 1}}  # fmt: skip
"""What a run may end with, by how it was ended."""

_ORDER = ("refresh-test", "restore")
"""Whose steps are taken first, where several recipes have them."""


def exchange_cases(*, everything: bool = EVERYTHING) -> list[ExchangeCase]:
    """Each verb between writing the intent and removing it, in each manner, dealt into shares."""
    swaps = [name for name, steps in recipes().items()
             if any(step.uses in SWAPS for step in steps)]  # fmt: skip
    cases = []
    for recipe in swaps:
        for number, manner in enumerate(EXCHANGE_MANNERS):
            for over in ("local", "ssh"):
                if manner.act == "cut" and over == "local":
                    continue
                if everything:
                    shares = range(SHARES) if over == "local" else (number,)
                    cases += [ExchangeCase(recipe, manner, share, over) for share in shares]
                elif recipe == "rollback" and over == ("ssh" if number % 3 == 2 else "local"):
                    cases.append(ExchangeCase(recipe, manner, number, over))
    return cases
