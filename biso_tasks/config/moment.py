"""Times of the schedule as biso.toml writes them: "02:30" (each day), "sun 05:00" (each week),
"15 05:00" (each month, on the 15th).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["WEEKDAYS", "Moment", "moment"]

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT: Final = re.compile(r"(?:(\S+) +)?([0-9]{1,2}):([0-9]{2})", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{1,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of day on this machine's clock, on each day, or on one `weekday` (0 is Monday), or on
    one `day` of the month (1 to 28)."""

    hour: int
    minute: int
    weekday: int | None = None
    day: int | None = None

    def __str__(self) -> str:
        """As biso.toml writes it; `moment` reads it back."""
        time = f"{self.hour:02}:{self.minute:02}"
        if self.weekday is not None:
            return f"{WEEKDAYS[self.weekday]} {time}"
        return time if self.day is None else f"{self.day} {time}"


def moment(text: str) -> Moment:
    """Weekdays may be written out ("Sunday"). Raises ValueError for anything else; its message
    completes "TEXT …"."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("is no time")
    day, hour, minute = match[1], int(match[2]), int(match[3])
    if hour > 23 or minute > 59:
        raise ValueError("is later than any clock shows")
    if day is None:
        return Moment(hour, minute)
    if _DAY.fullmatch(day):
        # systemd and cron skip a month that has no 31st, and say nothing.
        if not 1 <= int(day) <= 28:
            raise ValueError("is on a day that not every month has")
        return Moment(hour, minute, day=int(day))
    for number, name in enumerate(_LONG):
        if day.lower() in (name, name[:3]):
            return Moment(hour, minute, weekday=number)
    raise ValueError("names no day (mon, tue, wed, thu, fri, sat, sun)")


_LONG: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
