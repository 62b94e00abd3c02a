"""state.toml of a set: what is known of it since it was sealed. It stands outside SHA256SUMS, and
holds the checksum of that file: what anchors all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from biso_tasks.backup.toml import Table, dump, load

__all__ = ["GOOD", "STATE", "Mark", "Pin", "SetState", "State"]

T = TypeVar("T")
STATE: Final = "state.toml"
State = Literal["partial", "good", "verified", "drilled", "damaged"]
GOOD: Final = ("good", "verified", "drilled")


@dataclass(frozen=True, slots=True)
class Mark:
    """When (ISO 8601 with its zone), by which run, and what there is to say of it."""

    when: str
    run: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """Why a set is kept; `until` is ISO 8601 with its zone, None for ever."""

    reason: str
    when: str
    until: str | None = None

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < datetime.fromisoformat(self.until)


@dataclass(frozen=True, slots=True)
class SetState:
    """`sums`: the SHA-256 of SHA256SUMS as it was sealed."""

    sums: str
    good: Mark
    verified: Mark | None = None
    drilled: Mark | None = None
    damaged: Mark | None = None
    pin: Pin | None = None

    @property
    def state(self) -> State:
        if self.damaged is not None:
            return "damaged"
        if self.drilled is not None:
            return "drilled"
        return "good" if self.verified is None else "verified"

    def after(self, mark: Mark, *, problems: bool, drilled: bool = False) -> SetState:
        """The state after a verification, with its drill or without: a finding makes a set damaged,
        none makes it well again."""
        if problems:
            return replace(self, damaged=mark)
        found = replace(self, verified=mark, damaged=None)
        return replace(found, drilled=mark) if drilled else found

    def as_toml(self) -> bytes:
        document: dict[str, Any] = {"sums": self.sums}
        for key in ("good", "verified", "drilled", "damaged"):
            mark = getattr(self, key)
            if mark is not None:
                document[key] = {"when": mark.when, "run": mark.run, "text": mark.text}
        if self.pin is not None:
            pin = {"reason": self.pin.reason, "when": self.pin.when, "until": self.pin.until}
            document["pin"] = pin
        return dump(document, "Written by biso-tasks; not covered by SHA256SUMS.")

    @staticmethod
    def from_toml(content: bytes, name: str = STATE) -> SetState:
        """What `as_toml` wrote. Raises BadSet naming file and key."""
        table = load(content, name)
        return SetState(
            sums=table.sha256("sums"),
            good=_mark(table.table("good")),
            verified=_maybe(table, "verified", _mark),
            drilled=_maybe(table, "drilled", _mark),
            damaged=_maybe(table, "damaged", _mark),
            pin=_maybe(table, "pin", _pin),
        )


def _maybe(table: Table, key: str, make: Callable[[Table], T]) -> T | None:
    found = table.maybe_table(key)
    return None if found is None else make(found)


def _mark(table: Table) -> Mark:
    return Mark(_moment(table, "when"), table.text("run"), table.text("text"))


def _pin(table: Table) -> Pin:
    until = _moment(table, "until") if table.has("until") else None
    return Pin(table.text("reason"), _moment(table, "when"), until)


def _moment(table: Table, key: str) -> str:
    value = table.text(key)
    try:
        zone = datetime.fromisoformat(value).tzinfo
    except ValueError as error:
        raise table.wrong(key, f"{value!r} is no moment") from error
    if zone is None:
        raise table.wrong(key, f"{value!r} has no time zone")
    return value
