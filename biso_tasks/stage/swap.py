"""The swap: the one moment at which what is served changes, with one commit point.

Intent written on the host → maintenance on in both → services stopped → connections blocked and
ended → directories renamed → databases renamed in one transaction: *commit* → services started →
the site asked → maintenance off. Before the commit everything goes back, after it forward; a site
that answers badly is swapped back. Where no database is exchanged (a restore of files alone), the
last rename of a directory is the commit point. Every part can be done again: `recover` does the
rest of whatever was interrupted, from any machine, by what the intent says and what is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from biso_tasks.database import swap as databases
from biso_tasks.database.admin import admin
from biso_tasks.database.server import Server
from biso_tasks.errors import BisoError, NeedsPerson, Refused, StepFailed
from biso_tasks.files.places import Slot, settle, standing
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.serving import Answer, wait_until_good
from biso_tasks.stage.insist import insist, person, write_down
from biso_tasks.stage.lost import forget_stage_dir, note_stage_dir
from biso_tasks.stage.model import REFRESHED, Area, access

__all__ = [
    "PIECE",
    "DatabasePart",
    "Intent",
    "SiteAnswersBadly",
    "Swapped",
    "finish",
    "go_live",
    "goes_forward",
    "require_no_intent",
    "swap",
]

Direction = Literal["forward", "back"]


@dataclass(frozen=True, slots=True)
class DatabasePart:
    """One database of the swap: its server and names, who stood where by oid, and what is executed
    in the same transaction (who may connect to the new one)."""

    server: Server
    live: str
    stage: str
    previous: str
    incoming: int
    outgoing: int
    statements: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {n: getattr(self, n) for n in ("live", "stage", "previous", "incoming", "outgoing")}

    @property
    def intent(self) -> databases.Intent:
        return databases.Intent(self.live, self.incoming, self.outgoing)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be exchanged, and what was before: everything that `recover` needs. With
    `rollback`, the previous instance comes in; else the stage. `document` is what the host keeps
    as its record of the instance once the swap is done."""

    run: str
    rollback: bool
    parts: tuple[DatabasePart, ...]
    slots: tuple[Slot, ...]
    services: tuple[str, ...]
    in_maintenance: bool
    document: Mapping[str, Any]
    areas: frozenset[Area] = REFRESHED

    def as_dict(self, direction: Direction) -> dict[str, Any]:
        return {
            "run": self.run,
            "rollback": self.rollback,
            "areas": sorted(self.areas),
            "databases": [part.as_dict() for part in self.parts],
            "slots": [slot.as_dict() for slot in self.slots],
            "services": list(self.services),
            "in_maintenance": self.in_maintenance,
            "document": dict(self.document),
            "direction": direction,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


@dataclass(frozen=True, slots=True)
class Swapped:
    """`downtime` seconds from maintenance on to maintenance off, which was at `until`; databases
    that only wait to be dropped (the previous instance of last time)."""

    downtime: float
    until: datetime
    leftover: tuple[str, ...]
    notes: tuple[str, ...]


PIECE: Final = "piece"
"""The kind of an intent to put one path in place."""
_KINDS: Final = {"in-place": "an in-place refresh", PIECE: "a restore of one path"}


class SiteAnswersBadly(StepFailed):
    """What was put into service answered badly, and was taken out of it again."""


def require_no_intent(instance: Instance) -> None:
    """Raises Refused where a swap, or what stands for one, was interrupted and nobody has recovered
    it yet."""
    intent = instance.state.read("intent")
    if intent is not None:
        what = _KINDS.get(str(intent.get("kind")), "a swap")
        raise Refused(
            f"{instance.name}: {what} of run {intent.get('run')} was interrupted at "
            f"{intent.get('at')}",
            hint="run `biso recover` first; it finishes or takes back what was begun",
        )


def swap(
    instance: Instance,
    intent: Intent,
    *,
    stage_maintenance: Callable[[], None],
    ours: Callable[[], None],
) -> Swapped:
    """Exchange what is served. `stage_maintenance` puts the incoming instance into maintenance;
    `ours` raises when the lock is lost.

    Raises StepFailed when everything is as it was, or when all is exchanged and only the record of
    it is missing (the intent stays); SiteAnswersBadly after swapping back; and NeedsPerson where
    even that failed: the intent stays, and `recover` goes on from it.
    """
    instance.state.write("intent", intent.as_dict("forward"))
    notes: list[str] = []
    started = 0.0

    def shut() -> None:
        # All that can be asked beforehand has been: from here on the site is away.
        nonlocal started
        ours()
        started = time.monotonic()
        if not intent.in_maintenance:
            instance.app.maintenance(True)
        services.stop(instance.host, instance.environment, intent.services)

    try:
        if "webroot" in intent.areas:
            note_stage_dir(instance)
        stage_maintenance()
        leftover = _exchange(instance, intent, shut, ours)
    except BaseException as error:
        _take_back(instance, intent, error)
        if isinstance(error, NeedsPerson):
            raise StepFailed(
                f"{error.message}. All was put back since, and what served before serves again",
                hint="find out what happened on the host meanwhile, then run it again",
            ) from error
        raise
    answer = go_live(instance, intent.services, intent.in_maintenance, notes)
    if answer is not None:
        _swap_back(instance, intent, answer)
    finished, until = time.monotonic(), datetime.now(UTC)
    _record(instance, intent)
    return Swapped(finished - started, until, leftover, tuple(notes))


def finish(instance: Instance, intent: Intent, direction: Direction) -> tuple[Direction, list[str]]:
    """Do the rest of an interrupted swap: forward if it was committed (and not on its way back),
    else back. Returns which, with notes. Raises BisoError; calling it again goes on."""
    notes: list[str] = []
    if goes_forward(instance, intent, direction):
        settle(access(instance), intent.slots, after=True, rollback=intent.rollback)
        _allow(intent)
        answer = go_live(instance, intent.services, intent.in_maintenance, notes)
        if answer is not None:
            _swap_back(instance, intent, answer)
        _record(instance, intent)
        return "forward", notes
    _undo(instance, intent)
    return "back", notes


def goes_forward(instance: Instance, intent: Intent, direction: Direction) -> bool:
    """What `finish` would do of an interrupted swap as it is found now. Nothing is changed."""
    return direction == "forward" and _committed(instance, intent)


def _exchange(
    instance: Instance, intent: Intent, shut: Callable[[], None], ours: Callable[[], None]
) -> tuple[str, ...]:
    """Takes the site out of service, blocks and ends connections, renames the directories, then
    commits the databases."""

    def directories() -> None:
        settle(access(instance), intent.slots, after=True, rollback=intent.rollback, fresh=True)
        ours()

    leftover: list[str] = []
    groups = _groups(intent)
    if not groups:
        shut()
        directories()
    for number, group in enumerate(groups):
        # The main database comes last: its transaction is the commit point.
        before_block = shut if number == 0 else None
        before_commit = directories if number == len(groups) - 1 else None
        leftover += _rename(group, intent.rollback, before_block, before_commit)
    return tuple(leftover)


def _rename(
    group: list[DatabasePart],
    rollback: bool,
    before_block: Callable[[], None] | None,
    before_commit: Callable[[], None] | None,
) -> tuple[str, ...]:
    with admin(group[0].server) as role:
        renames = [
            databases.Rename(part.live, part.stage, part.previous, part.statements)
            for part in group
        ]
        exchange = databases.back if rollback else databases.exchange
        done = exchange(role, renames, before_block=before_block, before_commit=before_commit)
        return done.leftover


def _groups(intent: Intent) -> list[list[DatabasePart]]:
    """Parts of one server together, since they share a transaction; the main database's last."""
    groups: dict[tuple[Any, ...], list[DatabasePart]] = {}
    for part in intent.parts:
        server = part.server
        key = (server.dsn.host, server.dsn.port, server.admin_user, server.prefix)
        groups.setdefault(key, []).append(part)
    return list(reversed(groups.values()))


def _committed(instance: Instance, intent: Intent) -> bool:
    """By the main database, whose transaction is the commit point; without one by the directories,
    the last of which is."""
    if not intent.parts:
        return standing(access(instance), intent.slots, rollback=intent.rollback) == "after"
    with admin(intent.parts[0].server) as role:
        return databases.committed(role, [intent.parts[0].intent])


def _allow(intent: Intent) -> None:
    for group in _groups(intent):
        with admin(group[0].server) as role:
            names = [name for part in group for name in (part.stage, part.previous)]
            databases.allow(role, [part.intent for part in group], names)


def go_live(
    instance: Instance, running: Sequence[str], in_maintenance: bool, notes: list[str]
) -> Answer | None:
    """Services up, the site asked, maintenance off and asked again. Returns a bad answer."""
    url = instance.environment.url
    try:
        services.start(instance.host, instance.environment, running)
        if url:
            answer = wait_until_good(url, instance.app, maintenance=True)
            if not answer.good(maintenance=True):
                return answer
        if in_maintenance:
            notes.append(f"{instance.name} was in maintenance before and stays so")
            return None
        instance.app.maintenance(False)
        if instance.in_maintenance():
            return Answer(None, "`biso-cli maintenance off` left it in maintenance")
    except BisoError as error:
        return Answer(None, error.message)
    if url:
        answer = wait_until_good(url, instance.app, maintenance=False, seconds=5)
        if not answer.good(maintenance=False):
            return answer
    return None


def _swap_back(instance: Instance, intent: Intent, answer: Answer) -> None:
    """Always raises: SiteAnswersBadly once the old instance is served again, else NeedsPerson."""
    asked = instance.environment.url or instance.name
    what = f"{asked} answered badly after the swap: {answer.detail}"
    try:
        insist(lambda: _go_back(instance, intent))
    except BisoError as error:
        raise person(instance, f"{what}; swapping back failed as well: {error.message}") from error
    raise SiteAnswersBadly(
        f"{what}. The instance that served before serves again",
        hint="look at the web server's log; `--keep-stage` keeps the stage to look into",
    )


def _take_back(instance: Instance, intent: Intent, error: BaseException) -> None:
    """Before the commit: put everything back. If the commit had happened after all (the answer to
    it was lost), the same exchange goes back."""
    try:
        insist(lambda: _go_back(instance, intent))
    except BisoError as second:
        raise person(
            instance, f"the swap failed ({error}) and could not be taken back: {second.message}"
        ) from error


def _go_back(instance: Instance, intent: Intent) -> None:
    instance.state.write("intent", intent.as_dict("back"))
    _undo(instance, intent)


def _undo(instance: Instance, intent: Intent) -> None:
    if _any_committed(instance, intent):
        if not intent.in_maintenance and not instance.in_maintenance():
            # The new instance may be too broken even for that; it must go all the same.
            with suppress(StepFailed):
                instance.app.maintenance(True)
        services.stop(
            instance.host,
            instance.environment,
            services.running(instance.host, instance.environment),
        )
        _databases_back(intent)
    settle(access(instance), intent.slots, after=False, rollback=intent.rollback)
    _allow(intent)
    services.start(instance.host, instance.environment, intent.services)
    if not intent.in_maintenance and instance.in_maintenance():
        instance.app.maintenance(False)
    _forget(instance, intent)


def _any_committed(instance: Instance, intent: Intent) -> bool:
    if not intent.parts:
        return _committed(instance, intent)
    for group in _groups(intent):
        with admin(group[0].server) as role:
            if databases.committed(role, [part.intent for part in group]):
                return True
    return False


def _databases_back(intent: Intent) -> None:
    """The exchange taken back, each server in one transaction again: what came in goes to the name
    that it came from."""
    for group in reversed(_groups(intent)):
        with admin(group[0].server) as role:
            if databases.committed(role, [part.intent for part in group]):
                renames = [databases.Rename(p.live, p.stage, p.previous) for p in group]
                (databases.back if intent.rollback else databases.revert)(role, renames)


def _record(instance: Instance, intent: Intent) -> None:
    def write() -> None:
        instance.state.write("instance", intent.document)
        _forget(instance, intent)

    write_down(instance, write)


def _forget(instance: Instance, intent: Intent) -> None:
    # The note first: as long as there is an intent, `recover` comes by here again.
    if "webroot" in intent.areas:
        forget_stage_dir(instance)
    instance.state.remove("intent")
