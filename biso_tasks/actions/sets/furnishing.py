"""The steps that only a restore has which finds something of the target missing. `furnish` makes
that, empty, and the instance is in maintenance; from then on it is a restore as any other: staged
beside, checked, swapped in. Where it fails, what was made is taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.bare import Bare, BareSurvey
from biso_tasks.actions.sets.restore import SetSurvey, survey_set
from biso_tasks.actions.staged.work import StageWork, identity
from biso_tasks.backup.sealed import Sealed
from biso_tasks.database import bare as grounds
from biso_tasks.errors import NeedsPerson, Refused
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.instance import services
from biso_tasks.stage import bare as shell
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.shell import forget_shell, note_shell
from biso_tasks.stage.swap import go_live

__all__ = ["ACTIONS"]


def _furnish(context: Context[Bare]) -> dict[str, Any]:
    work = context.work
    planned = work.planned
    target = planned.target
    assert work.store is not None
    lacking = [
        (database.server.dsn, ground)
        for database, ground in zip(planned.stage.databases, planned.grounds, strict=True)
    ]

    def note() -> None:
        note_shell(
            target,
            work.run_id,
            config=planned.config is not None,
            flag=not planned.closed,
            folders=work.folders or (),
            databases={dsn.dbname for dsn, ground in lacking if ground.database == "missing"},
            roles={dsn.user for dsn, ground in lacking if not ground.role},
            others=[user for _, user in work.made.roles],
        )

    work.furnished = True
    note()
    texts = planned.config.texts if planned.config is not None else {}
    shell.lay(target, texts, planned.like, work.laid, flag=not planned.closed)
    if "database" in planned.missing:
        _make_databases(context, note)
    # From here on the target is an instance as any other.
    survey = survey_set(work.session, work, work.store)
    _require_as_planned(planned, survey)
    work.survey = survey
    return {"roles": len(work.made.roles), "databases": len(work.made.databases)}


def _make_databases(context: Context[Bare], note: Callable[[], None]) -> None:
    """The roles of the set and of config.php that are missing, then the databases that are."""
    work = context.work
    planned = work.planned
    environment = planned.target.environment
    assert work.store is not None
    globals_ = Sealed(work.store, work.backup).file("db/globals.sql").decode()
    for number, database in enumerate(planned.stage.databases):
        ground = planned.grounds[number]
        known = any(database.server.dsn.user == user for _, user in work.made.roles)
        if number == 0 or not (ground.role or known):
            text = globals_ if number == 0 else ""
            for line in grounds.make_roles(database.server, ground, text, work.made):
                context.note(line)
            note()
        new = grounds.make(
            database.server,
            ground,
            planned.source_facts[number],
            work.made,
            locale=environment.database.locale,
        )
        if new and planned.dumps[number] is None:
            context.note(f"{database.live} is not in the set: it is made, and stays empty")


def _require_as_planned(planned: BareSurvey, found: SetSurvey) -> None:
    def fixed(survey: SetSurvey) -> dict[str, Any]:
        target = survey.target
        known = {k: v for k, v in identity(target).items() if k in ("env", "database", "host")}
        return known | {
            "webroot": target.layout.webroot,
            "data dir": target.layout.datadir,
            "stage directory": target.layout.stage_dir,
            "databases": [(one.key, one.live, one.stage) for one in survey.stage.databases],
            "route": survey.route,
            "transfer": survey.method,
        }

    before, now = fixed(planned), fixed(found)
    changed = [
        f"{key} is {now[key]!r}, not {before[key]!r}" for key in now if now[key] != before[key]
    ]
    if changed:
        raise Refused(
            f"{found.target.name}: what was made is not what was planned: {'; '.join(changed)}",
            hint="does the set's config.php look at what is there on the host? Put a config.php of "
            "this environment's own into the webroot, and make its database",
        )


def _describe_furnish(context: Context[Bare]) -> Effects:
    planned = context.work.planned
    target, dsn = planned.target, planned.target.facts.database
    layout, changes = target.layout, []
    if planned.config is not None:
        told = " behind one that says what biso.toml does" if planned.config.changed else ""
        changes.append(f"makes {layout.webroot} with the config.php of the set{told}")
    if "data" in planned.missing:
        changes.append(f"makes {layout.datadir}, empty")
    if not planned.closed:
        changes.append(f"puts {target.name} into maintenance until the set is served")
    if "database" in planned.missing:
        seen: set[str] = set()
        for database, ground in zip(planned.stage.databases, planned.grounds, strict=True):
            user = database.server.dsn.user
            if not ground.role and user not in seen:
                changes.append(f"makes the role {user!r}, with the password of config.php")
            seen.add(user)
        if target.environment.database.admin is not None:
            changes.append("makes the roles of the set's db/globals.sql that are missing")
        changes += [
            f"makes the database {database.live!r}, empty, at {dsn.host or 'the socket'}:{dsn.port}"
            for database, ground in zip(planned.stage.databases, planned.grounds, strict=True)
            if ground.database == "missing"
        ]
    return Effects(changes=tuple(changes))


def _unfurnish(context: Context[Bare]) -> None:
    """As it was before, unless the set is served by now, or an interrupted swap needs it all."""
    work = context.work
    target = work.planned.target
    if not work.furnished or work.swapped is not None or target.state.read("intent") is not None:
        return
    # Its databases belong to the role that goes with the shell.
    discard_stage(target, work.planned.stage.databases)
    work.staged = False
    grounds.unmake(work.made)
    shell.lift(target, work.laid)
    forget_shell(target)
    work.furnished = False


def _open(context: Context[Bare]) -> None:
    """What was furnished was in maintenance, and so is what took its place. Also where the run was
    interrupted since: the set is served."""
    work = context.work
    if work.swapped is None:
        return
    target = work.target
    if not work.opens:
        forget_shell(target)
        return
    answer = go_live(target, (), False, [])
    if answer is not None:
        raise NeedsPerson(
            f"{target.name} has the set in place, and does not answer well: {answer.detail}",
            hint="look at its web server; `biso-cli maintenance off` in the webroot opens it",
        )
    forget_shell(target)


def _describe_open(context: Context[Bare]) -> Effects:
    name = context.work.target.name
    if not context.work.opens:
        return Effects(changes=(f"nothing: {name} was in maintenance before, and stays so",))
    return Effects(changes=(f"ends the maintenance of {name}",))


def _check_services(context: Context[StageWork]) -> dict[str, Any]:
    """Beside the web workers a scheduler and a queue runner belong to an instance; a new host has
    them only once somebody has set them up."""
    target = context.work.target
    environment = target.environment
    named = environment.services.stop
    running = services.running(target.host, environment)
    for name in named:
        if name not in running:
            start = services.control(environment, "start", name)
            context.note(f"{name} does not run: start it, `{' '.join(start.argv)}`")
    if not named:
        context.note("biso.toml names no services: start web server and queue runner by hand")
    if not context.work.kept:
        context.note(
            "is the scheduler (Crunz) in the crontab of "
            f"{environment.run_as or target.host.login} on this host? A set holds no crontab"
        )
    return {"running": list(running), "stopped": [one for one in named if one not in running]}


def _describe_services(context: Context[StageWork]) -> Effects:
    return Effects(changes=("nothing: says which services run, and what a new host still needs",))


def _leave(context: Context[Bare]) -> None:
    """Folders that only the lock had made go as well."""
    work = context.work
    if work.folders and work.swapped is None and not work.furnished:
        shell.remove_folders(work.planned.target, work.folders)


ACTIONS = (
    Action("furnish", _furnish, "Make what is missing, empty", _describe_furnish, _unfurnish),
    Action("open", _open, "End the maintenance that was begun in", _describe_open),
    Action("check-services", _check_services, "Say which services run", _describe_services),
    Action("leave-bare", _leave, "Remove folders that a failed run made"),
)  # fmt: skip
