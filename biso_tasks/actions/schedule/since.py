"""Since when timers for backups stand on this machine, remembered beside the journals: a site
without any set is only new until they have had time.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from biso_tasks.config.model import Site
from biso_tasks.errors import StepFailed

__all__ = ["forget_timers", "note_timers", "timers_since"]

_FILE: Final = "scheduled"


def note_timers(site: Site) -> None:
    """From now on, unless it was noted before. Raises StepFailed."""
    if timers_since(site) is not None:
        return
    try:
        site.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (site.state / _FILE).write_text(datetime.now(UTC).isoformat(timespec="seconds") + "\n")
    except OSError as error:
        raise _failed(site, error) from error


def forget_timers(site: Site) -> None:
    """Raises StepFailed."""
    try:
        (site.state / _FILE).unlink(missing_ok=True)
    except OSError as error:
        raise _failed(site, error) from error


def timers_since(site: Site) -> datetime | None:
    """When they were installed, with its zone; None where they were not, or nobody can tell."""
    with suppress(OSError, ValueError):
        moment = datetime.fromisoformat((site.state / _FILE).read_text("ascii").strip())
        return moment if moment.tzinfo else None
    return None


def _failed(site: Site, error: OSError) -> StepFailed:
    return StepFailed(
        f"{site.state / _FILE} cannot be written: {error.strerror}",
        hint="make the folder writable, or set `site.state` in biso.toml",
    )
