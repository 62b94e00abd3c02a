"""Whether the packages that a task needs are beside us. `./biso` brings its environment up to date
before each start; `invoke`, from the environment that `./biso` made, does not.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import biso_tasks
from biso_tasks.errors import ConfigError

__all__ = ["require_packages"]

# Those that every machine needs: a marker behind a name leaves it to the platform.
_LOCKED: Final = re.compile(r"^([A-Za-z0-9._-]+)==[^;\s]+ *\\?$", re.MULTILINE)


def require_packages() -> None:
    """Raises ConfigError where the environment was made by `./biso` from another core.txt than is
    here now, and lacks a package of it. Older ones are taken: whoever has to recover an instance
    may have no network to fetch newer ones."""
    wanted = Path(biso_tasks.__file__).resolve().parents[1] / "requirements" / "core.txt"
    made_from = Path(sys.prefix, "biso-locks", "core.txt")
    if not made_from.is_file() or not wanted.is_file():
        return  # made in another way: that one's owner keeps it
    text = wanted.read_text("utf-8")
    if text == made_from.read_text("utf-8"):
        return
    missing = [name for name in _LOCKED.findall(text) if not _there(name)]
    if missing:
        raise ConfigError(
            f"{sys.prefix} was made for another version of biso-tasks and lacks "
            f"{', '.join(missing)}",
            hint=f"bring it up to date: {wanted.parents[1] / 'biso'} --list; then run this again",
        )


def _there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
