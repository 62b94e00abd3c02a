"""What the mask cannot rewrite."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Left"]


@dataclass(frozen=True, slots=True)
class Left:
    """A place that could not be rewritten, why, and what to do about it; the proof will find it."""

    place: str
    reason: str
    remedy: str
