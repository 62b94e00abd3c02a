"""One root for every handled error, and one exit code a kind (CONTRACT §3).

An error prints as one line: what happened and where; `hint` says what to do next.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Self

__all__ = [
    "BisoError",
    "ConfigError",
    "Defect",
    "Interrupted",
    "Locked",
    "NeedsPerson",
    "ObserverFailed",
    "ProofFailed",
    "Refused",
    "StepFailed",
    "UsageError",
    "plain",
]

# CSI and OSC sequences, strings (DCS, PM, APC, SOS), and whatever else an escape begins.
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]?"
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """`text` without escape sequences and control characters: what a host prints may be anything.
    Line ends stay, a tab is a blank."""
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text.replace("\t", " "))


class BisoError(Exception):
    """The root. `message` says what happened and where, `hint` what to do about it: texts that may
    quote a host, so without its control characters. `usual` is what helps with errors of this kind
    as a rule."""

    kind: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    usual: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = plain(message)
        self.hint = plain(hint)
        super().__init__(self.message)

    @property
    def remedy(self) -> str:
        """What is told to a person: nobody is left with a cause alone."""
        return self.hint or self.usual

    def with_hint(self, hint: str) -> Self:
        """The same error, whatever its kind takes, with other words on what to do about it."""
        told = type(self).__new__(type(self), *self.args)
        told.__dict__.update(self.__dict__)
        told.__cause__, told.hint = self.__cause__, plain(hint)
        return told

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class StepFailed(BisoError):
    """A step failed; the target is untouched or was rolled back. Exit 1. A disk that is full has a
    remedy, whichever program said so."""

    usual = "-v shows more; `biso doctor` checks everything that a run needs"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or (_ROOM if _FULL.search(message) else ""))


_FULL: Final = re.compile(
    r"No space left on device|Disk quota exceeded|Kein Speicherplatz|kein Speicherplatz|"
    r"Der zugewiesene Plattenplatz"
)
_ROOM: Final = (
    "free room on that filesystem and run it again: `biso prune` removes a previous instance, and "
    "`biso doctor` says what a second copy needs"
)


class Defect(StepFailed):
    """What nobody foresaw: a mistake of this tool, not of the person or the site. Exit 1."""

    kind = "defect"


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
    usual = "start it again when it suits"
