"""Steps that fill a stage's data dir and webroot from a verified backup set."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.filing import file_policy, own_scratch, scratch
from biso_tasks.actions.sets.arriving import below, require_arrived
from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.actions.staged.inventory import policy_rules, require_files
from biso_tasks.files.keep import keep_files, not_there
from biso_tasks.files.listing import Listing, list_tree, named
from biso_tasks.files.placing import write_placeholders
from biso_tasks.files.policy import Decision, decide
from biso_tasks.files.recorded import apply_recorded
from biso_tasks.files.sync import Transferred, finish_root, how, transfer
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.stage.build import build_webroot, build_webroot_from
from biso_tasks.stage.model import access

__all__ = ["ACTIONS"]


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
    wire = work.wire(work.keeper.host, target.host, decision.bytes_to_copy, context.cancel)
    moved = transfer(
        work.keeper,
        listing.root,
        access(target),
        stage.datadir,
        decision.copy,
        basis=_beside(work, target.layout.datadir),
        sums=below(work.sealed.sums(), "data"),
        route=work.facts.route,
        using=work.facts.method,
        compress=wire.slow,
        recorded=True,
        cancel=context.cancel,
        progress=context.bytes_of(decision.bytes_to_copy),
    )
    _judge(context, moved, "data", target.layout.datadir)
    notes = apply_recorded(
        access(target), stage.datadir, decision.copy, listing.top,
        fallback_owner=fallback, cancel=context.cancel,
    )  # fmt: skip
    kept: tuple[str, ...] = ()
    manifest = work.backup.manifest
    if manifest.environment != target.name or manifest.released:
        kept = keep_files(
            access(target), target.layout.datadir, stage.datadir, work.config.keep_files
        )
        notes += not_there(work.config.keep_files, kept)
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


def _beside(work: FromSet, live: str) -> str | None:
    """The live tree of which unchanged files are taken, and read to be sure of them: where the set
    lies on the same host they come from there as fast, and all of it was read a moment ago."""
    return None if work.facts.route == "local" else live


def _judge(context: Context[FromSet], moved: Transferred, area: str, live: str) -> None:
    """Raises ProofFailed where not all of the set's tree arrived; says what was damaged live."""
    work = context.work
    require_arrived(work.id, area, moved.vanished)
    if moved.damaged:
        context.note(
            f"{work.target.name}: {named(moved.damaged)} in {live} had the size and time of the "
            "set's and another content: taken from the set"
        )


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
            f"fills {work.stage.datadir} from {work.backup.path}/data by {how(work.facts.method)}, "
            f"route {work.facts.route}{rest}",
        )
    )


def _webroot(context: Context[FromSet]) -> dict[str, Any]:
    work = context.work
    live = {database.live for database in (*work.stage.databases, *work.stage.absent)}
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
        basis=_beside(work, target.layout.webroot),
        sums=below(work.sealed.sums(), "webroot"),
        route=work.facts.route,
        using=work.facts.method,
        recorded=True,
        cancel=context.cancel,
    )
    _judge(context, moved, "webroot", target.layout.webroot)
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


def _recorded(work: FromSet, area: str) -> Listing:
    """A tree of the set with what METADATA recorded of it, and the sizes that it has."""
    path = f"{work.backup.path}/{area}"
    top, *entries = work.sealed.tree(area)
    sizes = {
        entry.path: entry.size
        for entry in list_tree(work.keeper, path, exclude=(), empty_ok=True).entries
    }
    whole = tuple(one._replace(size=sizes.get(one.path, 0)) for one in entries)
    return Listing(path, top, whole, 0, ())


def _decide(context: Context[FromSet]) -> tuple[Listing, Decision]:
    work = context.work
    listing = _recorded(work, "data")
    if work.whole and not work.anonymize:
        return listing, Decision(listing.entries, (), (), (), ())
    for note in require_files(work, listing):
        context.note(note)
    return listing, decide(
        listing, policy_rules(work), file_policy(context), anonymize=work.anonymize
    )


ACTIONS = (
    Action("unpack-data", _data, "Fill the stage's data dir from the set", _describe_data),
    Action("unpack-webroot", _webroot, "Make the stage's webroot from the set",
           _describe_webroot),
)  # fmt: skip
