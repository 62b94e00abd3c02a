"""Exchange databases by name: the one commit point of a refresh.

terminate-then-rename loses against clients that reconnect. So: no connections allowed, then every
session ended, then all renames **and** allowing connections again in one transaction. The rename
happens everywhere or nowhere, and a database's oid, which a rename keeps, tells afterwards which.

An owner cannot end a superuser's session, and the error would abort the statement: sessions are
ended one by one, and those that this role may not end are found before anything is blocked. Ending
and polling happen in one statement on the server, every 5 ms: over SSH each question would cost a
round trip of downtime.

The previous instance of last time is not dropped for the swap's sake: it takes the stage's name in
the same transaction and is dropped when all is well (`Swapped.leftover`), so a swap that fails has
cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.database.admin import Admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.database.create import HALF_DROPPED
from biso_tasks.database.names import swap_name
from biso_tasks.database.sessions import count_sessions, end_sessions, refuse_unmovable
from biso_tasks.database.sqltext import Raw, compose, name
from biso_tasks.errors import BisoError, NeedsPerson, StepFailed

__all__ = [
    "Intent",
    "Rename",
    "Swapped",
    "allow",
    "back",
    "committed",
    "exchange",
    "intent",
    "revert",
]

# Seconds that a statement of the renames may take; 0 is as long as it needs.
_TRIES: Final = (0.5, 2.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rename:
    """`stage` becomes `live`, `live` becomes `previous`. `statements` (composed SQL) run in the
    same transaction, when the names are the new ones: who may connect to the new live database."""

    live: str
    stage: str
    previous: str
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be exchanged, by oid: written to the host before the exchange. `incoming`
    is what will carry the name `live`, `outgoing` what carries it now (None on a bare target)."""

    live: str
    incoming: int
    outgoing: int | None


@dataclass(frozen=True, slots=True)
class Swapped:
    """`seconds` no client could connect; `ended` sessions; `leftover` databases which carry the
    stage's name now and may be dropped: the previous instances of last time."""

    seconds: float
    ended: int
    leftover: tuple[str, ...]


def intent(admin: Admin, renames: Sequence[Rename], *, backwards: bool = False) -> list[Intent]:
    """What `exchange` (or `back`) of these is about to do. Raises StepFailed where a database that
    must be there is not."""
    found = _oids(admin, [n for r in renames for n in (r.live, r.stage, r.previous)])
    result = []
    for rename in renames:
        coming = rename.previous if backwards else rename.stage
        if coming not in found:
            raise StepFailed(f"there is no database {coming!r} to become {rename.live!r}")
        if backwards and rename.live not in found:
            raise StepFailed(f"there is no database {rename.live!r}")
        result.append(Intent(rename.live, found[coming], found.get(rename.live)))
    return result


def committed(admin: Admin, intents: Sequence[Intent]) -> bool:
    """Whether the exchange happened, for all of them: it is one transaction. Raises NeedsPerson
    where the databases are neither as before nor as after."""
    found = _oids(admin, [i.live for i in intents])
    if all(found.get(i.live) == i.incoming for i in intents):
        return True
    if all(found.get(i.live) == i.outgoing for i in intents):
        return False
    names = ", ".join(repr(i.live) for i in intents)
    raise NeedsPerson(
        f"{names}: neither the databases of before the swap nor those of after it",
        hint="somebody renamed databases since; compare pg_database and put the names right",
    )


def allow(admin: Admin, intents: Sequence[Intent], names: Sequence[str] = ()) -> None:
    """Let clients connect again to whatever these are called now, and to the databases called
    `names`: the previous instance of last time is blocked too, and no intent knows its oid. Raises
    DatabaseFailed."""
    oids = [o for i in intents for o in (i.incoming, i.outgoing) if o is not None]
    rows = admin.rows(
        """SELECT datname FROM pg_database
            WHERE (oid::bigint = ANY({}::bigint[]) OR datname = ANY({}::text[]))
              AND NOT datallowconn AND datconnlimit <> {}""",
        oids,
        list(names),
        HALF_DROPPED,
    )
    for (dbname,) in rows:
        admin.execute(compose("ALTER DATABASE {} ALLOW_CONNECTIONS true", name(dbname)))


def exchange(
    admin: Admin,
    renames: Sequence[Rename],
    *,
    grace: float = 10.0,
    before_block: Callable[[], None] | None = None,
    before_commit: Callable[[], None] | None = None,
) -> Swapped:
    """Put every stage in its live database's place, all or none. On a bare target (no live
    database) the stage just takes the name. Raises StepFailed, with everything as it was and open
    to clients, where a session cannot be ended within `grace` seconds or a rename fails; and
    NeedsPerson where connections could not be allowed again.

    `before_block` is called when all is prepared and nobody is shut out yet, `before_commit` when
    no client is connected any more, before the renames; what they raise ends the exchange."""
    steps = _forward(admin, renames)
    return _exchange(
        admin, renames, intent(admin, renames), steps, grace, before_block, before_commit
    )


def back(
    admin: Admin,
    renames: Sequence[Rename],
    *,
    grace: float = 10.0,
    before_block: Callable[[], None] | None = None,
    before_commit: Callable[[], None] | None = None,
) -> Swapped:
    """The same exchange between live and previous; twice is as before. Raises as `exchange`."""
    steps = [
        step
        for r in renames
        for step in (
            (r.live, swap_name(r.live)),
            (r.previous, r.live),
            (swap_name(r.live), r.previous),
        )
    ]
    intents = intent(admin, renames, backwards=True)
    return _exchange(admin, renames, intents, steps, grace, before_block, before_commit)


def revert(admin: Admin, renames: Sequence[Rename], *, grace: float = 10.0) -> Swapped:
    """Take an `exchange` back, in one transaction: what came in is the stage again, the previous
    instance is live, and the one of last time is the previous one again. Raises as `exchange`."""
    there = _oids(admin, [r.stage for r in renames])
    steps = []
    for r in renames:
        steps += [(r.live, swap_name(r.live)), (r.previous, r.live)]
        if r.stage in there:
            steps.append((r.stage, r.previous))
        steps.append((swap_name(r.live), r.stage))
    intents = intent(admin, renames, backwards=True)
    return _exchange(admin, renames, intents, steps, grace, None, None)


def _forward(admin: Admin, renames: Sequence[Rename]) -> list[tuple[str, str]]:
    there = _oids(admin, [n for r in renames for n in (r.live, r.previous)])
    steps = []
    for r in renames:
        if r.previous in there:
            steps.append((r.previous, swap_name(r.live)))
        if r.live in there:
            steps.append((r.live, r.previous))
        steps.append((r.stage, r.live))
        if r.previous in there:
            steps.append((swap_name(r.live), r.stage))
    return steps


def _exchange(
    admin: Admin,
    renames: Sequence[Rename],
    intents: Sequence[Intent],
    steps: Sequence[tuple[str, str]],
    grace: float,
    before_block: Callable[[], None] | None,
    before_commit: Callable[[], None] | None,
) -> Swapped:
    involved = _oids(admin, [n for r in renames for n in (r.live, r.stage, r.previous)])
    moved = {old for old, _ in steps}
    present = {dbname: oid for dbname, oid in involved.items() if dbname in moved}
    refuse_unmovable(admin, present)
    ended = count_sessions(admin, present)
    if before_block is not None:
        before_block()
    started = time.monotonic()
    try:
        # One round trip: each costs the site's users a moment.
        end_sessions(
            admin,
            present,
            grace,
            first=[compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(d)) for d in present],
        )
        if before_commit is not None:
            before_commit()
        _commit(
            admin,
            present,
            grace,
            (
                *(compose("ALTER DATABASE {} RENAME TO {}", name(a), name(b)) for a, b in steps),
                *(
                    compose("ALTER DATABASE {} ALLOW_CONNECTIONS true", name(d))
                    for d in _names_after(present, steps)
                ),
                *(statement for r in renames for statement in r.statements),
            ),
        )
    except BaseException as error:
        # whatever happened, a Ctrl-C included: nobody may be left before a closed door
        _reopen(admin, list(present.values()), error)
        raise
    seconds = time.monotonic() - started
    after = set(_names_after(present, steps))
    return Swapped(seconds, ended, tuple(r.stage for r in renames if r.stage in after))


def _commit(
    admin: Admin, present: Mapping[str, int], grace: float, statements: Sequence[str]
) -> None:
    """All in one transaction, tried again while somebody is still there: a client whose connection
    was let in just before the door was closed is not in pg_stat_activity yet on a busy machine, and
    RENAME waits five seconds for it, in vain."""
    for seconds in _TRIES:
        limit = compose("SET LOCAL statement_timeout = {}", Raw(str(round(seconds * 1000))))
        began = time.monotonic()
        try:
            admin.execute(limit, *statements, atomic=True)
        except DatabaseFailed:
            late = seconds > 0 and time.monotonic() - began >= seconds
            if not seconds or not (late or count_sessions(admin, present)):
                raise
            end_sessions(admin, present, grace)
        else:
            return


def _names_after(present: Mapping[str, int], steps: Sequence[tuple[str, str]]) -> list[str]:
    names = {oid: dbname for dbname, oid in present.items()}
    for old, new in steps:
        names = {oid: new if dbname == old else dbname for oid, dbname in names.items()}
    return sorted(names.values())


def _reopen(admin: Admin, oids: list[int], error: BaseException) -> None:
    """Raises NeedsPerson where it cannot."""
    try:
        allow(admin, [Intent("", oid, None) for oid in oids])
    except BisoError as second:
        raise NeedsPerson(
            f"the swap failed ({error}) and clients could not be let in again: {second.message}",
            hint="run `recover`, which allows connections again",
        ) from error


def _oids(admin: Admin, names: Sequence[str]) -> dict[str, int]:
    rows = admin.rows(
        """SELECT datname::text AS datname, oid::bigint AS oid
             FROM pg_database WHERE datname = ANY({})""",
        list(names),
    )
    return {str(dbname): int(oid) for dbname, oid in rows}
