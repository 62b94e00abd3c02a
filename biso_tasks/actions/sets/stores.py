"""Which store a command means: an environment's own, that of releases, or one that is named by its
place."""

from __future__ import annotations

import posixpath

from biso_tasks.backup.copies import Copies, find_place
from biso_tasks.backup.ids import is_id, parse_id
from biso_tasks.backup.received import Received
from biso_tasks.backup.store import Store
from biso_tasks.errors import UsageError
from biso_tasks.session import Session

__all__ = [
    "baseline_store",
    "find_store",
    "offered_releases",
    "own_store",
    "release_store",
    "visited_store",
]


def own_store(session: Session, name: str) -> Store:
    """The store on the environment's host, for the environment's own sets. Its links name sets of
    the environment that is backed up, whoever's the run is; where none of many is said to be that
    one, they name its own."""
    backup = session.site.backup
    known = backup.environment in [one.name for one in session.site.environments]
    links = backup.environment if known else name
    return Store(session.host(name), backup.path, name, links=links)


def baseline_store(session: Session, name: str) -> Store:
    """Where the baselines of a test environment are kept, apart from backup sets: neither `latest`
    nor the retention means them, and no links name them."""
    return Store(session.host(name), f"{session.site.backup.path}/baselines", name)


def release_store(session: Session) -> Store:
    """Where releases are made, on the host of the environment that they are made in: apart from
    backup sets, so that who may read releases finds nothing else there."""
    release = session.site.release
    return Store(session.host(release.environment), _release_path(session), release.environment)


def offered_releases(session: Session, target: str) -> Store:
    """Where a refresh of `target` finds releases: where they are made, or what a restricted account
    hands out, which is fetched to the target's host."""
    account = session.site.release.ssh
    if account is None:
        return release_store(session)
    return Received(session.host(target), _release_path(session), session.visited(account))


def _release_path(session: Session) -> str:
    site = session.site
    return site.release.path or f"{site.backup.path}/released"


def visited_store(session: Session, place: str) -> tuple[Store, str]:
    """What is at HOST:PATH, or at a path of this machine: a store, a folder that holds directories
    of sets, or one set's own directory, whatever it is called; and the id of that set, else "".
    Raises UsageError for anything else, BadSet for a directory that is part of a set."""
    destination, colon, path = place.rpartition(":/")
    path = f"/{path}" if colon else place
    if not path.startswith("/"):
        raise UsageError(
            f"--from: {place!r} is not HOST:PATH",
            hint="HOST is an ssh_config alias or user@host:port, PATH begins with a slash; a path "
            "alone is on this machine",
        )
    host, links = session.visited(destination), session.site.backup.environment
    kind, real = find_place(host, posixpath.normpath(path))
    above, name = posixpath.split(real)
    # Those of a store are looked at as such.
    if posixpath.basename(above) == "sets" and is_id(name):
        return Store(host, posixpath.dirname(above), links=links), name
    if kind == "sets" and name == "sets":
        return Store(host, above, links=links), ""
    if kind == "store":
        return Store(host, real, links=links), ""
    copies = Copies(host, real, single=kind == "set")
    found = copies.list() if kind == "set" else ()
    return copies, found[0].id if found else ""


def find_store(session: Session, set_: str, from_: str, *, target: str = "") -> tuple[Store, str]:
    """The store in which the set that a person means is looked for, and its id. `set_` is an id,
    "latest" or "released"; an id says whose set it is. `target` is to be made of it, by default
    refresh.to. Raises Refused where there is none."""
    name = session.site.backup.environment
    if from_:
        store, id = visited_store(session, from_)
        known = {one.environment for one in store.list() if one.good}
        # Another site may call its production otherwise; in a store of several it must be said.
        store.environment = name if name in known or len(known) > 1 else None
        return store, store.resolve(id if id and set_ in ("", "latest") else set_ or "latest")
    if set_ == "released":
        store = offered_releases(session, target or session.site.refresh.to)
        return store, store.resolve(set_)
    if set_ not in ("", "latest"):
        name = parse_id(set_).env
        if _may_be_released(session, name):
            store = offered_releases(session, target or session.site.refresh.to)
            if any(one.id == set_ for one in store.list()):
                return store, set_
    store = own_store(session, name)
    return store, store.resolve(set_ or "latest")


def _may_be_released(session: Session, name: str) -> bool:
    """Whether a set of `name` may be a release: they are called by where they were made, which a
    site that only takes them need not know."""
    site = session.site
    known = name in [one.name for one in site.environments]
    return name == site.release.environment or (site.release.ssh is not None and not known)
