"""Which store a command means: an environment's own, or one that is named by its place."""

from __future__ import annotations

import posixpath

from biso_tasks.backup.ids import parse_id
from biso_tasks.backup.store import Store
from biso_tasks.errors import Refused, UsageError
from biso_tasks.session import Session

__all__ = ["baseline_store", "find_store", "own_store", "visited_store"]


def own_store(session: Session, name: str) -> Store:
    """The store on the environment's host, for the environment's own sets."""
    return Store(session.host(name), session.site.backup.path, name)


def baseline_store(session: Session, name: str) -> Store:
    """Where the baselines of a test environment are kept, apart from backup sets: neither `latest`
    nor the retention means them."""
    return Store(session.host(name), f"{session.site.backup.path}/baselines", name)


def visited_store(session: Session, place: str) -> tuple[Store, str]:
    """The store at HOST:PATH, or at a path of this machine, and the id of the set where the path is
    one's directory, else "". Raises UsageError for anything else."""
    destination, colon, path = place.rpartition(":/")
    path = f"/{path}" if colon else place
    if not path.startswith("/"):
        raise UsageError(
            f"--from: {place!r} is not HOST:PATH",
            hint="HOST is an ssh_config alias or user@host:port, PATH begins with a slash; a path "
            "alone is on this machine",
        )
    path = posixpath.normpath(path)
    above, name = posixpath.split(path)
    id = ""
    if posixpath.basename(above) == "sets":
        try:
            id = str(parse_id(name))
        except Refused:
            id = ""
    root = posixpath.dirname(above) if id else path
    return Store(session.visited(destination), root), id


def find_store(session: Session, set_: str, from_: str) -> tuple[Store, str]:
    """The store in which the set that a person means is looked for, and its id. `set_` is an id or
    "latest"; an id says whose set it is. Raises Refused where there is none."""
    if from_:
        store, id = visited_store(session, from_)
        return store, store.resolve(id if id and set_ in ("", "latest") else set_ or "latest")
    name = session.site.backup.environment
    if set_ not in ("", "latest", "released"):
        name = parse_id(set_).env
    store = own_store(session, name)
    return store, store.resolve(set_ or "latest")
