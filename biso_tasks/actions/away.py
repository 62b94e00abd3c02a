"""The fact `away` of a step: from when until when an environment did not serve. The report of the
run draws it beside its steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["away", "goes_away"]


def away(environment: str, seconds: float, until: datetime | None = None) -> dict[str, Any]:
    """`environment` was away for so many seconds and serves again since `until`, by default now.
    Both times are of whole milliseconds: what lies between them is what the run says it took."""
    end = until or datetime.now(UTC)
    end = end.replace(microsecond=end.microsecond // 1000 * 1000)
    since = end - timedelta(milliseconds=round(round(seconds, 3) * 1000))
    return {"environment": environment, "from": _text(since), "until": _text(end)}


def goes_away(environment: str) -> dict[str, Any]:
    """`environment` is away from now on; another step tells when it is back."""
    return {"environment": environment, "from": _text(datetime.now(UTC)), "until": None}


def _text(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")
