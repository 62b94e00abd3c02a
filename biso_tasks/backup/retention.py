"""Which sets are kept and which go, with a reason for each: a pure function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from biso_tasks.backup.manifest import AREAS
from biso_tasks.backup.sets import StoredSet
from biso_tasks.backup.state import GOOD, Pin, State
from biso_tasks.config.duration import duration_text
from biso_tasks.config.model import Keep

__all__ = ["Decision", "Kept", "kept_of", "retain"]

_Bucket = Callable[[datetime], str]
# The next backup goes on with what an interrupted one left; where none comes, it fills the disk.
_UNFINISHED: Final = timedelta(days=1)


def _week(moment: datetime) -> str:
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"


_BUCKETS: Final[tuple[tuple[str, _Bucket], ...]] = (
    ("daily", lambda moment: moment.strftime("%Y-%m-%d")),
    ("weekly", _week),
    ("monthly", lambda moment: moment.strftime("%Y-%m")),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What retention has to know of a set. `moment` is in UTC."""

    id: str
    moment: datetime
    environment: str
    areas: frozenset[str]
    state: State
    pin: Pin | None = None
    released: bool = False

    @property
    def good(self) -> bool:
        return self.state in GOOD

    @property
    def group(self) -> tuple[str, frozenset[str], bool]:
        """Sets that can stand for each other: a dump alone is no substitute for a whole set, nor is
        one that was anonymised to be handed out."""
        return self.environment, self.areas, self.released


@dataclass(frozen=True, slots=True)
class Decision:
    """The reason for each set, by id, the newest first."""

    keep: Mapping[str, str]
    remove: Mapping[str, str]


def kept_of(stored: StoredSet) -> Kept:
    """What retention has to know of a set of a store. What a damaged manifest cannot tell is taken
    for a whole set."""
    areas = frozenset(stored.areas) or frozenset(AREAS)
    return Kept(
        stored.id,
        stored.moment,
        stored.environment,
        areas,
        stored.state,
        stored.pin,
        stored.released,
    )


def retain(sets: Sequence[Kept], keep: Keep, now: datetime) -> Decision:
    """What `keep` means for `sets` at `now`. Sets of different areas or environments, and released
    ones, are judged each among their own. Good ones alone count. Never removed: the newest good one
    of each kind, and whatever is pinned. A damaged one goes once a newer good one is there, a
    partial one after a day."""
    kept: dict[str, str] = {}
    for group in {one.group for one in sets}:
        kept |= _kept([one for one in sets if one.group == group], keep, now)
    newest_first = sorted(sets, key=lambda one: (one.moment, one.id), reverse=True)
    return Decision(
        {one.id: kept[one.id] for one in newest_first if one.id in kept},
        {one.id: _why(one, keep, now) for one in newest_first if one.id not in kept},
    )


def _kept(sets: Sequence[Kept], keep: Keep, now: datetime) -> dict[str, str]:
    good = sorted(
        (one for one in sets if one.good), key=lambda one: (one.moment, one.id), reverse=True
    )
    young = [one for one in good if not _too_old(one, keep, now)]
    kept: dict[str, str] = {}
    for number, one in enumerate(young[: keep.last], 1):
        kept[one.id] = f"last {number} of {keep.last}"
    counts = {"daily": keep.daily, "weekly": keep.weekly, "monthly": keep.monthly}
    for name, bucket in _BUCKETS:
        for key, one in _newest(young, bucket, counts[name]):
            kept.setdefault(one.id, f"{name} {key}")
    if good:
        kept.setdefault(good[0].id, "the last good one")
    for one in sets:
        if one.state == "partial" and now - one.moment <= _UNFINISHED:
            kept[one.id] = "partial: the next run goes on with it, or removes it"
        elif one.state == "damaged" and not (good and good[0].moment > one.moment):
            kept[one.id] = "damaged, but no newer one is good"
        if one.pin is not None and one.pin.holds(now):
            until = "" if one.pin.until is None else f" until {one.pin.until}"
            kept[one.id] = f"pinned{until}: {one.pin.reason}"
    return kept


def _newest(sets: Iterable[Kept], bucket: _Bucket, count: int) -> list[tuple[str, Kept]]:
    """The newest set of each of the `count` newest buckets that hold one: a site whose backups
    stopped for a month does not lose the older ones for that."""
    found: dict[str, Kept] = {}
    for one in sets:
        found.setdefault(bucket(one.moment.astimezone(UTC)), one)
    return list(found.items())[:count]


def _too_old(one: Kept, keep: Keep, now: datetime) -> bool:
    return now - one.moment > timedelta(seconds=keep.max_age)


def _why(one: Kept, keep: Keep, now: datetime) -> str:
    if one.state == "partial":
        return "partial, for more than a day"
    if one.state == "damaged":
        return "damaged, and a newer one is good"
    if _too_old(one, keep, now):
        return f"older than {duration_text(keep.max_age)}"
    return (
        "newer ones are as many as are kept"
        if one.released
        else "no rule of [backup] keep asks for it"
    )
