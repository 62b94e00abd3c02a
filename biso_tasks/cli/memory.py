"""Personal values and passwords are in this process's memory: what it leaves when it dies must not
hold them."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

__all__ = ["leave_no_core"]

_SET_DUMPABLE: Final = 4  # PR_SET_DUMPABLE of <linux/prctl.h>


def leave_no_core() -> None:
    """No core dump of this process, as far as the system lets us say so, nor a file of one of its
    children. Can be called again."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    # Where the kernel pipes dumps to a program (systemd-coredump, apport), no limit counts.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
