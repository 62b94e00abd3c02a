"""The names of the databases that stand beside a live one: stage, previous, baseline, and one only
used inside the swap's transaction.

PostgreSQL truncates names to 63 bytes without an error, so `<63 bytes>__stage` would *be* the live
database. Where the plain name is too long, it is cut at a character boundary and made unique by a
hash of the whole live name; it is never left to the server.
"""

from __future__ import annotations

import hashlib

from biso_tasks.errors import Refused

__all__ = ["LIMIT", "baseline_name", "live_name", "previous_name", "stage_name", "swap_name"]

LIMIT = 63  # bytes: NAMEDATALEN - 1


def stage_name(db: str) -> str:
    """`<db>__stage`, at most 63 bytes, never `db` itself. Raises Refused (see `live_name`)."""
    return _beside(db, "__stage")


def previous_name(db: str) -> str:
    """`<db>__previous`, at most 63 bytes, never `db` itself. Raises Refused (see `live_name`)."""
    return _beside(db, "__previous")


def baseline_name(db: str) -> str:
    """`<db>__baseline`, at most 63 bytes, never `db` itself. Raises Refused (see `live_name`)."""
    return _beside(db, "__baseline")


def swap_name(db: str) -> str:
    """A name nobody ever sees: it exists inside the swap's transaction only."""
    return _beside(db, "__swap")


def live_name(db: str) -> str:
    """`db` if it can be the name of a live database. Raises Refused for an empty one, one with a
    NUL byte, one of more than 63 bytes, and one that is itself a stage's or previous name."""
    size = len(db.encode("utf-8", "surrogatepass"))
    if not db or "\0" in db:
        raise Refused(
            f"{db!r} cannot be the name of a database",
            hint="correct the dbname in config.php or biso.toml",
        )
    if size > LIMIT:
        raise Refused(
            f"the database name {db!r} has {size} bytes; PostgreSQL keeps {LIMIT} of them",
            hint="write the name as the server shows it",
        )
    if db.endswith(("__stage", "__previous", "__baseline", "__swap")):
        raise Refused(
            f"the database {db!r} carries the name of a stage, a previous instance or a baseline",
            hint="the config must name the live database",
        )
    return db


def _beside(db: str, suffix: str) -> str:
    live_name(db)
    plain = db + suffix
    if len(plain.encode()) <= LIMIT:
        return plain
    mark = "_" + hashlib.sha256(db.encode()).hexdigest()[:12]
    room = LIMIT - len(mark) - len(suffix)
    # cutting bytes may split a character: "ignore" drops the half one
    return db.encode()[:room].decode("utf-8", "ignore") + mark + suffix
