"""Steps that fill a stage from a verified backup set, and compare it with the set's counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.filing import file_policy, own_scratch, scratch
from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.actions.sets.verifying import record
from biso_tasks.actions.staged.work import require_known
from biso_tasks.backup.sealed import sealed_tree
from biso_tasks.backup.verify import Problem, verify_set
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create
from biso_tasks.database.loads import load
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.database.template import copy_template
from biso_tasks.errors import Locked, ProofFailed, Refused
from biso_tasks.files.keep import keep_files
from biso_tasks.files.listing import Listing, list_tree
from biso_tasks.files.placing import write_placeholders
from biso_tasks.files.policy import Decision, decide
from biso_tasks.files.recorded import apply_recorded
from biso_tasks.files.space import human
from biso_tasks.files.sync import finish_root, transfer
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.session import lock_owner
from biso_tasks.stage.build import build_webroot, build_webroot_from
from biso_tasks.stage.migrations import unknown_migrations
from biso_tasks.stage.model import access

__all__ = ["ACTIONS"]

_JOBS = 2


def _verify(context: Context[FromSet]) -> dict[str, Any]:
    """Every byte against what was sealed, before anything is built of it."""
    work = context.work
    work.problems = problems = verify_set(work.facts.store, work.id)
    if problems:
        _mark(context, problems)
        raise ProofFailed(
            f"{work.id} cannot be relied on: {problems[0]}"
            + (f" and {len(problems) - 1} more findings" if len(problems) > 1 else ""),
            hint="nothing was changed; take another set (`biso list`)",
        )
    return {"findings": 0}


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
    return Effects(changes=(f"writes down that {context.work.id} was drilled",))


def _describe_verify(context: Context[FromSet]) -> Effects:
    return Effects(changes=(f"nothing: reads all of {context.work.backup.path}",))


def _database(context: Context[FromSet]) -> dict[str, Any]:
    work, facts = context.work, context.work.facts
    locale = work.target.environment.database.locale
    for number, database in enumerate(work.stage.databases):
        target, dump = work.target_server(number), facts.dumps[number]
        with admin(target) as role:
            version = facts.target_facts[number].version
            if work.template and copy_template(
                role, target, database.stage, work.id, version=version
            ):
                continue
            create(
                role,
                target,
                database.stage,
                work.source_facts(number),
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
    return {"bytes": sum(dump.bytes for dump in facts.dumps if dump is not None)}


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


def _data(context: Context[FromSet]) -> dict[str, Any]:
    work = context.work
    if "data" not in work.areas:
        return _no_data(context)
    target, stage = work.target, work.stage
    fallback = target.environment.owner
    listing, decision = _decide(context)
    write_placeholders(
        access(target), stage.datadir, decision.placeholder,
        fallback_owner=fallback, cancel=context.cancel,
    )  # fmt: skip
    moved = transfer(
        work.keeper,
        listing.root,
        access(target),
        stage.datadir,
        decision.copy,
        basis=target.layout.datadir,
        route=work.facts.route,
        using=work.facts.method,
        recorded=True,
        cancel=context.cancel,
        progress=lambda sent: context.progress(sent, decision.bytes_to_copy or None, "B"),
    )
    notes = apply_recorded(
        access(target), stage.datadir, decision.copy, listing.top,
        fallback_owner=fallback, cancel=context.cancel,
    )  # fmt: skip
    kept: tuple[str, ...] = ()
    if work.backup.manifest.environment != target.name:
        kept = keep_files(
            access(target), target.layout.datadir, stage.datadir, work.config.keep_files
        )
    scratch(target, stage.datadir)
    finish_root(access(target), stage.datadir, listing.top, fallback_owner=fallback)
    own_scratch(target, stage.datadir)
    for note in notes:
        context.note(note)
    return {
        "files": moved.files,
        "bytes": moved.bytes_sent,
        "placeholders": len(decision.placeholder),
        "skipped": len(decision.skip),
        "kept": list(kept),
        "method": moved.method,
    }


def _no_data(context: Context[FromSet]) -> dict[str, Any]:
    """The stage has an empty data dir then: the live one stays where it is."""
    work = context.work
    scratch(work.target, work.stage.datadir)
    own_scratch(work.target, work.stage.datadir)
    return {"files": 0}


def _describe_data(context: Context[FromSet]) -> Effects:
    work = context.work
    if "data" not in work.areas:
        return Effects(changes=(f"makes an empty {work.stage.datadir}",))
    rest = (
        ": what [refresh.files] says is copied, the rest becomes placeholders"
        if work.anonymize
        else ", with the owners, modes and times that it recorded"
    )
    return Effects(
        changes=(
            f"fills {work.stage.datadir} from {work.backup.path}/data by {work.facts.method}, "
            f"route {work.facts.route}{rest}",
        )
    )


def _webroot(context: Context[FromSet]) -> dict[str, Any]:
    work = context.work
    live = {database.live for database in work.stage.databases}
    live |= {one.dbname for one in work.backup.manifest.databases}
    names = tuple(sorted(live))
    if "webroot" not in work.areas:
        build_webroot(work.stage, names)
        return {}
    target, stage = work.target, work.stage
    listing = _recorded(work, "webroot")
    moved = transfer(
        work.keeper,
        listing.root,
        access(target),
        stage.webroot,
        listing.entries,
        basis=target.layout.webroot,
        route=work.facts.route,
        using=work.facts.method,
        recorded=True,
        cancel=context.cancel,
    )
    notes = apply_recorded(
        access(target), stage.webroot, listing.entries, listing.top,
        fallback_owner=target.environment.owner, cancel=context.cancel,
    )  # fmt: skip
    for note in notes:
        context.note(note)
    build_webroot_from(stage, names)
    return {"files": moved.files, "bytes": moved.bytes_sent}


def _describe_webroot(context: Context[FromSet]) -> Effects:
    work = context.work
    layout = work.target.layout
    origin = f"{work.backup.path}/webroot" if "webroot" in work.areas else layout.webroot
    return Effects(
        changes=(
            f"copies {origin} to {work.stage.webroot}, with a config.php of {work.target.name} "
            "that leads to the stage",
        )
    )


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


def _recorded(work: FromSet, area: str) -> Listing:
    """A tree of the set with what METADATA recorded of it, and the sizes that it has."""
    path = f"{work.backup.path}/{area}"
    top, *entries = sealed_tree(work.facts.store, work.backup, area)
    sizes = {
        entry.path: entry.size
        for entry in list_tree(work.keeper, path, exclude=(), empty_ok=True).entries
    }
    whole = tuple(replace(one, size=sizes.get(one.path, 0)) for one in entries)
    return Listing(path, top, whole, 0, ())


def _decide(context: Context[FromSet]) -> tuple[Listing, Decision]:
    work = context.work
    listing = _recorded(work, "data")
    if work.whole and not work.anonymize:
        return listing, Decision(listing.entries, (), (), (), ())
    return listing, decide(
        listing, work.config.files, file_policy(context), anonymize=work.anonymize
    )


ACTIONS = (
    Action("set-verify", _verify, "Read the set against what was sealed", _describe_verify),
    Action("unpack-database", _database, "Load the set's dumps into the stage",
           _describe_database),
    Action("unpack-data", _data, "Fill the stage's data dir from the set", _describe_data),
    Action("unpack-webroot", _webroot, "Make the stage's webroot from the set",
           _describe_webroot),
    Action("unpack-check", _check, "Compare the stage with the set's counts"),
    Action("set-drilled", _drilled, "Write down that the set was drilled", _describe_drilled),
)  # fmt: skip
