"""How far a copy is, and which part of it the others wait for, by asking both servers meanwhile. A
client that waits for its server, or a server for its client, says so in pg_stat_activity."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal, final

from biso_tasks.database.connect import connect
from biso_tasks.database.server import APPLICATION, Server
from biso_tasks.errors import BisoError

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Limits", "Part", "limited_by", "limiting", "watch"]

Part = Literal["source", "link", "target", "disk", "file"]

_BLOCKED: Final = "Client/ClientWrite"
_EVERY: Final = 0.25  # seconds between two looks
_SIZES: Final = 4  # looks from one size to the next: the server asks the file system for each file
_PATIENCE: Final = 2.0  # seconds
_SMALL: Final = 33_554_432  # bytes of a database below which nobody asks where the time went
_SAID: Final[dict[Part, str]] = {
    "source": "reading at the source",
    "link": "the link, or what packs on it",
    "target": "loading at the target",
    "disk": "the target's disk",
    "file": "the file: packing, unpacking or its disk",
}

# pg_dump's session in this database; "" while it computes, None where there is none.
_SENDING: Final = """SELECT coalesce(wait_event_type || '/' || wait_event, '')
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()
   AND query LIKE 'COPY %% TO stdout;' AND state = 'active'"""
_LOADING: Final = """SELECT coalesce(wait_event_type || '/' || wait_event, '')
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()
   AND state IS NOT NULL"""
_SIZE: Final = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"


@final
class Limits:
    """What was seen so far."""

    def __init__(self) -> None:
        self.seen: Counter[Part] = Counter()


def limited_by(found: Iterable[Limits]) -> dict[str, str]:
    """For a step's facts: what was waited for most of the time, over several databases, and its
    share; empty where nobody looked."""
    seen: Counter[Part] = Counter()
    for one in found:
        seen += one.seen
    if not seen:
        return {}
    [(part, count)] = seen.most_common(1)
    return {"limited_by": f"{_SAID[part]} ({100 * count // seen.total()} % of the time)"}


def limiting(sending: str | None, loading: str | None) -> Part | None:
    """The part that both wait for, by the wait events ("type/event", "" for none) of pg_dump's and
    of the loading session; None where there is no loading session."""
    if loading is None:
        return None
    kind, _, event = loading.partition("/")
    if kind == "Client":
        return "link" if sending == _BLOCKED else "source"
    return "disk" if kind == "IO" or event.startswith("WAL") else "target"


@contextmanager
def watch(
    source: Server | None,
    target: Server | None,
    size: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Limits]:
    """Looks at both while the block copies `source`'s database, of `size` bytes, into `target`'s;
    None stands for a file. `progress` is told how many bytes `target`'s has. That nobody can look
    is no failure: then nothing is said."""
    limits = Limits()
    if size < _SMALL:
        yield limits
        return
    over = threading.Event()
    thread = threading.Thread(
        target=_look, args=(source, target, limits, progress, over), name="biso-limits", daemon=True
    )
    thread.start()
    try:
        yield limits
    finally:
        over.set()
        # Behind a link that was cut it may wait for an answer; nobody waits for that.
        thread.join(_PATIENCE)


def _look(
    source: Server | None,
    target: Server | None,
    limits: Limits,
    progress: Callable[[int], None] | None,
    over: threading.Event,
) -> None:
    with suppress(BisoError), ExitStack() as stack:
        there = stack.enter_context(connect(source, autocommit=True)) if source else None
        here = stack.enter_context(connect(target, autocommit=True)) if target else None
        looks = 0
        while not over.wait(_EVERY):
            if here is not None and progress is not None and looks % _SIZES == 0:
                progress(_bytes(here))
            looks += 1
            sending = _event(there, _SENDING) if there else None
            part: Part | None
            if here is None:
                part = "file" if sending == _BLOCKED else "source"
            else:
                part = limiting(sending, _event(here, _LOADING))
                if source is None and part == "source":
                    part = "file"
            if part is not None:
                limits.seen[part] += 1


def _bytes(connection: Connection) -> int:
    row = connection.execute(_SIZE.encode()).fetchone()
    return 0 if row is None else int(row[0])


def _event(connection: Connection, text: str) -> str | None:
    row = connection.execute(text.encode(), (APPLICATION,)).fetchone()
    return None if row is None else str(row[0])
