"""What a recipe is made of: steps as data, how their keys are read, how they hang together."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from biso_tasks.errors import ConfigError

__all__ = [
    "NAME",
    "SETTABLE",
    "BadRecipe",
    "Problem",
    "Recipe",
    "StepSpec",
    "between_sealed",
    "core_order",
    "did_you_mean",
    "graph_problems",
    "read_step",
    "resolved",
]

NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step as a recipe says it. `uses` names an action, `run` is a command: one of the two.

    `needs` is None only before a recipe is built: then the step needs the one before it. `core`
    marks a step that is part of the recipe's safety: it can be neither skipped nor reordered.
    Between two `sealed` steps no other may come: what the first has found must still be true at the
    last. `timeout` is in seconds. `always` runs at the end whatever happened. `when` and `confirm`
    are texts that the planner understands.
    """

    name: str
    uses: str = ""
    run: tuple[str, ...] = ()
    on: str = ""
    needs: tuple[str, ...] | None = None
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    always: bool = False
    when: str = ""
    confirm: str = ""
    timeout: float | None = None
    retries: int = 0
    core: bool = False
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Named steps that form a DAG: every step's `needs` is filled in. `confirm` are the names that
    have to be typed before it runs. A `variant_of` another recipe has the same steps by name, made
    otherwise: what changes the one changes the other."""

    name: str
    help: str
    steps: tuple[StepSpec, ...]
    confirm: tuple[str, ...] = ()
    variant_of: str = ""

    def names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a recipe, or with a change of it. `at` leads to it in the table
    of the recipe or of the change, e.g. ("insert", 0, "after"); `step` is the step it is about."""

    cause: str
    remedy: str = ""
    at: tuple[str | int, ...] = ()
    step: str = ""


class BadRecipe(ConfigError):
    """All that is wrong, one a line; `problems` for who knows file and line of each. Exit 2."""

    def __init__(self, where: str, problems: Sequence[Problem]) -> None:
        remedies = [one.remedy for one in problems]
        super().__init__(
            "\n".join(f"{where}: {one.cause}" for one in problems),
            hint=remedies[0] if len(set(remedies)) == 1 else "",
        )
        self.problems = tuple(problems)


def read_step(table: Mapping[str, Any], problems: list[str]) -> StepSpec:
    """A step from its table; what is wrong with it is added to `problems`."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _KEYS:
            problems.append(f'unknown key "{key}"{did_you_mean(key, _KEYS)}')
            continue
        try:
            values[key] = _KEYS[key](value)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    if not table.get("name"):
        problems.append("a step needs a name")
    if bool(table.get("uses")) == bool(table.get("run")):
        problems.append("give either `uses` (an action) or `run` (a command)")
    return StepSpec(**{"name": "", **values})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r}")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f'expected lower-case letters, digits, "-" and "_", got {value!r}')
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ValueError(f'expected a list of texts such as ["one", "two"], got {value!r}')
    return tuple(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a whole number from 0, got {value!r}")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, got {value!r}")
    return dict(value)


def _duration(value: Any) -> float:
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        seconds = float(match[1]) * SECONDS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(f'expected seconds or a text such as "90s", "10m", "2h", got {value!r}')
    if not seconds > 0:
        raise ValueError("expected more than 0 seconds")
    return seconds


SETTABLE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "uses": _text,
    "run": _texts,
    "on": _text,
    "needs": _texts,
    "when": _text,
    "confirm": _text,
    "timeout": _duration,
    "retries": _count,
}
_KEYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _name,
    **SETTABLE,
    "params": _table,
    "always": _flag,
    "core": _flag,
    "sealed": _flag,
}


def resolved(steps: Sequence[StepSpec]) -> tuple[StepSpec, ...]:
    """Sequential where `needs` was not given, as in a Makefile without -j. A step that runs at the
    end is nobody's unspoken predecessor, except that of the next one that runs at the end."""
    out: list[StepSpec] = []
    for step in steps:
        needs = step.needs
        if needs is None:
            previous = [one.name for one in out if step.always or not one.always]
            needs = tuple(previous[-1:])
        out.append(replace(step, needs=needs))
    return tuple(out)


def graph_problems(steps: Sequence[StepSpec]) -> list[Problem]:
    """Names used twice, needs that do not exist or run at the end; one sentence each."""
    names: dict[str, StepSpec] = {}
    problems: list[Problem] = []
    for step in steps:
        if step.name in names:
            cause = f'two steps are called "{step.name}"'
            problems.append(Problem(cause, "give each its own name", step=step.name))
        names[step.name] = step
    for step in steps:
        for need in step.needs or ():
            if need not in names:
                cause = (
                    f'step "{step.name}" needs "{need}", which does not exist'
                    f"{did_you_mean(need, names)}"
                )
                remedy = f"its steps are: {', '.join(names)}"
                problems.append(Problem(cause, remedy, step=step.name))
            elif names[need].always and not step.always:
                cause = f'step "{step.name}" needs "{need}", which runs at the end (always = true)'
                remedy = "let it run at the end as well, or need another step"
                problems.append(Problem(cause, remedy, step=step.name))
    return problems


def core_order(steps: Sequence[StepSpec]) -> set[tuple[str, str]]:
    """(a, b) for each two core steps where b waits for a, directly or not."""
    core = {step.name for step in steps if step.core}
    return {
        (need, name) for name, needs in _before(steps).items() if name in core
        for need in needs & core
    }  # fmt: skip


def between_sealed(steps: Sequence[StepSpec]) -> list[tuple[str, str]]:
    """(step, sealed step) for each step that waits for a sealed one while another sealed one waits
    for it, and is not sealed itself."""
    before = _before(steps)
    sealed = [step.name for step in steps if step.sealed]
    return [
        (step.name, first)
        for step in steps
        if not step.sealed and any(step.name in before[last] for last in sealed)
        for first in sealed
        if first in before[step.name]
    ]


def _before(steps: Sequence[StepSpec]) -> dict[str, set[str]]:
    """Every step that each one waits for, directly or not."""
    by_name = {step.name: step for step in steps}
    found: dict[str, set[str]] = {}
    for step in steps:
        seen: set[str] = set()
        waiting = list(step.needs or ())
        while waiting:
            need = waiting.pop()
            if need not in seen and need in by_name:
                seen.add(need)
                waiting += by_name[need].needs or ()
        found[step.name] = seen
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean "…"?)`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
