"""The matrix of faults, generated from the built-in recipes: every step, every manner of ending."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fault_world import recipes

EVERYTHING = os.environ.get("BISO_FAULTS") == "all"
SHARES = 8
"""The verbs of an exchange are dealt to so many cases; each takes every eighth."""


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
    """Each step of each recipe in each manner; in a quick run each step of the main job in one,
    the manners taking turns, and the swap of the others."""
    cases = []
    for recipe, steps in recipes().items():
        for number, step in enumerate(steps):
            if everything:
                cases += [StepCase(recipe, step.name, manner) for manner in STEP_MANNERS]
                for cut in (("prod",), ("test",)):
                    cases += [
                        StepCase(recipe, step.name, manner, "ssh", cut) for manner in LINK_MANNERS
                    ]
            elif recipe == "refresh-test" or step.uses.startswith("swap"):
                manner = STEP_MANNERS[number % len(STEP_MANNERS)]
                cases.append(StepCase(recipe, step.name, manner))
    return cases


def exchange_cases(*, everything: bool = EVERYTHING) -> list[ExchangeCase]:
    """Each verb between writing the intent and removing it, in each manner, dealt into shares."""
    swaps = [name for name, steps in recipes().items()
             if any(step.uses.startswith("swap") for step in steps)]  # fmt: skip
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
