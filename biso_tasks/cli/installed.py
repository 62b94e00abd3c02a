"""Whether the packages beside us are those that this checkout was locked with. `./biso` looks
before each start; `invoke`, from the environment that `./biso` made, does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import biso_tasks
from biso_tasks.errors import ConfigError

__all__ = ["require_current"]


def require_current() -> None:
    """Raises ConfigError where the environment was made by `./biso` from other lock files than are
    here now. One that somebody made in another way is theirs to keep."""
    checkout = Path(biso_tasks.__file__).resolve().parent.parent
    for made_from in sorted(Path(sys.prefix, "biso-locks").glob("*.txt")):
        now = checkout / "requirements" / made_from.name
        if now.is_file() and now.read_bytes() != made_from.read_bytes():
            raise ConfigError(
                f"{sys.prefix} was made for another version of biso-tasks: "
                f"requirements/{made_from.name} has changed since, and packages may be missing",
                hint=f"bring it up to date: {checkout / 'biso'} --list; then run this again",
            )
