"""What an installation's run holds for itself, so that others which need the same wait for it here,
instead of being refused there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from biso_tasks.config.focus import focus
from biso_tasks.config.model import Site

__all__ = ["Holders", "held"]

_STORE: Final = frozenset({"backup", "prune", "baseline", "reset-test", "release"})
_WAIT: Final = 0.2  # seconds until it is noticed that it shall stop


def held(site: Site, task: str, name: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """What `task` on the environment `name` locks beyond that: the store on a host that others use
    as well, the one test environment in which several are drilled or prepared."""
    seen = focus(site, name)
    drill = task == "verify" and bool(arguments.get("drill"))
    found = set()
    source = arguments.get("source") or site.refresh.source
    fetched = task == "refresh-test" and source == "released" and site.release.ssh is not None
    if task in _STORE or drill or fetched:
        found.add(f"store {site.environment(name).ssh or ''}:{site.backup.path}")
    if drill:
        found.add(f"{site.file}: {arguments.get('on') or seen.refresh.to}")
    if task == "release":
        found.add(f"{site.file}: {seen.release.environment}")
    return frozenset(found)


class Holders:
    """A lock for each thing that any of them holds."""

    def __init__(self, things: Iterable[frozenset[str]]) -> None:
        self._locks = {one: threading.Lock() for each in things for one in each}

    @contextmanager
    def holding(self, things: frozenset[str], check: Callable[[], None]) -> Iterator[None]:
        """While inside, nobody else holds any of `things`. `check` is asked while waiting, and
        raises to end that."""
        with ExitStack() as stack:
            for one in sorted(things):  # in one order, or two would wait for each other
                lock = self._locks[one]
                while not lock.acquire(timeout=_WAIT):
                    check()
                stack.callback(lock.release)
            yield
