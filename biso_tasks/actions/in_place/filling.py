"""Steps of the strategy "in-place" that fill the target: databases, data dir, the rows it keeps."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.dumpfile import load_rows
from biso_tasks.database.empty import empty, staying
from biso_tasks.database.limit import Limits, limited_by, watch
from biso_tasks.files.aside import Changes, replace_tree
from biso_tasks.files.space import human
from biso_tasks.files.sync import how
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.stage.model import access

__all__ = ["ACTIONS"]


def _database(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    facts = work.facts
    size = sum(one.bytes for one in facts.source_facts)
    wire = work.wire(work.source.host, work.target.host, size, context.cancel)
    limits: list[Limits] = []
    for number, database in enumerate(work.stage.databases):
        target = work.target_server(number)
        with connect(target) as connection:
            kept = staying(connection)
        empty(target)
        present = [one.name for one in kept]
        bytes_ = facts.source_facts[number].bytes
        source = work.source_server(number)
        with watch(source, target, bytes_, context.bytes_of(bytes_)) as seen:
            limits.append(seen)
            notes = copy(
                source,
                work.snapshots[number],
                target,
                database.live,
                route=facts.route,
                wire=wire,
                cancel=context.cancel,
                schema_only=database.content == "schema",
                # Their rows were never taken away.
                exclude_tables=[table for one in kept for table in one.tables],
                untrusted=[one for one in work.untrusted(number) if one not in present],
                present=present,
            )
        for note in notes:
            context.note(f"{database.live}: {note}")
    return {"bytes": size, "wire": str(wire)} | limited_by(limits)


def _describe_database(context: Context[Refresh]) -> Effects:
    work = context.work
    facts = work.facts
    changes, destroys = [], []
    for number, database in enumerate(work.stage.databases):
        size = human(facts.source_facts[number].bytes)
        what = "the schema" if database.content == "schema" else f"the content ({size})"
        changes.append(
            f"fills {database.live} with {what} of {work.source.name}'s "
            f"{facts.sources[number].dsn.dbname}, route {facts.route}"
        )
        destroys.append(
            f"everything in the database {database.live} of {work.target.name}, where it stands"
        )
    return Effects(tuple(changes), tuple(destroys))


def _data(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    source, target = work.source, work.target
    changes: Changes | None = work.changes
    assert changes is not None
    moved = replace_tree(
        access(source),
        source.layout.datadir,
        access(target),
        target.layout.datadir,
        changes,
        route=work.facts.route,
        using=work.facts.method,
        fallback_owner=target.environment.owner,
        cancel=context.cancel,
        progress=context.bytes_of(changes.bytes_arriving),
    )
    # A link to scratch space elsewhere is not followed.
    scratch = f"{target.layout.datadir}/tmp"
    for words in (("mkdir", "-p", "--", scratch), ("find", scratch, "-mindepth", "1", "-delete")):
        target.host.run(Command(words).as_user(target.environment.host_user), ok=None)
    work.staged = True
    if moved.vanished:
        context.note(f"{len(moved.vanished)} file(s) were deleted on {source.name} meanwhile")
    return {
        "files": moved.files,
        "bytes": moved.bytes_sent,
        "placeholders": len(changes.placeholders),
        "deleted": len(changes.gone),
        "kept": list(changes.kept),
        "method": moved.method,
    }


def _describe_data(context: Context[Refresh]) -> Effects:
    work = context.work
    rest = "placeholders" if work.anonymize else "copies"
    folder = work.target.layout.datadir
    return Effects(
        changes=(
            f"brings {folder} to what {work.source.name} has, by {how(work.facts.method)}, "
            f"route {work.facts.route}: what [refresh.files] says is copied, the rest becomes "
            f"{rest}",
        ),
        destroys=(f"files of {folder} that {work.source.name} does not have, or has otherwise",),
    )


def _keep(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    if work.kept_rows is None:
        return {"rows": 0}
    user = work.target.environment.host_user
    rows = load_rows(work.target_server(0), work.kept_rows, user=user, cancel=context.cancel)
    return {"rows": sum(rows.values())}


def _describe_keep(context: Context[Refresh]) -> Effects:
    wanted = context.work.config.keep_tables
    said = f"puts {context.work.target.name}'s own rows of {', '.join(wanted)} back"
    return Effects(changes=(said if wanted else "no tables to keep",))


ACTIONS = (
    Action(
        "in-place-database",
        _database,
        "Empty the databases and stream the source's into them",
        _describe_database,
    ),
    Action("in-place-data", _data, "Bring the data dir to what the source has", _describe_data),
    Action("in-place-keep", _keep, "Put the target's own rows back", _describe_keep),
)
