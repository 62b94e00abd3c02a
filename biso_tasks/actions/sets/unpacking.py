"""Steps that fill a stage from a verified backup set, and compare it with the set's counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.arriving import hold_set
from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.actions.sets.retiring import retire_releases
from biso_tasks.actions.sets.verifying import record
from biso_tasks.actions.staged.work import require_known
from biso_tasks.backup.received import Received
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import Problem, dump_problems, verify_set
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create
from biso_tasks.database.limit import Limits, limited_by, watch
from biso_tasks.database.loads import load
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.database.template import copy_template
from biso_tasks.errors import BisoError, Locked, ProofFailed, Refused, StepFailed
from biso_tasks.files.space import human
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.session import lock_owner
from biso_tasks.stage.migrations import unknown_migrations

__all__ = ["ACTIONS"]

_JOBS = 2


def _verify(context: Context[FromSet]) -> dict[str, Any]:
    """Every byte against what was sealed, before anything is built of it. From here to the end of
    the run nobody removes it."""
    work = context.work
    _fetch(context)
    hold_set(context)
    work.problems = problems = verify_set(work.facts.store, work.id, loaded=work.loaded)
    if problems:
        raise _damaged(context, problems)
    return {"findings": 0}


def _damaged(context: Context[FromSet], problems: tuple[Problem, ...]) -> ProofFailed:
    """Marks the set, and gives the error that says so."""
    _mark(context, problems)
    return ProofFailed(
        f"{context.work.id} cannot be relied on: {problems[0]}"
        + (f" and {len(problems) - 1} more findings" if len(problems) > 1 else ""),
        hint="nothing was changed; take another set (`biso list`)",
    )


def _fetch(context: Context[FromSet]) -> None:
    """A release that a restricted account hands out comes to the target's host first."""
    work, store = context.work, context.work.facts.store
    if not isinstance(store, Received) or store.here(work.id):
        return
    store.prepare()
    with store.lock(lock_owner(work.run_id)):
        work.fetching = True
        store.fetch(work.backup, run=work.run_id, cancel=context.cancel)
        work.fetching = False
        own = Store(store.host, store.path)
        done = retire_releases(own, context.site.release.keep, datetime.now(UTC))
    for note in done.in_use.values():
        context.note(note)


def _undo_fetch(context: Context[FromSet]) -> None:
    work, store = context.work, context.work.facts.store
    if work.fetching:
        work.fetching = False
        # It is listed where it had come to be a set, and then there is nothing to take back.
        if any(one.state == "partial" for one in store.list()):
            store.remove_partial(work.id)


def _mark(context: Context[FromSet], problems: tuple[Problem, ...]) -> None:
    work, store = context.work, context.work.facts.store
    try:
        with store.lock(lock_owner(work.run_id)):
            record(store, work.id, work.run_id, problems)
    except Locked as error:
        context.note(f"{work.id} is not marked as damaged: {error.message}")


def _drilled(context: Context[FromSet]) -> None:
    """Last of all, when the stage was used and nothing was found."""
    work, store = context.work, context.work.facts.store
    with store.lock(lock_owner(work.run_id)):
        record(store, work.id, work.run_id, (), drilled=True)
    work.drilled = True


def _describe_drilled(context: Context[FromSet]) -> Effects:
    if not context.work.facts.store.managed:
        return Effects(changes=("nothing: a copy of a set is only read",))
    return Effects(changes=(f"writes down that {context.work.id} was drilled",))


def _describe_verify(context: Context[FromSet]) -> Effects:
    work, store = context.work, context.work.facts.store
    if isinstance(store, Received) and not store.here(work.id):
        size = human(work.backup.manifest.size)
        return Effects(
            changes=(
                f"fetches {work.id} ({size}) from {store.gate.name} to {work.backup.path}, and "
                "reads all of it",
            )
        )
    return Effects(changes=(f"nothing: reads all of {work.backup.path}",))


def _database(context: Context[FromSet]) -> dict[str, Any]:
    work, facts = context.work, context.work.facts
    locale = work.target.environment.database.locale
    limits: list[Limits] = []
    for number, database in enumerate(work.stage.databases):
        target, dump = work.filled_server(number), facts.dumps[number]
        with admin(database.server) as role:
            version = facts.target_facts[number].version
            if work.template and copy_template(
                role, database.server, database.stage, work.id, version=version
            ):
                work.analyzed.add(database.live)
                continue
            create(
                role,
                database.server,
                database.stage,
                work.source_facts(number),
                owner=target.dsn.user,
                locale=locale,
                version=version,
            )
        if dump is None:
            # A stand-in is made of the live one's schema.
            with export(database.server) as snapshot:
                notes = copy(
                    database.server, snapshot, target, database.stage,
                    cancel=context.cancel, schema_only=True, untrusted=work.untrusted(number),
                )  # fmt: skip
        else:
            size = work.source_facts(number).bytes
            tell = context.bytes_of(size)
            with (
                _blaming(context, dump.file),
                watch(None, database.staged_server, size, tell) as seen,
            ):
                limits.append(seen)
                notes = load(
                    facts.store.host,
                    f"{work.backup.path}/{dump.file}",
                    dump.format,
                    target,
                    database.stage,
                    recorded=work.source_facts(number),
                    there=facts.target_facts[number],
                    sha256=dump.sha256,
                    route=facts.route,
                    jobs=_JOBS,
                    untrusted=work.untrusted(number),
                    cancel=context.cancel,
                )
        for note in notes:
            context.note(f"{database.stage}: {note}")
    work.counts = tuple(dump.counts for dump in facts.dumps if dump is not None)
    loaded = sum(dump.bytes for dump in facts.dumps if dump is not None)
    return {"bytes": loaded} | limited_by(limits)


@contextmanager
def _blaming(context: Context[FromSet], file: str) -> Iterator[None]:
    """A dump that was sealed as it is, and cannot be read to its end, is the set's fault: that is
    asked for when it could not be loaded."""
    work = context.work
    try:
        yield
    except StepFailed as error:
        problems: tuple[Problem, ...] = ()
        with suppress(BisoError):
            problems = dump_problems(work.facts.store, work.id, (file,))
        if not problems:
            raise
        work.problems = problems
        raise _damaged(context, problems) from error


def _describe_database(context: Context[FromSet]) -> Effects:
    facts = context.work.facts
    changes = []
    for database, dump in zip(facts.stage.databases, facts.dumps, strict=True):
        of = (
            f"a stand-in like {database.live}"
            if dump is None
            else f"loaded from {dump.file} ({human(dump.bytes)}, route {facts.route})"
        )
        changes.append(f"makes database {database.stage}, {of}")
    return Effects(changes=tuple(changes))


def _check(context: Context[FromSet]) -> dict[str, Any]:
    """The stage against the counts of the very snapshot that was dumped."""
    work = context.work
    problems: list[str] = []
    for number, expected in zip(work.copied, work.counts, strict=True):
        with connect(work.stage.databases[number].staged_server) as connection:
            problems += differences(expected, count(connection))
    if problems:
        raise ProofFailed(
            "the loaded database is not what was backed up: " + "; ".join(problems[:10]),
            hint="nothing was swapped; please report this with the run's journal",
        )
    main = work.stage.main
    if "webroot" not in work.areas and work.copied:
        # The set's rows will be served by the code that is there.
        unknown = unknown_migrations(main.staged_server, main.server, work.target.app)
        require_known(work.id, work.target, unknown)
    if "webroot" in work.areas and "database" not in work.areas:
        # The rows that are there will be served by the set's code. The stand-in remembers no
        # migration, so that `migration list` names all that this code knows.
        _require_rows_fit(work, unknown_migrations(main.server, main.staged_server, work.stage.app))
    return {"rows": sum(counts.rows for counts in work.counts), "problems": 0}


def _require_rows_fit(work: FromSet, unknown: tuple[str, ...]) -> None:
    if unknown:
        raise Refused(
            f"the database of {work.target.name} has {len(unknown)} migration(s) that the code in "
            f"{work.id} does not know: {', '.join(unknown[:5])}",
            hint="restore the database as well, or a set of the same version of BISO",
        )


ACTIONS = (
    Action(
        "set-verify",
        _verify,
        "Read the set against what was sealed",
        _describe_verify,
        _undo_fetch,
    ),
    Action("unpack-database", _database, "Load the set's dumps into the stage",
           _describe_database),
    Action("unpack-check", _check, "Compare the stage with the set's counts"),
    Action("set-drilled", _drilled, "Write down that the set was drilled", _describe_drilled),
)  # fmt: skip
