"""When the last good, verified or drilled set is too old: what `list` and `doctor` say then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from biso_tasks.config.duration import duration_text
from biso_tasks.config.model import MaxAge

__all__ = ["SetAge", "stale"]

# Two machines' clocks may differ; a set from tomorrow would keep `stale` silent until then.
_SKEW: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SetAge:
    """When a set became good, was verified, was drilled (the last time, with time zone); None where
    it is not or never was. A damaged or partial set has no `good`."""

    id: str
    good: datetime | None = None
    verified: datetime | None = None
    drilled: datetime | None = None


def stale(
    sets: Iterable[SetAge], max_age: MaxAge, now: datetime, *, since: datetime | None = None
) -> tuple[str, ...]:
    """What is too old, a line each with its remedy; () where all is well. The caller gives the
    complete sets of one environment, and `now` with a time zone; `since` is when timers were
    installed for it, None where there are none.

    What was verified counts as long as the set is good; a drill is a verification too. What never
    happened is missed once there was time for it: a site without any set is only new.
    """
    known = list(sets)
    good = [one for one in known if one.good is not None]
    if not good:
        if known:
            return ("there is no good backup set at all: run `biso backup`",)
        if since is None or now - since <= timedelta(seconds=max_age.good):
            return ()
        return (
            f"there is no backup set at all, though timers were installed {_age(now - since)} ago; "
            f"expected one every {duration_text(max_age.good)}: look at `biso runs`, or run "
            "`biso backup`",
        )
    first = min(one for one in (since, *(one.good for one in good)) if one is not None)
    looks = (
        _Look("good", [(one.good, one.id) for one in good], max_age.good,
              "the newest good set is {age} old", "", "look at `biso runs`, or run `biso backup`"),
        _Look("verified",
              [(when, one.id) for one in good for when in (one.verified, one.drilled)],
              max_age.verified, "the last verification was {age} ago",
              "no good set was ever verified", "run `biso verify`"),
        _Look("drilled", [(one.drilled, one.id) for one in good], max_age.drilled,
              "the last drill was {age} ago", "no good set was ever drilled",
              "run `biso verify --drill`"),
    )  # fmt: skip
    return tuple(line for look in looks if (line := _line(look, first, now)))


@dataclass(frozen=True, slots=True)
class _Look:
    what: str
    times: list[tuple[datetime | None, str]]
    limit: float
    old: str
    never: str
    remedy: str


def _line(look: _Look, first: datetime, now: datetime) -> str:
    times = [(when, name) for when, name in look.times if when is not None]
    expected = f"expected one every {duration_text(look.limit)}"
    limit = timedelta(seconds=look.limit)
    if not times:
        if now - first <= limit:
            return ""
        return f"{look.never}; {expected}: {look.remedy}"
    when, name = max(times)
    if when - now > _SKEW:
        return (
            f"the newest {look.what} set says {when:%Y-%m-%d %H:%M} UTC, which is in the future "
            f"({name}): correct the clock of its host or of this machine"
        )
    if now - when <= limit:
        return ""
    return f"{look.old.format(age=_age(now - when))} ({name}); {expected}: {look.remedy}"


def _age(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours >= 2:
        return f"{hours} hours"
    return f"{int(age.total_seconds() // 60)} minutes"
