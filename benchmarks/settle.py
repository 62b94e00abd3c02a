"""Between two runs: what the one has deleted must not slow the other down.

ext4 gives an inode that was freed in the last minute to nobody (five minutes, while that is not on
disk yet), and looks for another one by one. Right after 40,000 files were removed, as a procedure
and its cleaning up do, 40,000 new ones took 25 s instead of 3; and the next run paid for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep
from typing import Final

__all__ = ["MANY", "settle"]

MANY: Final = 5_000  # files from which on it matters
_FORGOTTEN: Final = 61.0  # seconds after what was deleted is on disk
_DROP: Final = Path("/proc/sys/vm/drop_caches")
_PIECE: Final = 1 << 20


def settle(folder: Path) -> None:
    """Return when new files cost what they cost on a quiet day: as root the kernel is told to
    forget the inodes (and all else that it holds of the disk), and all below `folder` is read
    again, so that nobody begins cold; as anybody else a minute is waited for."""
    os.sync()
    try:
        _DROP.write_text("1\n")
    except OSError:
        sleep(_FORGOTTEN)
        return
    for here, _, files in os.walk(folder):
        for name in files:
            _read(Path(here, name))


def _read(path: Path) -> None:
    try:
        # A pipe or socket would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    with open(descriptor, "rb", buffering=0) as file:
        try:
            while file.read(_PIECE):
                pass
        except OSError:  # gone meanwhile, or nothing to be read
            return
