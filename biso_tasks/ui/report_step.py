"""One step of a report, as the journal has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ReportError", "ReportStep"]


@dataclass(frozen=True, slots=True)
class ReportError:
    """An error as the journal keeps it. `exit_code` is that of CONTRACT §3."""

    kind: str
    message: str
    hint: str = ""
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class ReportStep:
    """One step. `began` and `seconds` are seconds, the first since the run's start; None for a step
    that did not run. `status` is the runner's, or "unfinished" where the journal ends before the
    step did. `reason` says why it was skipped, `undo_error` what its undo stopped on."""

    name: str
    on: str = ""
    uses: str = ""
    needs: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()
    status: str = "not run"
    began: float | None = None
    seconds: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""
    retries: int = 0
    error: ReportError | None = None
    undo_error: ReportError | None = None
