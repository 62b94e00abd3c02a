"""Durations as biso.toml writes them: "90s", "10m", "12h", "3d", "2w"."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["duration", "duration_text"]

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhdw])", re.ASCII)


def duration(text: str) -> float:
    """Seconds. Raises ValueError for anything but one number and one unit of s, m, h, d, w."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2]]


def duration_text(seconds: float) -> str:
    """The shortest way to write `seconds` (not negative), in days at most: 259200.0 is "3d"."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
