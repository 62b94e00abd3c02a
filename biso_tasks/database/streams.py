"""A large database in several streams side by side, where both hosts have the cores for it: one
session reads or loads no faster than one core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, final

from biso_tasks.database.snapshot import Snapshot
from biso_tasks.host.command import command
from biso_tasks.host.protocol import Host

__all__ = ["at_once", "how_many", "shares", "worth_parting"]

_LARGE: Final = 1 << 30  # bytes of a database from which more streams are worth their start
_MOST: Final = 4

_BY_SIZE: Final = """SELECT format('%I.%I', n.nspname, c.relname), pg_catalog.pg_table_size(c.oid)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'
     AND d.classid = 'pg_catalog.pg_class'::regclass)
 ORDER BY 2 DESC, 1"""


def worth_parting(size: int) -> bool:
    """Whether a database of `size` bytes comes in several streams where the hosts allow it."""
    return size >= _LARGE


def how_many(source: Host, target: Host, size: int) -> int:
    """Streams for a database of `size` bytes: half the cores of the host that has fewer, as each
    has two processes there, and no more than four."""
    if not worth_parting(size):
        return 1
    cores = [host.run(command("nproc"), ok=None).text for host in {source, target}]
    return max(1, min(_MOST, *(int(one) // 2 if one.isdigit() else 1 for one in cores)))


def shares(snapshot: Snapshot, streams: int, without: Collection[str]) -> list[list[str]]:
    """Tables for all streams but the first, which takes everything else; as `Counts.tables` names
    them. Each takes about as many bytes; those of `without` and small ones are left to the first.
    Fewer shares than streams where a few tables are nearly all of it."""
    found = snapshot.connection.execute(_BY_SIZE.encode()).fetchall()
    sizes = {str(name): int(size) for name, size in found if name not in without}
    small = sum(sizes.values()) / (streams * 8)
    filled = [0] * streams
    made: list[list[str]] = [[] for _ in range(streams)]
    for name, size in sizes.items():
        if size < small:
            filled[0] += size
            continue
        least = min(range(streams), key=lambda at: (filled[at], -at))
        filled[least] += size
        made[least].append(name)
    return [share for share in made[1:] if share]


def at_once(work: Sequence[Callable[[threading.Event], object]], cancel: threading.Event) -> None:
    """Runs all side by side, each with an event that is also set when another has failed. Raises
    what the first one that failed raised."""
    stop = _Either(cancel)
    failed: list[BaseException] = []

    def run(one: Callable[[threading.Event], object]) -> None:
        try:
            one(stop)
        except BaseException as error:
            failed.append(error)
            stop.set()
            raise

    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(run, one) for one in work]:
            done.exception()
    if failed:
        raise failed[0]


@final
class _Either(threading.Event):
    """Set by itself or with another."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()
