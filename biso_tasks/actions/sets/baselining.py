"""Steps that only a baseline has: its databases are kept as templates too, so that a reset costs no
load, and it takes the place of the older one that is called the same."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.backup import Backup, Part
from biso_tasks.backup.manifest import DatabaseDump
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.database.loads import load
from biso_tasks.database.measure import analyze
from biso_tasks.database.names import baseline_name
from biso_tasks.database.pair import untrusted_extensions
from biso_tasks.database.template import begin_template, drop_template, finish_template
from biso_tasks.errors import Locked, StepFailed
from biso_tasks.hooks.types import Action, Effects

__all__ = ["ACTIONS"]


def _template(context: Context[Backup]) -> dict[str, Any]:
    """Filled from the sealed dump: a copy of the live database would carry its dead rows along.
    Where the server does not allow it, a reset loads the dump instead."""
    work = context.work
    assert work.sealed is not None
    made = []
    for part, dump in zip(work.facts.parts, work.sealed.manifest.databases, strict=True):
        try:
            _fill(context, part, dump)
        except (DatabaseFailed, StepFailed) as error:
            context.note(f"no template of {dump.dbname}, a reset will load its dump: {error}")
            with admin(part.server) as role:
                drop_template(role, part.server)
        else:
            made.append(baseline_name(dump.dbname))
    return {"templates": made}


def _fill(context: Context[Backup], part: Part, dump: DatabaseDump) -> None:
    work, server = context.work, part.server
    assert work.sealed is not None
    with admin(server) as role:
        dbname = begin_template(role, server, part.facts)
    load(
        work.target.host,
        f"{work.sealed.path}/{dump.file}",
        dump.format,
        server,
        dbname,
        recorded=part.facts,
        there=part.facts,
        sha256=dump.sha256,
        untrusted=untrusted_extensions(part.facts, part.facts),
        cancel=context.cancel,
    )
    analyze(server, dbname)
    with admin(server) as role:
        finish_template(role, server, work.id)


def _describe(context: Context[Backup]) -> Effects:
    names = [baseline_name(part.server.dsn.dbname) for part in context.work.facts.parts]
    return Effects(
        changes=(f"keeps {', '.join(names)}, which nobody can connect to, for quick resets",),
    )


def _older(work: Backup) -> list[str]:
    return [
        one.id
        for one in work.sets.list()
        if one.environment == work.target.name
        and one.manifest is not None
        and one.manifest.label == work.label
        and one.id != work.id
    ]


def _retire(context: Context[Backup]) -> dict[str, Any]:
    work = context.work
    removed = []
    for id in _older(work):
        try:
            work.sets.remove(id)
            removed.append(id)
        except Locked as error:
            context.note(f"{error.message}: it stays until the next baseline")
    return {"removed": removed}


def _describe_retire(context: Context[Backup]) -> Effects:
    older = _older(context.work)
    return Effects(
        changes=() if older else ("there is no older baseline to replace",),
        destroys=tuple(f"the baseline {id}, which this one replaces" for id in older),
    )


ACTIONS = (
    Action("baseline-template", _template, "Keep the databases as templates", _describe),
    Action("baseline-retire", _retire, "Remove the baseline that is replaced", _describe_retire),
)
