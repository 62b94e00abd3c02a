"""Which tasks can be given many installations, and by which option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["JOBS", "JOBS_HELP", "KINDS", "PATTERN_HELP", "Kind"]

JOBS: Final = "4"  # at once, where nothing is said


@dataclass(frozen=True, slots=True)
class Kind:
    """`option` takes the pattern. `test_only`: production is never meant by one. `production`:
    where it fits productions, it means these alone, and not their copies as well. `asks`: something
    is replaced or removed, so that the plans are shown and the pattern is typed first. `reads`:
    nothing is changed. `single`: flags that make sense for one installation alone."""

    option: str = "env"
    test_only: bool = False
    production: bool = False
    asks: bool = False
    reads: bool = False
    single: tuple[str, ...] = ()


KINDS: Final[Mapping[str, Kind]] = {
    "backup": Kind(production=True),
    "verify": Kind(production=True, single=("set_", "from_")),
    "list": Kind(production=True, reads=True, single=("from_",)),
    "prune": Kind(production=True, asks=True),
    "refresh-test": Kind("to", test_only=True, asks=True, single=("from_",)),
    "anonymize": Kind(test_only=True, asks=True),
    "rollback": Kind(test_only=True, asks=True),
    "baseline": Kind(test_only=True),
    "reset-test": Kind(test_only=True, asks=True),
    "release": Kind(production=True, single=("gate",)),
    "privacy-scan": Kind(reads=True, single=("write",)),
    "recover": Kind(),
    "doctor": Kind(reads=True),
}
"""By task."""

JOBS_HELP: Final = f"how many at once, where several are meant (default: {JOBS})"
PATTERN_HELP: Final = "; or several: 'kanton-*', or names with commas between"
