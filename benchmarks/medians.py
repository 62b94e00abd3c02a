"""Medians, slopes, and how sure a slope is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

__all__ = ["median", "slope_at_least", "slope_of"]

# Student's t for 97.5 %, by degrees of freedom; beyond, the normal distribution's.
_STUDENT: Final = (
    *(12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13),
    *(2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04),
)  # fmt: skip


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def slope_of(along: Sequence[float], values: Sequence[float]) -> float:
    """Of the line that fits best; 0 where all lie at one place."""
    return _fit(along, values)[0]


def slope_at_least(along: Sequence[float], values: Sequence[float]) -> float:
    """The lower end of the slope's 95 % interval; minus infinity with fewer than three values."""
    slope, error = _fit(along, values)
    free = len(values) - 2
    if free < 1:
        return -math.inf
    return slope - error * (_STUDENT[free - 1] if free <= len(_STUDENT) else 1.96)


def _fit(along: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Slope and its standard error."""
    middle, mean = statistics.fmean(along), statistics.fmean(values)
    spread = sum((x - middle) ** 2 for x in along)
    if not spread:
        return 0.0, 0.0
    pairs = list(zip(along, values, strict=True))
    slope = sum((x - middle) * (y - mean) for x, y in pairs) / spread
    rest = sum((y - mean - slope * (x - middle)) ** 2 for x, y in pairs)
    return slope, math.sqrt(rest / max(1, len(pairs) - 2) / spread)
