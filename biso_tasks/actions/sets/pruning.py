"""`prune`: what the retention does not keep. The plan names every set; just those are removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from biso_tasks.actions.kit import Context, Work
from biso_tasks.actions.sets.left import note_swept
from biso_tasks.actions.sets.retiring import decide_releases, retire_releases
from biso_tasks.actions.sets.stores import release_store
from biso_tasks.actions.staged.apart import require_apart
from biso_tasks.backup.retention import Decision, kept_of, retain
from biso_tasks.backup.store import Store
from biso_tasks.errors import Locked, Refused
from biso_tasks.files.discard import discard
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.answer import fields
from biso_tasks.host.command import script
from biso_tasks.host.protocol import Unreachable
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.lock import lock
from biso_tasks.session import lock_owner
from biso_tasks.stage.discard import discard_previous, discard_stage
from biso_tasks.stage.exchange import replaced_dir
from biso_tasks.stage.kept import KeptStage, kept_stage
from biso_tasks.stage.model import access, staged
from biso_tasks.stage.swap import require_no_intent

__all__ = ["ACTIONS", "Prune"]

# By the folder's own time: what is in it keeps the times that it had.
_REPLACED = r"""
[ -d "$1" ] || exit 0
find "$1" -mindepth 1 -maxdepth 1 -mmin "+$2" -printf '%f\0'
"""


@dataclass(frozen=True, slots=True)
class Outlived:
    """What an environment has kept for longer than `keep_previous`: the record of its previous
    instance, None where that is younger, and runs of `restore --path` by what they replaced; and a
    stage that was kept for longer than `keep_stage`."""

    previous: Mapping[str, Any] | None
    replaced: tuple[str, ...]
    stage: KeptStage | None = None

    @property
    def drops(self) -> bool:
        """Whether a database goes."""
        return self.previous is not None or self.stage is not None


@dataclass(slots=True)
class Prune(Work):
    """The work of `prune`. `outlived` is by environment, those that have something; `retired` what
    becomes of the `releases`, None where their host cannot be asked; `in_use` are sets that were
    being read, and wait for the next one."""

    PLACES: ClassVar[tuple[str, ...]] = ("source",)

    store: Store | None = None
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    decision: Decision | None = None
    outlived: dict[str, Outlived] = field(default_factory=dict)
    releases: Store | None = None
    retired: Decision | None = None
    removed: list[str] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)

    @property
    def sets(self) -> Store:
        assert self.store is not None
        return self.store

    @property
    def decided(self) -> Decision:
        assert self.decision is not None
        return self.decision

    @property
    def destroys(self) -> bool:
        retired = self.retired.remove if self.retired else ()
        return bool(self.decided.remove or retired or self.outlived)

    def look(self) -> None:
        """What the retention says now, and what every environment has kept for too long. One that
        cannot be asked is noted and left alone."""
        self.decision = _decide(self)
        for environment in self.session.site.environments:
            try:
                instance = self.session.instance(environment.name)
                found = _outlived(self, instance)
                if found.drops:
                    self.notes += require_apart(self.session, instance, staged(instance))
            except Unreachable as error:
                self.notes.append(f"{environment.name} was not looked at: {error.message}")
                continue
            if found.drops or found.replaced:
                self.outlived[environment.name] = found
            if environment.name == self.session.site.release.environment:
                self.releases = release_store(self.session)
                self.retired = _decide_releases(self, self.releases)


def _decide(work: Prune) -> Decision:
    found = [kept_of(one) for one in work.sets.list()]
    return retain(found, work.session.site.backup.keep, work.moment)


def _decide_releases(work: Prune, store: Store) -> Decision:
    return decide_releases(store, work.session.site.release.keep, work.moment)


def _outlived(work: Prune, instance: Instance) -> Outlived:
    keep = timedelta(seconds=work.session.site.refresh.keep_previous)
    previous = (instance.state.read("instance") or {}).get("previous")
    until = _moment(previous.get("until")) if isinstance(previous, dict) else None
    old = until is not None and work.moment - until > keep
    minutes = str(int(keep.total_seconds() // 60))
    look = script(_REPLACED, replaced_dir(instance.layout), minutes)
    said = instance.host.run(look.as_user(instance.environment.host_user)).out
    names = fields(instance.host.name, "what `restore --path` replaced", said)
    kept = kept_stage(instance)
    return Outlived(
        previous if old else None,
        tuple(sorted(names)),
        kept if kept is not None and kept.expired(work.moment) else None,
    )


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _sets(context: Context[Prune]) -> dict[str, Any]:
    work = context.work
    planned = work.decided.remove
    store = work.sets
    if not store.list() and not store.left():
        return {"removed": []}
    with store.lock(lock_owner(work.run_id)):
        again = _decide(work)
        partial = {one.id for one in store.list() if one.state == "partial"}
        if dict(again.remove) != dict(planned):
            raise Refused(
                "the facts have changed since the plan was made: the retention now says otherwise "
                f"of {', '.join(sorted(set(again.remove) ^ set(planned))) or 'some sets'}",
                hint="nothing was removed; look at the new plan and start again",
            )
        # The oldest first: a run that is killed leaves the better ones.
        for id in sorted(planned):
            try:
                if id in partial:
                    store.remove_partial(id)
                else:
                    store.remove(id)
                work.removed.append(id)
            except Locked as error:
                work.in_use.append(id)
                context.note(f"{error.message}: it stays until the next prune")
        note_swept(context, store)
    return {"removed": list(work.removed), "in_use": list(work.in_use)}


def _describe_sets(context: Context[Prune]) -> Effects:
    decision = context.work.decided
    keep = [f"keeps {id}: {why}" for id, why in decision.keep.items()]
    gone = [f"{id}: {why}" for id, why in decision.remove.items()]
    return Effects(changes=tuple(keep) or ("nothing: there are no sets",), destroys=tuple(gone))


def _releases(context: Context[Prune]) -> dict[str, Any]:
    work, store = context.work, context.work.releases
    if store is None or work.retired is None or not (work.retired.remove or store.left()):
        return {"removed": []}
    with store.lock(lock_owner(work.run_id)):
        if dict(_decide_releases(work, store).remove) != dict(work.retired.remove):
            raise Refused(
                "the facts have changed since the plan was made: there are other releases now",
                hint="nothing of them was removed; look at the new plan and start again",
            )
        done = retire_releases(store, work.session.site.release.keep, work.moment)
        note_swept(context, store)
    work.removed += done.removed
    work.in_use += done.in_use
    for note in done.in_use.values():
        context.note(note)
    return {"removed": list(done.removed), "in_use": list(done.in_use)}


def _describe_releases(context: Context[Prune]) -> Effects:
    retired = context.work.retired
    if retired is None or not (retired.keep or retired.remove):
        return Effects(changes=("nothing: there are no releases",))
    return Effects(
        changes=tuple(f"keeps the release {id}: {why}" for id, why in retired.keep.items()),
        destroys=tuple(f"the release {id}: {why}" for id, why in retired.remove.items()),
    )


def _previous(context: Context[Prune]) -> dict[str, Any]:
    work = context.work
    for name, planned in work.outlived.items():
        instance = work.session.instance(name)
        instance.state.prepare()
        owner = lock_owner(work.run_id)
        with lock(instance.host, instance.environment, instance.layout, owner):
            require_no_intent(instance)
            found = _outlived(work, instance)
            same = (found.previous, found.stage) == (planned.previous, planned.stage)
            if not same or set(planned.replaced) - set(found.replaced):
                raise Refused(
                    f"{name}: it keeps something else than when the plan was made",
                    hint="nothing was removed there; start again",
                )
            for run in planned.replaced:
                place = f"{replaced_dir(instance.layout)}/{run}"
                discard(access(instance), place, inside=instance.layout.stage_dir)
            if planned.stage is not None:
                discard_stage(instance, staged(instance))
            if planned.previous is not None:
                document: Mapping[str, Any] = instance.state.read("instance") or {}
                rest = {key: value for key, value in document.items() if key != "previous"}
                # First there is no way back to it: of what a killed run has left, none is half.
                instance.state.write("instance", {**rest, "previous": None})
                discard_previous(instance, staged(instance))
                instance.state.write("instance", rest)
        instance.state.tidy()
    return {"environments": sorted(work.outlived)}


def _describe_previous(context: Context[Prune]) -> Effects:
    work = context.work
    destroys = []
    for name, found in work.outlived.items():
        if found.previous is not None:
            destroys.append(
                f"the previous instance of {name} (served until {found.previous.get('until')}): no "
                "rollback to it any more"
            )
        if found.stage is not None:
            destroys.append(f"the stage of {name}: {found.stage.said}")
        destroys += [f"files of {name} that run {run} replaced" for run in found.replaced]
    return Effects(
        changes=() if destroys else ("nothing that is kept is old enough",),
        destroys=tuple(destroys),
    )


ACTIONS = (
    Action("sets-prune", _sets, "Remove the sets that the retention does not keep",
           _describe_sets),
    Action("releases-prune", _releases, "Remove the releases that are not kept",
           _describe_releases),
    Action("previous-prune", _previous, "Remove previous instances that are old enough",
           _describe_previous),
)  # fmt: skip
