"""One error that speaks for several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from biso_tasks.errors import (
    BisoError,
    Interrupted,
    Locked,
    NeedsPerson,
    ObserverFailed,
    ProofFailed,
    Refused,
    StepFailed,
    UsageError,
)

__all__ = ["of_code", "together"]

_KINDS: Final = {
    one.exit_code: one
    for one in (
        *(StepFailed, UsageError, Refused, ProofFailed, Locked, NeedsPerson, ObserverFailed),
        Interrupted,
    )
}


def of_code(code: int) -> type[BisoError]:
    """The error that ends a command with `code`; StepFailed for a code that none has."""
    return _KINDS.get(code, StepFailed)


def together(
    failed: Mapping[str, BisoError], number: int, what: str, mixed: type[BisoError]
) -> BisoError:
    """What a command about `number` things (`what`: "drills") ends with, of which some failed, by
    name: where a person is needed that above all. Failures of one kind keep theirs, such as a test
    environment that somebody else holds; of several it is `mixed`."""
    codes = {error.exit_code for error in failed.values()}
    if NeedsPerson.exit_code in codes:
        kind: type[BisoError] = NeedsPerson
    else:
        kind = of_code(codes.pop()) if len(codes) == 1 else mixed
    speaks = [name for name, error in failed.items() if error.exit_code == kind.exit_code]
    name = (speaks or list(failed))[0]
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return kind(
        f"{len(failed)} of {number} {what} failed: {name}: {failed[name].message}{more}",
        hint=failed[name].hint,
    )
