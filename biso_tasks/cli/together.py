"""Errors of other commands and runs: made anew from what they said, and one that speaks for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from biso_tasks.errors import (
    BisoError,
    ConfigError,
    Defect,
    Interrupted,
    Locked,
    NeedsPerson,
    ObserverFailed,
    ProofFailed,
    Refused,
    StepFailed,
    UsageError,
)

__all__ = ["said", "together"]

_KINDS: Final[Mapping[str, type[BisoError]]] = {
    one.kind: one
    for one in (
        *(StepFailed, Defect, ConfigError, UsageError, Refused, ProofFailed, Locked, NeedsPerson),
        *(ObserverFailed, Interrupted),
    )
}


def said(error: Mapping[str, Any]) -> BisoError:
    """The error that a document tells by `kind`, `message` and `hint`."""
    kind = _KINDS.get(str(error.get("kind")), StepFailed)
    return kind(str(error.get("message", "")), hint=str(error.get("hint") or ""))


def together(
    failed: Mapping[str, BisoError], number: int, what: str, mixed: type[BisoError]
) -> BisoError:
    """What a command about `number` things (`what`: "drills") ends with, of which some failed, by
    name: where a person is needed that above all. Failures of one code keep theirs, such as a test
    environment that somebody else holds; of several it is `mixed`."""
    codes = {error.exit_code for error in failed.values()}
    needed = NeedsPerson.exit_code if NeedsPerson.exit_code in codes else min(codes)
    name = next(name for name, error in failed.items() if error.exit_code == needed)
    if len(codes) > 1 and needed != NeedsPerson.exit_code:
        name, kind = next(iter(failed)), mixed
    else:
        # Of its own class there may be more to say than a message.
        kind = _KINDS[failed[name].kind]
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return kind(
        f"{len(failed)} of {number} {what} failed: {name}: {failed[name].message}{more}",
        hint=failed[name].hint,
    )
