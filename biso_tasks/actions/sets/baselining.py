"""The step that keeps a baseline's databases as templates too: a reset then costs no load."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.backup import Backup, Part
from biso_tasks.backup.manifest import DatabaseDump
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.database.create import create, drop
from biso_tasks.database.loads import load
from biso_tasks.database.measure import analyze
from biso_tasks.database.names import baseline_name
from biso_tasks.database.pair import untrusted_extensions
from biso_tasks.database.template import finish_template
from biso_tasks.errors import StepFailed
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
                drop(role, part.server, baseline_name(dump.dbname))
        else:
            made.append(baseline_name(dump.dbname))
    return {"templates": made}


def _fill(context: Context[Backup], part: Part, dump: DatabaseDump) -> None:
    work, server = context.work, part.server
    assert work.sealed is not None
    dbname = baseline_name(dump.dbname)
    with admin(server) as role:
        drop(role, server, dbname)
        create(role, server, dbname, part.facts, version=part.facts.version)
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


ACTIONS = (Action("baseline-template", _template, "Keep the databases as templates", _describe),)
