"""Steps that capture production and stand a stage beside the test instance."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.database import grants
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create
from biso_tasks.database.limit import Limits, limited_by, watch
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.database.streams import how_many, worth_parting
from biso_tasks.database.wire import PLAIN, worth_measuring
from biso_tasks.errors import ProofFailed, StepFailed
from biso_tasks.files.space import human
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.stage.build import build_webroot, open_stage
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.insist import insist
from biso_tasks.stage.kept import keep_stage
from biso_tasks.stage.own_role import make_roles

__all__ = ["ACTIONS"]


def _open(context: Context[StageWork]) -> dict[str, Any]:
    work = context.work
    open_stage(work.stage)
    work.staged = True
    make_roles(work.stage)
    own = all(one.role is not None for one in work.stage.databases)
    return {"own_role": own, "raw": work.raw}


def _owned(work: StageWork) -> list[str]:
    """The roles that own the stage's databases."""
    return [one.role.name for one in work.stage.databases if one.role is not None]


def _describe_open(context: Context[StageWork]) -> Effects:
    layout = context.work.target.layout
    names = _owned(context.work)
    roles = [f"makes the role {one}: until the proof nobody else reads the stage" for one in names]
    return Effects(
        changes=(f"makes {layout.stage} (0700)", *roles),
        destroys=("whatever an interrupted run left there",),
    )


def _link(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    hosts = work.source.host, work.target.host
    return {"wire": str(work.wire(*hosts, _copied_bytes(work), context.cancel))}


def _describe_link(context: Context[Refresh]) -> Effects:
    """It sends noise to the target and writes nothing there."""
    work = context.work
    if worth_measuring(_copied_bytes(work), work.facts.route):
        return Effects(
            changes=("nothing: measures the link with 16 MiB, twice where it looks slow",)
        )
    why = "both are on one machine" if work.facts.route == "local" else "so little is soon there"
    return Effects(changes=(f"nothing: {why}",))


def _copied_bytes(work: Refresh) -> int:
    return sum(work.source_facts(number).bytes for number in work.copied)


def _snapshot(context: Context[Refresh]) -> None:
    """Before any file is listed: a row may lack its file's newest version, never the file."""
    work = context.work
    work.snapshots = tuple(
        work.reading.enter_context(export(work.source_server(number))) for number in work.copied
    )
    for number, one in zip(work.copied, work.snapshots, strict=True):
        work.grants[number] = grants.read(one.connection)


def _describe_snapshot(context: Context[Refresh]) -> Effects:
    return Effects(changes=("nothing: reads in one snapshot, without maintenance",))


def _measure(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    work.counts = tuple(one.counts() for one in work.snapshots)
    return {"rows": sum(counts.rows for counts in work.counts)}


def _database(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    copied = dict(zip(work.copied, work.snapshots, strict=True))
    facts = work.facts
    size, hosts = _copied_bytes(work), (work.source.host, work.target.host)
    wire = work.wire(*hosts, size, context.cancel)
    streams = how_many(*hosts, size)
    limits: list[Limits] = []
    for number, database in enumerate(work.stage.databases):
        source, target = work.source_server(number), work.filled_server(number)
        with admin(database.server) as role:
            create(
                role,
                database.server,
                database.stage,
                work.source_facts(number),
                owner=target.dsn.user,
                locale=work.target.environment.database.locale,
                version=facts.target_facts[number].version,
            )
        with ExitStack() as stack:
            # A stand-in is made of the live one's schema, in a snapshot of its own.
            snapshot = copied.get(number) or stack.enter_context(export(source))
            if number in copied:
                bytes_ = work.source_facts(number).bytes
                tell = context.bytes_of(bytes_)
                seen = watch(source, database.staged_server, bytes_, tell)
                limits.append(stack.enter_context(seen))
            notes = copy(
                source,
                snapshot,
                target,
                database.stage,
                route=facts.route if number in copied else "local",
                wire=wire if number in copied else PLAIN,
                streams=streams,
                cancel=context.cancel,
                schema_only=database.content != "copy",
                untrusted=work.untrusted(number),
            )
        for note in notes:
            context.note(f"{database.stage}: {note}")
    return {"bytes": size, "wire": str(wire), "streams": streams} | limited_by(limits)


def _describe_database(context: Context[Refresh]) -> Effects:
    work = context.work
    how = {"copy": "copied from", "schema": "with the schema of", "live-schema": "a stand-in like"}
    changes = []
    for number, database in enumerate(work.stage.databases):
        source = work.target.name if database.content == "live-schema" else work.source.name
        size = human(work.source_facts(number).bytes) if database.content == "copy" else ""
        changes.append(
            f"makes database {database.stage}, {how[database.content]} {source}"
            + (f" ({size}, route {work.facts.route})" if size else "")
        )
    if worth_measuring(_copied_bytes(work), work.facts.route):
        changes.append("packed on the way where the link is slow")
    if worth_parting(_copied_bytes(work)):
        changes.append("in up to four streams, as the cores of both hosts allow")
    return Effects(changes=tuple(changes))


def _webroot(context: Context[Refresh]) -> None:
    work = context.work
    live = {database.live for database in (*work.stage.databases, *work.stage.absent)}
    live |= {source.dsn.dbname for source in work.facts.sources}
    build_webroot(work.stage, tuple(sorted(live)))


def _describe_webroot(context: Context[Refresh]) -> Effects:
    return Effects(
        changes=(
            f"copies {context.work.target.layout.webroot} to "
            f"{context.work.stage.webroot}, with a config.php that leads to the stage",
        )
    )


def _check(context: Context[Refresh]) -> dict[str, Any]:
    """The copy against the very snapshot that was dumped; then production is let go."""
    work = context.work
    problems: list[str] = []
    for number, expected in zip(work.copied, work.counts, strict=True):
        database = work.stage.databases[number]
        if database.content == "schema":
            continue
        with connect(database.staged_server) as connection:
            problems += differences(expected, count(connection))
    work.reading.close()
    if problems:
        raise ProofFailed(
            "the copy is not what was dumped: " + "; ".join(problems[:10]),
            hint="nothing was swapped; please report this with the run's journal",
        )
    return {"rows": sum(counts.rows for counts in work.counts), "problems": 0}


def _close(context: Context[StageWork]) -> None:
    """Runs whatever happened: nothing of a stage stays, unless an intent still needs it or the
    person asked to keep it."""
    work = context.work
    work.reading.close()
    if not work.staged:
        return
    if work.target.state.read("intent") is not None:
        context.note("the stage stays: what was interrupted needs it; run `biso recover`")
        return
    if work.keep_stage and work.swapped is None:
        kept = keep_stage(work.stage, context.site.privacy.keep_stage)
        whose = f", as the role in its {work.target.environment.config}" if _owned(work) else ""
        context.note(
            f"kept: {work.target.layout.stage} and {work.stage.main.stage}{whose}, until "
            f"{kept.until:%Y-%m-%d %H:%M} UTC; `biso recover` removes it at once, `biso prune` then"
        )
        return
    _discard(work)


def _discard(work: StageWork) -> None:
    """What stands in the stage is production's: where it cannot be removed, somebody is told."""
    try:
        insist(lambda: discard_stage(work.target, work.stage.databases))
    except StepFailed as error:
        raise StepFailed(
            f"the stage is left: {error.message}",
            hint=f"{error.remedy}; then `biso recover` removes the stage",
        ) from error


def _describe_close(context: Context[StageWork]) -> Effects:
    return Effects(destroys=(f"the stage {context.work.target.layout.stage}",))


def _undo_snapshot(context: Context[Refresh]) -> None:
    context.work.reading.close()


ACTIONS = (
    Action("stage-open", _open, "Make an empty stage", _describe_open),
    Action("link", _link, "Measure the link, for what to pack with", _describe_link),
    Action("snapshot", _snapshot, "Export a snapshot of the source's databases",
           _describe_snapshot, _undo_snapshot),
    Action("measure", _measure, "Count rows in that snapshot"),
    Action("stage-database", _database, "Stream the databases into the stage", _describe_database),
    Action("stage-webroot", _webroot, "Copy the webroot, config.php wrapped", _describe_webroot),
    Action("check-copy", _check, "Compare the copy with the snapshot"),
    Action("stage-close", _close, "Discard the stage", _describe_close),
)  # fmt: skip
