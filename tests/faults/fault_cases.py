"""The matrix of faults, generated from the built-in recipes: every step, every manner of ending."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import fault_hosts
import pytest
from fault_world import BARE_ROLE, IN_PLACE, SWAPS, Run, World, recipes

EVERYTHING = os.environ.get("BISO_FAULTS") == "all"
PLENTY = 100_000
"""Bytes that are enough for what a late step of a backup has still to write, but not for an early
one's."""
PATIENCE = 240
"""Seconds for a run that has to find out that nobody answers any more."""
SHARES = 8
"""The verbs of an exchange are dealt to so many cases; each takes every eighth."""
DECISIVE = {"swap", "window", "seal", "replace-database", "replace-data", "recover"}
"""Steps after which something else is served, sealed or closed than before."""


@dataclass(frozen=True)
class Manner:
    """How a run is disturbed. `side` is when: before or after the step's work, in its middle (after
    half of the commands that it gives), at every one of its commands, or during one verb of the
    exchange."""

    act: str
    side: str

    def __str__(self) -> str:
        return f"{self.act}-{self.side}"


# What happens to the run itself, wherever its hosts are.
STEP_MANNERS = (
    Manner("kill", "before"),
    Manner("kill", "middle"),
    Manner("fail", "before"),
    Manner("kill", "after"),
    Manner("term", "middle"),
    Manner("fail", "after"),
    Manner("int2", "before"),
)
ODD_MANNERS = (Manner("truncate", "each"), Manner("hang", "middle"), Manner("clock", "before"))
# What happens to the way to a host, or to what runs there: its sessions are cut; silent for good,
# or for twenty seconds; a command of it hangs; it starts again.
LINK_MANNERS = (Manner("cut", "before"), Manner("cut", "middle"))
FAR_MANNERS = (
    Manner("silent", "middle"),
    Manner("stall", "middle"),
    Manner("hang", "middle"),
    Manner("reboot", "middle"),
)
# PostgreSQL goes down, fast or as by a power cut, and comes up again; its role may not log in any
# more; there is no room.
SERVER_MANNERS = (
    Manner("restart", "before"),
    Manner("restart", "middle"),
    Manner("crash", "middle"),
)
HOST_MANNERS = (Manner("rights", "before"), Manner("full", "before"))
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
    """`at` is the host that is hit, or "here"; "" where it is the run."""

    recipe: str
    step: str
    manner: Manner
    over: str = "local"
    at: str = ""

    def __str__(self) -> str:
        where = f"-{self.at}" if self.at else ""
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
                cases += all_manners(recipe, step.name, ("prod", "test"))
            elif step.uses not in known or step.uses in SWAPS:
                manner = STEP_MANNERS[number % len(STEP_MANNERS)]
                cases.append(StepCase(recipe, step.name, manner))
        known |= {step.uses for step in steps}
    return cases if everything else [*_usual(cases), *_ODD]


# One of each manner that is not among the usual ones, at a step where it bites.
_ODD = (
    StepCase("refresh-test", "lock", Manner("clock", "before")),
    StepCase("refresh-test", "guard", Manner("truncate", "each")),
    StepCase("refresh-test", "snapshot", Manner("rights", "before"), at="prod"),
    StepCase("refresh-test", "stage-data", Manner("restart", "middle"), at="test"),
    StepCase("refresh-test", "stage-data", Manner("full", "before"), at="test"),
    StepCase("refresh-test", "stage-database", Manner("reboot", "middle"), "ssh", "test"),
    StepCase("refresh-test", "stage-webroot", Manner("hang", "middle")),
    StepCase("refresh-test", "swap", Manner("restart", "middle"), at="test"),
    StepCase("rollback", "lock", Manner("full", "before"), at="test"),
)


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
                cases += all_manners(recipe, step.name, (where,))
            elif recipe == "backup":
                # Shifted, so that the window is killed in its middle.
                manner = STEP_MANNERS[(number + 4) % len(STEP_MANNERS)]
                cases.append(StepCase(recipe, step.name, manner))
    if not everything:
        cases = _usual(cases)
        cases.append(StepCase("backup", "seal", Manner("kill", "middle")))
        cases.append(StepCase("backup", "window", Manner("cut", "middle"), "ssh", "prod"))
        cases.append(StepCase("backup", "window", Manner("restart", "middle"), at="prod"))
        cases.append(StepCase("backup", "describe", Manner("crash", "middle"), at="prod"))
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
            cases += all_manners(IN_PLACE, step.name, ("prod", "test"))
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


def all_manners(recipe: str, step: str, hosts: tuple[str, ...]) -> list[StepCase]:
    """A step in every manner, against each of `hosts`."""
    near = [StepCase(recipe, step, manner) for manner in (*STEP_MANNERS, *ODD_MANNERS)]
    near.append(StepCase(recipe, step, Manner("full", "before"), at="here"))
    for host in hosts:
        far = (*LINK_MANNERS, *FAR_MANNERS)
        near += [StepCase(recipe, step, manner, "ssh", host) for manner in far]
        there = (*SERVER_MANNERS, *HOST_MANNERS)
        near += [StepCase(recipe, step, manner, at=host) for manner in there]
    return near


def at_step(world: World, case: StepCase, call: int | None = None) -> dict[str, Any]:
    """The fault of a case, for `world.run`. A step's middle is that of its verbs in maintenance,
    where there are such; a step without any verb has no middle: its beginning stands for it. With
    `call` it is that verb of the step."""
    crash = case.manner.act == "crash"
    fault: dict[str, Any] = {
        "act": "restart" if crash else case.manner.act,
        "crash": crash,
        "at": case.at,
        **({"role": BARE_ROLE} if case.recipe == "restore-bare" and case.at == "test" else {}),
        "of": "test" if case.recipe == "baseline" else "prod",
        "cut": (case.at,) if case.at in ("prod", "test") else ("prod", "test"),
    }
    if call is not None:
        return world.spec(scope=case.step, call=call, side="after", **fault)
    if case.manner.side == "middle":
        points = world.points(case.recipe, "again")
        kept_out = f"{case.step} (in maintenance)"
        scope, side = (kept_out, "before") if kept_out in points else (case.step, "during")
        if scope in points:
            middle = (len(points[scope]) + 1) // 2
            return world.spec(scope=scope, call=middle, side=side, delay=0.05, **fault)
    side = "after" if case.manner.side == "after" else "before"
    return world.spec(step=case.step, side=side, **fault)


def runs(
    world: World,
    case: StepCase,
    *,
    before: Callable[[], None] = lambda: None,
    may_be_skipped: Collection[str] = (),
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Runs a case, from a fresh world after which `before` is called, and gives the run with its
    fault: one, or one for each command that its step gives (in a usual run the first that can be
    disturbed). Where nothing of the step can be disturbed so, it is skipped: that is no success."""
    if case.manner.act == "full":
        fault_hosts.disk(world, case.at)
    world.over = case.over
    disturbed = False
    for call in _calls(world, case):
        spec = at_step(world, case, call)
        world.reset("again")
        before()
        run = world.run(spec, *world.words(case.recipe), seconds=PATIENCE)
        if run.reached or case.step in may_be_skipped:
            disturbed = True
            yield run, spec
            if not EVERYTHING:
                return
        else:
            assert call is not None or case.manner.act == "hang", "the step never came"
    if not disturbed:
        pytest.skip(f"nothing of this step can be disturbed by {case.manner.act}")


def _calls(world: World, case: StepCase) -> Iterator[int | None]:
    if case.manner.side != "each":
        yield None
        return
    verbs = world.points(case.recipe, "again").get(case.step, [])
    for call, verb in enumerate(verbs, 1):
        if verb.startswith("run "):
            print(f"command {call}: {verb}")
            yield call


CODES = {
    "kill": {-9}, "fail": {0, 1, 6}, "down": {0, 1, 6}, "cut": {0, 1, 6}, "term": {130, 0},
    "int2": {130, 0}, "restart": {0, 1}, "silent": {0, 1, 6}, "stall": {0}, "clock": {0},
    "hang": {0, 1, 6, 130}, "reboot": {0, 1, 6}, "rights": {0, 1, 3}, "full": {0, 1, 3, 75},
    "truncate": {0, 1, 3, 4, 6},
}  # fmt: skip
"""What a run may end with, by how it was disturbed."""


def require_told(run: Run, act: str, *, more: Collection[int] = ()) -> None:
    """It ended with a code that says what happened to it, and as what it was prepared for."""
    # By the signal when it had done all, and said so, and was on its way out.
    late = run.code == -signal.SIGTERM and run.document["ok"]
    known = CODES[act] | set(more)
    assert late or run.code in known, f"exit {run.code}\n{run.err[-2000:]}"
    assert "defect" not in run.err, run.err[-2000:]


LASTING = {"kill", "silent", "hang", "reboot", "rights"}
"""After which nobody is there who could put in order what is left: `recover` does."""

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
