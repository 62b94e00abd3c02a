"""What sets are called: `<YYYYmmdd_HHMMSS>-<environment>`, in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from biso_tasks.errors import ProofFailed, Refused

__all__ = ["PARTIAL", "BadSet", "SetId", "is_id", "new_id", "parse_id"]

PARTIAL: Final = ".partial-"
_FORM: Final = "%Y%m%d_%H%M%S"
# An id becomes part of paths, and it comes from people and from documents.
_ID: Final = re.compile(r"([0-9]{8}_[0-9]{6})-([A-Za-z0-9][A-Za-z0-9_-]{0,39})", re.ASCII)


class BadSet(ProofFailed):
    """A set, or a document of one, cannot be relied on. Exit 4."""

    usual = "`biso list` shows which sets are good; `biso backup` makes a new one"


@dataclass(frozen=True, slots=True)
class SetId:
    """A set's id in its parts; `str()` is the id."""

    stamp: str
    env: str

    @property
    def moment(self) -> datetime:
        """When the backup began, UTC."""
        return datetime.strptime(self.stamp, _FORM).replace(tzinfo=UTC)

    @staticmethod
    def at(moment: datetime) -> str:
        """The stamp of a moment (with its zone)."""
        if moment.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return moment.astimezone(UTC).strftime(_FORM)

    @property
    def partial(self) -> str:
        """The name of its directory while it is built."""
        return f"{PARTIAL}{self}"

    def __str__(self) -> str:
        return f"{self.stamp}-{self.env}"


def new_id(moment: datetime, env: str) -> str:
    """The id of a set of `env` that is begun at `moment` (with its time zone). Raises ValueError
    for a moment without a time zone."""
    return str(parse_id(f"{SetId.at(moment)}-{env}"))


def is_id(text: str) -> bool:
    """Whether that may be the id of a set."""
    return _parsed(text) is not None


def parse_id(text: str) -> SetId:
    """The parts of an id. Raises Refused for what is none: what a person types, or what stands in a
    document, must not lead out of the store."""
    found = _parsed(text)
    if found is None:
        raise Refused(
            f"{text!r} is not the id of a backup set",
            hint='ids look like 20261120_031500-prod; `biso list` shows them, "latest" is one too',
        )
    return found


def _parsed(text: str) -> SetId | None:
    match = _ID.fullmatch(text)
    if match is None:
        return None
    found = SetId(match[1], match[2])
    try:
        found.moment  # noqa: B018  (29 February of the wrong year)
    except ValueError:
        return None
    return found
