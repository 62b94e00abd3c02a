"""A plan: bound steps in an order that holds, to be shown, confirmed and executed as shown."""

from __future__ import annotations

import difflib
import hashlib
import heapq
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from biso_tasks.errors import ConfigError, Interrupted

__all__ = ["CycleError", "Plan", "Scope", "Step", "fingerprint"]

_NUMBER: Final = re.compile(r"[0-9][0-9_.,:]*")


class CycleError(ConfigError):
    """Steps wait for each other. `path` is one way round, its first name repeated at the end."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(
            f"steps wait for each other: {' → '.join(path)}",
            hint="take one of these out of the `needs` of the step that follows it here",
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Scope:
    """What a running step is given.

    `cancel` is set when the step shall stop (failure elsewhere, interrupt, timeout): a step that
    stops for it raises, as `check()` does; one that returns is taken as done. `progress` takes
    done, total (None: not known) and the unit; `note` a line that is shown and journaled.
    """

    step: Step
    cancel: threading.Event
    progress: Callable[[int, int | None, str], None]
    note: Callable[[str], None]

    def check(self) -> None:
        """Raises Interrupted when the step shall stop."""
        if self.cancel.is_set():
            raise Interrupted(f'step "{self.step.name}" was asked to stop')


@dataclass(frozen=True, slots=True)
class Step:
    """One bound step. `run` gives facts for the journal (JSON values without secrets) or None.

    `changes` and `destroys` say in words what the plan shows. `undo` puts back what `run` did,
    also when `run` got only half way. `skip` is the reason why the plan leaves the step out;
    `done` is asked just before it would start, and True leaves it out as well. `timeout` is in
    seconds, retries included.
    """

    name: str
    run: Callable[[Scope], Mapping[str, Any] | None]
    uses: str = ""
    on: str = ""
    needs: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()
    undo: Callable[[Scope], None] | None = None
    always: bool = False
    timeout: float | None = None
    retries: int = 0
    skip: str = ""
    done: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will happen, before anything does. `confirm` are the names that have to be
    typed; `notes` are sentences shown with the plan. Steps of an `independent` plan have nothing to
    do with each other: one that fails stops none of the others, and none is undone."""

    name: str
    run_id: str
    steps: tuple[Step, ...]
    confirm: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    independent: bool = False

    def order(self) -> tuple[Step, ...]:
        """The steps so that each follows its needs: as declared where needs leave a choice, those
        that run `always` last. Raises CycleError, and ConfigError for names twice or unknown."""
        index = {step.name: number for number, step in enumerate(self.steps)}
        if len(index) != len(self.steps):
            twice = next(
                step.name for number, step in enumerate(self.steps) if index[step.name] != number
            )
            raise ConfigError(
                f'plan {self.name}: two steps are called "{twice}"', hint="give each its own name"
            )
        missing = [0] * len(self.steps)
        followers: list[list[int]] = [[] for _ in self.steps]
        for number, step in enumerate(self.steps):
            needs = set(step.needs)
            missing[number] = len(needs)
            for need in needs:
                followers[self._index_of(step, need, index)].append(number)
        # `always` sorts behind everything else, so a heap keeps the declared order among the ready.
        ready = [
            (step.always, number) for number, step in enumerate(self.steps) if missing[number] == 0
        ]
        heapq.heapify(ready)
        out: list[Step] = []
        while ready:
            _, number = heapq.heappop(ready)
            out.append(self.steps[number])
            for follower in followers[number]:
                missing[follower] -= 1
                if missing[follower] == 0:
                    heapq.heappush(ready, (self.steps[follower].always, follower))
        if len(out) < len(self.steps):
            raise CycleError(self._cycle({number for number, left in enumerate(missing) if left}))
        return tuple(out)

    def as_json(self) -> list[dict[str, Any]]:
        """The steps in order, as CONTRACT §3 lists them under "plan"; "skip" has the reason of a
        step that is left out."""
        return [
            {
                "name": step.name,
                "on": step.on,
                "uses": step.uses,
                "needs": list(step.needs),
                "changes": list(step.changes),
                "destroys": list(step.destroys),
                **({"skip": step.skip} if step.skip else {}),
            }
            for step in self.order()
        ]

    def _index_of(self, step: Step, need: str, index: Mapping[str, int]) -> int:
        if need not in index:
            close = difflib.get_close_matches(need, index, n=1)
            mean = f' (did you mean "{close[0]}"?)' if close else ""
            raise ConfigError(
                f'plan {self.name}: step "{step.name}" needs "{need}", which does not exist{mean}',
                hint=f"its steps are: {', '.join(index)}",
            )
        if self.steps[index[need]].always and not step.always:
            raise ConfigError(
                f'plan {self.name}: step "{step.name}" needs "{need}", which runs at the end',
                hint="let it run at the end as well, or need another step",
            )
        return index[need]

    def _cycle(self, stuck: set[int]) -> tuple[str, ...]:
        """Every stuck step needs a stuck one: walking along needs comes round."""
        index = {step.name: number for number, step in enumerate(self.steps)}
        walk: list[str] = []
        at = min(stuck)
        while self.steps[at].name not in walk:
            walk.append(self.steps[at].name)
            at = next(index[need] for need in self.steps[at].needs if index[need] in stuck)
        name = self.steps[at].name
        return tuple(reversed([*walk[walk.index(name) :], name]))


def fingerprint(plan: Sequence[Mapping[str, Any]]) -> str:
    """What tells one plan (as `as_json` gives it) from another: all that it says but for numbers: a
    set's time, a size that grows."""
    text = _NUMBER.sub("0", json.dumps(list(plan), sort_keys=True))
    return hashlib.sha256(text.encode()).hexdigest()
