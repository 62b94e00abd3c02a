"""Without Python's cyclic collector: it walks through millions of hashes again and again, which are
in no cycle, for a fifth of the time that collecting and proving take."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """While this lasts nothing looks for cycles; what is in none is given back as ever."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
