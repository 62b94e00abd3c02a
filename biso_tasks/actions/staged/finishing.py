"""The step between the proof and the swap: the stage's databases become the application's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.database import settings
from biso_tasks.database.admin import admin
from biso_tasks.database.measure import analyze
from biso_tasks.errors import ProofFailed
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.stage.own_role import hand_over

__all__ = ["ACTIONS"]


def _finish(context: Context[StageWork]) -> dict[str, Any]:
    """Statistics, then the application's role gets it all; settings and grants: the last touches
    before the stage is served. From the moment on that it is handed over, the application's role
    can read it."""
    work = context.work
    work.require_proven()
    for database in work.stage.swapped:
        if database.live not in work.analyzed:
            analyze(database.staged_server, database.stage)
    hand_over(work.stage, work.untrusted)
    work.handed_over = True
    for number, database in enumerate(work.stage.databases):
        if not database.swapped:
            continue
        role_there = work.source_facts(number).role
        target = work.target_server(number)
        read = work.source_settings(number)
        with admin(target) as role:
            # A shell's own are nobody's choice.
            fresh = database.live in work.fresh
            own = None if fresh else settings.read(role, database.live)
            merged = settings.merge(
                read,
                own,
                source_role=role_there,
                role=target.dsn.user,
            )
            came = set(merged.values) - set(own.values if own else ())
            _require_nobody(work, database.live, came)
            notes = settings.apply(role, database.stage, merged)
            work.access[database.live] = settings.access_statements(role, database.live, merged)
        notes += work.give_grants(number)
        for note in notes:
            context.note(f"{database.live}: {note}")
    return {}


def _require_nobody(work: StageWork, dbname: str, values: Collection[tuple[str, str, str]]) -> None:
    """Settings are read anew after the proof, which searched those that there were: one that came
    in between is searched on its way."""
    for original in work.originals:
        for _, setting, value in values:
            if kinds := original.distinctive.find(value):
                raise ProofFailed(
                    f"the setting {setting} of production's database, which {dbname} would get, "
                    f"holds personal data ({', '.join(sorted(kinds))})",
                    hint="nothing was swapped; take it out there: ALTER DATABASE … RESET, or give "
                    "test a value of its own",
                )


def _describe(context: Context[StageWork]) -> Effects:
    owned = [one for one in context.work.stage.swapped if one.role is not None]
    given = [f"gives {one.stage} to the role {one.server.dsn.user}" for one in owned]
    return Effects(changes=(*given, "sets what the database as a whole is given"))


ACTIONS = (Action("finish-database", _finish, "Owner, settings, grants, statistics", _describe),)
