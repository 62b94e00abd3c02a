"""How a run and its steps ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from biso_tasks.errors import BisoError
from biso_tasks.flow.listen import ListenerError, Status

__all__ = ["Outcome", "StepResult"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended. `seconds` is 0 for one that did not run. A step whose undo failed is
    "failed", with the undo's error."""

    name: str
    on: str
    status: Status
    seconds: float
    facts: Mapping[str, Any]
    error: BisoError | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `steps` are in the plan's order.

    `error` is None after a success, else what the run ends with: the first failure, or NeedsPerson
    where an undo failed or a later step needs a person (then "untouched or rolled back" is not
    true any more). `failure` is the first failure in any case, `undo_errors` what undoing raised.
    """

    steps: tuple[StepResult, ...]
    error: BisoError | None
    seconds: float
    listener_errors: tuple[ListenerError, ...]
    failure: BisoError | None
    undo_errors: tuple[tuple[str, BisoError], ...]

    @property
    def ok(self) -> bool:
        return self.error is None
