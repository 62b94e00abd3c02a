"""Steps that change what is served: the swap of a refresh, and the exchange of a rollback."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from biso_tasks.actions.away import away
from biso_tasks.actions.kit import Context
from biso_tasks.actions.staged.apart import require_apart
from biso_tasks.actions.staged.place import require_stage_place
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.actions.target import TargetWork
from biso_tasks.database.admin import admin
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import require_live
from biso_tasks.instance.mounts import require_fresh_binds
from biso_tasks.session import Session
from biso_tasks.stage import guards, record
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.exchange import require_exchangeable
from biso_tasks.stage.intent import make_intent
from biso_tasks.stage.kept import kept_stage
from biso_tasks.stage.model import AREAS, Area, Stage, StagedDatabase, staged
from biso_tasks.stage.swap import Swapped, require_no_intent, swap
from biso_tasks.stage.webroot import finish_webroot

__all__ = ["ACTIONS", "Rollback", "RollbackSurvey", "survey_rollback"]


@dataclass(frozen=True, slots=True)
class RollbackSurvey:
    """What a rollback rests on."""

    target: Instance
    databases: tuple[StagedDatabase, ...]
    services: tuple[str, ...]
    in_maintenance: bool
    previous: Mapping[str, Any]
    last_written: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Rollback(TargetWork):
    """The work of `rollback`."""

    PLACES: ClassVar[tuple[str, ...]] = ("target",)

    survey: RollbackSurvey | None = None
    swapped: Swapped | None = None

    @property
    def facts(self) -> RollbackSurvey:
        assert self.survey is not None
        return self.survey

    @property
    def target(self) -> Instance:
        return self.facts.target

    def look_again(self) -> None:
        self.survey = survey_rollback(self.session, self.places["target"], self.require_free)

    def fingerprint(self) -> Mapping[str, Any]:
        facts = self.facts
        return {
            "previous instance": facts.previous,
            "services": facts.services,
            "database": facts.target.facts.database.dbname,
            "data dir": (facts.target.layout.datadir, facts.target.layout.datadir_id),
        }


def survey_rollback(
    session: Session, name: str, require_free: Callable[[Instance], None]
) -> RollbackSurvey:
    """Look at what would come back. Nothing is changed. Raises Refused. Production has a previous
    instance after a restore only, and whoever goes back to it types its name."""
    target = session.instance(name)
    require_live(target.layout, target.environment)
    require_free(target)
    guards.env_fits(target, anonymize=False)
    require_no_intent(target)
    require_fresh_binds(target.host, target.environment, target.layout)
    previous = record.previous_of(target)
    required = session.site.refresh.anonymize == "required"
    record.require_not_raw(target, previous, required=required)
    areas = record.areas_of(previous)
    require_exchangeable(target, areas)
    require_stage_place(session, target, areas)
    known = staged(target) if "database" in areas else ()
    there = tuple(database for database in known if _has_previous(database))
    notes = require_apart(session, target, staged(target))
    if known and known[0] not in there:
        raise Refused(
            f"{target.name} has no previous database {known[0].previous!r} to go back to",
            hint="it was removed by hand; refresh again instead",
        )
    return RollbackSurvey(
        target=target,
        databases=there,
        services=services.running(target.host, target.environment),
        in_maintenance=target.in_maintenance(),
        previous=previous,
        last_written=_last_written(target),
        notes=notes,
    )


def _has_previous(database: StagedDatabase) -> bool:
    with admin(database.server) as role:
        return bool(
            role.rows("SELECT 1 AS one FROM pg_database WHERE datname = {}", database.previous)
        )


def _last_written(target: Instance) -> str:
    """When a file of the served data dir was last written: what testers did goes with it."""
    find = Command(
        ("find", target.layout.datadir, "-xdev", "-type", "f", "-printf", "%TY-%Tm-%Td %TH:%TM\\n")
    ).as_user(target.environment.host_user)
    lines = target.host.run(find, ok=None, timeout=600).text.split("\n")
    return max(lines, default="")


def _swap(context: Context[StageWork]) -> dict[str, Any]:
    work = context.work
    work.require_proven()
    target, stage = work.target, work.stage
    document = record.after_swap(
        target, run=work.run_id, raw=work.raw, source=work.origin, areas=stage.areas,
        lacking=work.lacking, proven=work.proven,
    )  # fmt: skip
    work.swapped = _exchange(
        context, target, stage.swapped, document, rollback=False, incoming=stage, areas=stage.areas,
        running=work.facts.services, in_maintenance=work.facts.in_maintenance,
        statements=work.access,
    )  # fmt: skip
    return _told(work.target.name, work.swapped)


def _told(name: str, swapped: Swapped) -> dict[str, Any]:
    return {
        "downtime_seconds": round(swapped.downtime, 3),
        "away": away(name, swapped.downtime, swapped.until),
    }


def _describe_swap(context: Context[StageWork]) -> Effects:
    work = context.work
    layout, areas = work.target.layout, work.stage.areas
    places = [database.live for database in work.stage.swapped]
    places += [layout.datadir] if "data" in areas else []
    places += [layout.webroot] if "webroot" in areas else []
    previous = work.facts.previous
    destroys: tuple[str, ...] = ()
    if previous:
        destroys = (
            f"the previous instance of {work.target.name} (served until "
            f"{previous.get('until', 'unknown')}): no rollback to it any more",
        )
    stopped = f", stops {', '.join(work.facts.services)} meanwhile" if work.facts.services else ""
    return Effects(
        changes=(
            f"exchanges {' and '.join(places)} of {work.target.name} with the stage{stopped}; "
            + _kept(work),
        ),
        destroys=destroys,
    )


def _kept(work: StageWork) -> str:
    if not work.lacking:
        return "what is served now is kept as the previous instance"
    if not work.kept:
        return "of the empty shell nothing is kept"
    there = " and ".join(area for area in AREAS if area in work.kept)
    return f"what is there now of {there} is kept as the previous instance"


def _swap_previous(context: Context[Rollback]) -> dict[str, Any]:
    work = context.work
    facts = work.facts
    work.swapped = _exchange(
        context, facts.target, facts.databases, record.after_rollback(facts.target),
        rollback=True, incoming=None, areas=record.areas_of(facts.previous),
        running=facts.services, in_maintenance=facts.in_maintenance, statements={},
    )  # fmt: skip
    return _told(facts.target.name, work.swapped)


def _describe_swap_previous(context: Context[Rollback]) -> Effects:
    facts = context.work.facts
    until = facts.previous.get("until", "unknown")
    return Effects(
        changes=(
            f"{facts.target.name} serves the instance again that served until {until}; the one of "
            f"now (last written {facts.last_written or 'unknown'}) is kept as the previous one",
        )
    )


def _exchange(
    context: Context[Any],
    target: Instance,
    parts: tuple[StagedDatabase, ...] | list[StagedDatabase],
    document: Mapping[str, Any],
    *,
    rollback: bool,
    incoming: Stage | None,
    areas: Collection[Area],
    running: tuple[str, ...],
    in_maintenance: bool,
    statements: Mapping[str, tuple[str, ...]],
) -> Swapped:
    context.scope.check() if context.scope else None
    layout = target.layout
    folders = [layout.previous]
    if layout.datadir_is_mount:
        folders += [layout.previous_datadir, layout.stage_datadir, f"{layout.stage_dir}/moving"]
    make = Command(("mkdir", "-p", "-m", "0700", "--", *folders))
    target.host.run(make.as_user(target.environment.host_user))
    intent = make_intent(
        target,
        parts,
        run=context.work.run_id,
        rollback=rollback,
        services=running,
        in_maintenance=in_maintenance,
        document=document,
        statements=statements,
        areas=areas,
    )

    def stage_maintenance() -> None:
        # The previous instance has carried its flag since it was swapped out.
        if incoming is None:
            return
        if "data" in areas:
            incoming.app.maintenance(True)
            # Seen here, beside the live one: a biso-cli that only says so would be found out late.
            if not target.flagged(layout.stage_datadir):
                raise StepFailed(
                    f"{target.name}: `biso-cli maintenance on` ended well in the stage, but there "
                    "is no maintenance.on in its data dir",
                    hint="try it by hand in the webroot; biso_cli in biso.toml says how it is "
                    "started",
                )
        # Last of all: from here on the code in the stage would lead to what is live.
        if "webroot" in areas:
            finish_webroot(incoming)

    swapped = swap(
        target, intent, stage_maintenance=stage_maintenance, ours=context.work.require_ours
    )
    for note in swapped.notes:
        # Of one that we closed ourselves, that it was in maintenance is no news.
        if not (isinstance(context.work, StageWork) and context.work.opens):
            context.note(note)
    if rollback:
        # Besides what a swap leaves there is a stage's database only where one was kept.
        discard_stage(target, staged(target) if kept_stage(target) else [])
    return swapped


ACTIONS = (
    Action("swap", _swap, "Exchange what is served with the stage", _describe_swap),
    Action("swap-previous", _swap_previous, "Exchange current and previous instance",
           _describe_swap_previous),
)  # fmt: skip
