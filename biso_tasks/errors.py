"""One root for every handled error, and one exit code a kind (CONTRACT §3).

An error prints as one line: what happened and where; `hint` says what to do next.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BisoError",
    "ConfigError",
    "Interrupted",
    "Locked",
    "NeedsPerson",
    "ObserverFailed",
    "ProofFailed",
    "Refused",
    "StepFailed",
    "UsageError",
]


class BisoError(Exception):
    """The root. `message` says what happened and where, `hint` what to do about it."""

    kind: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class StepFailed(BisoError):
    """A step failed; the target is untouched or was rolled back. Exit 1."""


class ConfigError(BisoError):
    """biso.toml is wrong: every finding at once, one a line. Exit 2."""

    kind = "config"
    exit_code = 2


class UsageError(BisoError):
    """The command line is wrong. Exit 2."""

    kind = "usage"
    exit_code = 2


class Refused(BisoError):
    """A guard said no before anything was changed. Exit 3."""

    kind = "refused"
    exit_code = 3


class ProofFailed(BisoError):
    """A verification or the privacy proof failed. Exit 4."""

    kind = "proof"
    exit_code = 4


class Locked(BisoError):
    """Another run holds the environment. Exit 5."""

    kind = "locked"
    exit_code = 5


class NeedsPerson(BisoError):
    """The tool cannot put things right by itself; the message says what to do. Exit 6."""

    kind = "person"
    exit_code = 6


class ObserverFailed(BisoError):
    """The work is done, but an observer plugin or a notification failed. Exit 75."""

    kind = "observer"
    exit_code = 75


class Interrupted(BisoError):
    """Ctrl-C or SIGTERM; what was begun has been cleaned up. Exit 130."""

    kind = "interrupted"
    exit_code = 130
