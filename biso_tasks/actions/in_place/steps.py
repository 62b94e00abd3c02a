"""Steps of the strategy "in-place": the target filled where it stands, by a site that cannot stage.

Up to `in-place-begin` a failure puts everything as it was (exit 1). From there on nothing is called
good before all is proven: a failure leaves the target in maintenance with its services stopped, the
intent on its host, and `recover` puts back what was dumped (exit 6).
"""

from __future__ import annotations

import time
from typing import Any

from biso_tasks.actions.away import away, goes_away
from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.filing import decide_files
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.database.dumpfile import dump_rows
from biso_tasks.errors import BisoError, NeedsPerson
from biso_tasks.files.aside import compare, save
from biso_tasks.files.discard import discard
from biso_tasks.files.keep import not_there
from biso_tasks.files.listing import DATA_EXCLUDES, list_tree
from biso_tasks.files.space import human, require_space
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.stage import in_place, record
from biso_tasks.stage.before import Before
from biso_tasks.stage.insist import insist
from biso_tasks.stage.model import access, own_directory

__all__ = ["ACTIONS"]


def _before(work: Refresh) -> Before:
    assert work.before is not None
    return work.before


def _offline(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    work.require_ours()
    target = work.target
    layout = target.layout
    target.state.prepare()
    discard(access(target), layout.in_place, inside=layout.stage_dir)
    make = Command(("mkdir", "-m", "0700", "--", layout.in_place))
    target.host.run(make.as_user(target.environment.host_user))
    try:
        before = in_place.look(
            work.stage.databases,
            run=work.run_id,
            running=work.facts.services,
            in_maintenance=work.facts.in_maintenance,
            record=record.after_in_place(
                target, run=work.run_id, raw=not work.anonymize, source=work.places["source"]
            ),
        )
        work.before = in_place.move_to(target, before, "offline")
    except BisoError:  # no intent says that there is anything to go back to
        discard(access(target), layout.in_place, inside=layout.stage_dir)
        raise
    work.offline_since = time.monotonic()
    gone = goes_away(target.name)
    in_place.take_offline(target, work.stage.databases, work.before)
    return {"away": gone}


def _describe_offline(context: Context[Refresh]) -> Effects:
    work = context.work
    stopped = ", ".join(work.facts.services) or "no services"
    names = ", ".join(database.live for database in work.stage.databases)
    return Effects(
        changes=(
            f"{work.target.name} goes into maintenance until `online`: stops {stopped}, ends every "
            f"session in {names}, and lets in nobody but {work.target.facts.database.user}",
        )
    )


def _undo_offline(context: Context[Refresh]) -> None:
    """Runs after a failure of any later step. Raises NeedsPerson where the old content is gone."""
    work = context.work
    if work.before is None:
        return
    work.reading.close()
    if work.before.phase == "offline":
        before = work.before
        databases = work.stage.databases
        insist(lambda: in_place.serve(work.target, databases, before, record=False))
        in_place.conclude(work.target, before, record=False)
        work.before = None
        return
    raise NeedsPerson(
        f"{work.target.name} stays in maintenance with its services stopped, since it is neither "
        "the old instance nor a proven new one",
        hint="run `biso recover`, from any machine: it puts back the dump and the files of before "
        f"(they are in {work.target.layout.in_place} on its host)",
    )


def _dump(context: Context[Refresh]) -> dict[str, Any]:
    """After the services stopped: what a tester wrote in the last second is in it."""
    work = context.work
    target = work.target
    before = in_place.dump_target(
        target, work.stage.databases, _before(work), cancel=context.cancel
    )
    if work.config.keep_tables:
        work.kept_rows = dump_rows(
            work.own_server(0),
            work.config.keep_tables,
            f"{target.layout.in_place}/keep-tables.sql.gz",
            user=target.environment.host_user,
            cancel=context.cancel,
        )
    work.before = in_place.move_to(target, before, "offline")
    return {"bytes": sum(one.dump.bytes for one in before.databases if one.dump is not None)}


def _describe_dump(context: Context[Refresh]) -> Effects:
    work = context.work
    names = ", ".join(database.live for database in work.stage.databases)
    size = human(sum(facts.bytes for facts in work.facts.target_facts))
    return Effects(
        changes=(
            f"dumps {names} of {work.target.name} ({size}) into {work.target.layout.in_place} "
            "(0700), checked to its end",
        )
    )


def _aside(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    target = work.target
    wanted, decision = decide_files(context)
    live = list_tree(
        access(target),
        target.layout.datadir,
        exclude=(*DATA_EXCLUDES, *own_directory(target)),
        empty_ok=True,
    )
    changes = compare(
        access(target),
        live,
        wanted,
        decision,
        work.config.keep_files,
        touched=_touched(work),
        fallback_owner=target.environment.owner,
    )
    require_space(
        access(target),
        target.layout.in_place,
        bytes_needed=changes.bytes_needed,
        inodes_needed=len(changes.saved) + len(changes.arriving) + len(changes.placeholders),
        purpose="the files that change, old and new",
    )
    saved = save(
        access(target), target.layout.datadir, target.layout.in_place, changes,
        cancel=context.cancel,
    )  # fmt: skip
    work.changes = changes
    for note in not_there(work.config.keep_files, changes.kept):
        context.note(note)
    return {"bytes": saved, "files": sum(entry.kind == "file" for entry in changes.saved)}


def _touched(work: Refresh) -> bool:
    """Whether later steps write in the data dir, or rename in it."""
    hooks = work.session.hooks
    return work.anonymize or bool(hooks.implementers("biso_neutralize"))


def _describe_aside(context: Context[Refresh]) -> Effects:
    layout = context.work.target.layout
    return Effects(
        changes=(
            f"asks for every file whether it travels; copies what will change in {layout.datadir} "
            f"to {layout.in_place}/files",
        )
    )


def _begin(context: Context[Refresh]) -> None:
    work = context.work
    work.require_ours()
    work.before = in_place.move_to(work.target, _before(work), "replacing")


def _describe_begin(context: Context[Refresh]) -> Effects:
    name = context.work.target.name
    return Effects(
        changes=(
            f"from here on a failure leaves {name} in maintenance with its services stopped "
            "(exit 6) until `biso recover` puts the old content back",
        )
    )


def _online(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    work.require_proven()
    work.require_ours()
    databases = work.stage.databases
    before = in_place.move_to(work.target, _before(work), "proven", filled=databases)
    work.before = before
    for note in in_place.serve(work.target, databases, before, record=True):
        context.note(note)
    work.before = None  # it is served: what fails from here on leaves nothing to take back
    work.away = time.monotonic() - work.offline_since
    seen = away(work.target.name, work.away)
    in_place.conclude(work.target, before, record=True)
    return {"downtime_seconds": round(work.away, 3), "away": seen}


def _describe_online(context: Context[Refresh]) -> Effects:
    work = context.work
    started = ", ".join(work.facts.services) or "no services"
    return Effects(
        changes=(f"lets clients in again, starts {started}, asks the site, ends maintenance",),
        destroys=(f"{work.target.layout.in_place}: there is no rollback of an in-place refresh",),
    )


def _close(context: Context[Refresh]) -> None:
    context.work.reading.close()


ACTIONS = (
    Action("in-place-offline", _offline, "Take the target out of service", _describe_offline,
           _undo_offline),
    Action("in-place-dump", _dump, "Dump the target's own databases", _describe_dump),
    Action("in-place-aside", _aside, "Copy aside the files that will change", _describe_aside),
    Action("in-place-begin", _begin, "Write down that the old content goes", _describe_begin),
    Action("in-place-online", _online, "Put the target into service again", _describe_online),
    Action("in-place-close", _close, "Let the source go"),
)  # fmt: skip
