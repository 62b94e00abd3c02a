"""The names that a person has given to hosts in ssh_config, to be shown where one is asked for."""

from __future__ import annotations

import glob
import re
from pathlib import Path

__all__ = ["aliases"]

_DEEPEST = 4  # files that include files


def aliases(config: Path) -> tuple[str, ...]:
    """Every plain name behind `Host` in `config` and in what it includes, in their order: no
    patterns. Files that cannot be read hold none."""
    return tuple(dict.fromkeys(_names(config, 0)))


def _names(config: Path, depth: int) -> list[str]:
    try:
        lines = config.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        match = re.match(r"\s*(host|include)(?:\s*=\s*|\s+)(.*?)\s*$", line, re.IGNORECASE)
        if match is None:
            continue
        words = [word.strip('"') for word in match[2].split()]
        if match[1].lower() == "host":
            found += [word for word in words if not re.search(r"[*?!]", word)]
        elif depth < _DEEPEST:
            for word in words:
                place = str(Path("~/.ssh").expanduser() / Path(word).expanduser())
                for file in sorted(glob.glob(place)):  # noqa: PTH207 (an absolute pattern)
                    found += _names(Path(file), depth + 1)
    return found
