"""Steps that capture an instance into a set: its files while the site works, then a moment of
maintenance with the snapshot of the databases and what changed of the files meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from biso_tasks.actions.away import away
from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.backup import Backup
from biso_tasks.actions.sets.left import note_swept
from biso_tasks.backup.metadata import METADATA, TREES
from biso_tasks.backup.metadata import encode as encode_metadata
from biso_tasks.database.connect import NotConnected
from biso_tasks.database.drain import Watch, watch
from biso_tasks.database.snapshot import export
from biso_tasks.errors import ProofFailed
from biso_tasks.files.capture import Before, CaughtUp, capture, catch_up, check, finish
from biso_tasks.files.listing import DATA_EXCLUDES, Listing, list_tree
from biso_tasks.files.seen import Seen, decode, encode, seen
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.instance.busy import busy_files
from biso_tasks.instance.maintenance import leased
from biso_tasks.session import lock_owner
from biso_tasks.stage.model import access, own_directory

__all__ = ["ACTIONS"]


def _open(context: Context[Backup]) -> None:
    work = context.work
    store = work.sets
    store.prepare()
    work.storing.enter_context(store.lock(lock_owner(work.run_id)))
    note_swept(context, store)
    store.begin(work.id, work.areas)
    work.building = True


def _describe_open(context: Context[Backup]) -> Effects:
    work = context.work
    before = ", ".join(dict.fromkeys(one.id for one in work.facts.previous.values()))
    shared = f"; unchanged files are shared with {before}" if before else ""
    return Effects(changes=(f"makes {work.sets.set_path(work.id)}{shared}",))


def _files(context: Context[Backup]) -> dict[str, Any]:
    """While the site works: what changes meanwhile is caught up with in the window."""
    work = context.work
    for area in work.trees:
        work.captured[area] = capture(
            access(work.target),
            _root(work, area),
            work.keeper,
            f"{work.sets.partial_path(work.id)}/{area}",
            _list(context, area),
            before=_before(work, area),
            left=decode(work.sets.recall(work.id, area)),
            remember=partial(_remember, work, area),
            cancel=context.cancel,
            progress=context.bytes_of(0),
        )
    return {
        "files": sum(one.files for one in work.captured.values()),
        "bytes": sum(one.bytes for one in work.captured.values()),
        "copied": sum(one.copied for one in work.captured.values()),
    }


def _describe_files(context: Context[Backup]) -> Effects:
    work = context.work
    places = " and ".join(_root(work, area) for area in work.trees) or "no files"
    return Effects(changes=(f"copies {places} while the site works",))


def _window(context: Context[Backup]) -> dict[str, Any]:
    """The one moment that all areas are of. Without maintenance the snapshot comes first: a row may
    lack its file's newest version then, and a file that was deleted since is named."""
    work = context.work
    config = context.site.backup
    with ExitStack() as watching:
        watcher = _watcher(context, watching)
        if work.maintenance != "none":
            work.window = work.holding.enter_context(
                leased(
                    work.target,
                    lock_owner(work.run_id),
                    longest=config.max_maintenance,
                    hold=_held(context),
                )
            )
            for note in work.window.notes:
                context.note(note)
            if watcher is not None:
                work.drained = watcher.drain(
                    cancel=context.cancel,
                    also=lambda: bool(busy_files(work.target)) if "data" in work.areas else False,
                )
                for note in work.drained:
                    context.note(note)
    work.snapshots = tuple(
        work.reading.enter_context(export(part.server)) for part in work.facts.parts
    )
    # Production waits: both trees at the same time.
    with ThreadPoolExecutor(len(TREES)) as pool:
        done = list(pool.map(lambda area: _catch_up(context, area), work.trees))
    if work.maintenance == "short":
        _release(work)
    if work.vanished:
        context.note(f"{len(work.vanished)} file(s) were deleted while they were read")
    return {
        "changed": sum(len(one.changed) for one in done),
        "removed": sum(len(one.removed) for one in done),
        "maintenance_seconds": round(work.maintenance_seconds, 3),
    } | _away(work)


def _watcher(context: Context[Backup], watching: ExitStack) -> Watch | None:
    """None where neither rows nor the application's files are backed up: nobody writes the rest."""
    work = context.work
    if not {"database", "data"} & set(work.areas):
        return None
    try:
        return watching.enter_context(watch(*work.facts.watched))
    except NotConnected as error:
        if "database" in work.areas:
            raise
        context.note(f"writers are waited for by their open files alone: {error.message}")
        return watching.enter_context(watch())


def _catch_up(context: Context[Backup], area: str) -> CaughtUp:
    work = context.work
    now = _list(context, area)
    done = catch_up(
        access(work.target),
        _root(work, area),
        work.keeper,
        f"{work.sets.partial_path(work.id)}/{area}",
        work.captured[area].listing,
        now,
        cancel=context.cancel,
    )
    gone = set(done.vanished)
    work.vanished += [f"{area}/{path}" for path in done.vanished]
    entries = tuple(one for one in now.entries if one.path not in gone and one.kind != "special")
    work.listings[area] = replace(now, entries=entries)
    return done


def _held(context: Context[Backup]) -> Sequence[str]:
    """What is held still: services of the environment that is backed up. A baseline of another one
    has no such names."""
    config = context.site.backup
    return config.hold if context.work.places["source"] == config.environment else ()


def _describe_window(context: Context[Backup]) -> Effects:
    work = context.work
    name = work.target.name
    if work.maintenance == "none":
        return Effects(changes=("nothing: takes a snapshot, without maintenance",))
    held = _held(context)
    until = "until the set is checked" if work.maintenance == "whole" else "for a moment"
    stopped = f", {', '.join(held)} stopped meanwhile" if held else ""
    if work.facts.in_maintenance:
        return Effects(changes=(f"{name} is in maintenance and stays so{stopped}",))
    return Effects(changes=(f"{name} goes into maintenance {until}{stopped}",))


def _check(context: Context[Backup]) -> dict[str, Any]:
    """The trees against what was listed in the window; what they are is written down."""
    work = context.work
    problems: list[str] = []
    for area in work.trees:
        place = f"{work.sets.partial_path(work.id)}/{area}"
        if work.maintenance == "none":
            _take_as_copied(context, area, place)
        finish(work.keeper, place, work.listings[area])
        problems += [f"{area}/{one}" for one in check(work.keeper, place, work.listings[area])]
    if problems:
        raise ProofFailed(
            f"the copy of the files is not what was there: {'; '.join(problems[:5])}"
            + (f" and {len(problems) - 5} more" if len(problems) > 5 else ""),
            hint="does something write there in spite of maintenance? the set is not kept as good; "
            "run the backup again",
        )
    work.sets.write_file(work.id, METADATA, encode_metadata(work.listings))
    for area, listing in work.listings.items():
        work.sets.remember(work.id, area, encode(seen(listing)))
    return {"entries": sum(len(one.entries) for one in work.listings.values())}


def _reopen(context: Context[Backup]) -> dict[str, Any]:
    """With all of it in the set, the site is let go, at the latest."""
    work = context.work
    if work.maintenance != "whole":
        return {}
    _release(work)
    return {"maintenance_seconds": round(work.maintenance_seconds, 3)} | _away(work)


def _away(work: Backup) -> dict[str, Any]:
    """Where a maintenance of ours has ended just now."""
    seconds = work.maintenance_seconds
    return {"away": away(work.target.name, seconds)} if seconds else {}


def _describe_reopen(context: Context[Backup]) -> Effects:
    work = context.work
    if work.maintenance != "whole":
        return Effects(changes=("nothing: maintenance, where there was any, is over",))
    if work.facts.in_maintenance:
        return Effects(changes=(f"nothing: {work.target.name} stays in maintenance",))
    return Effects(changes=(f"ends the maintenance of {work.target.name}",))


def _take_as_copied(context: Context[Backup], area: str, place: str) -> None:
    """Nothing held the writers: what was written between the listing and the copy is recorded as it
    was copied."""
    work = context.work
    there = {
        one.path: one for one in list_tree(work.keeper, place, exclude=(), empty_ok=True).entries
    }
    entries, late = [], 0
    for entry in work.listings[area].entries:
        copied = there.get(entry.path)
        if (
            copied is not None
            and copied.kind == entry.kind == "file"
            and (copied.size, copied.mtime) != (entry.size, entry.mtime)
        ):
            entries.append(entry._replace(size=copied.size, mtime=copied.mtime))
            late += 1
        else:
            entries.append(entry)
    work.listings[area] = replace(work.listings[area], entries=tuple(entries))
    if late:
        context.note(f"{late} file(s) of the {area} tree were written while they were copied")


def _release(work: Backup) -> None:
    """Maintenance off. Raises StepFailed where it had ended early: the set is no good one then."""
    window = work.window
    if window is None:
        return
    work.window = None
    try:
        window.close()
    finally:
        work.maintenance_seconds = 0.0 if window.was_on else window.seconds
        work.holding.close()


def _undo_window(context: Context[Backup]) -> None:
    work = context.work
    work.window = None
    work.holding.close()
    work.reading.close()


def _close(context: Context[Backup]) -> None:
    """Runs whatever happened: the site is out of maintenance, the store is free. What was copied of
    a set that was not sealed stays for the next run, and is never listed as good."""
    work = context.work
    try:
        work.holding.close()
    finally:
        work.window = None
        work.reading.close()
        work.storing.close()
    if work.building and work.sealed is None:
        context.note("the set was not sealed; the next backup goes on with its files")


def _list(context: Context[Backup], area: str) -> Listing:
    work = context.work
    instance, further = work.target, context.site.backup.exclude
    layout = instance.layout
    if area == "data":
        exclude = (*DATA_EXCLUDES, *own_directory(instance), *further)
    else:
        # Anchored, or every `data` deeper down would be lost as well.
        lifted = layout.datadir_in_webroot
        exclude = (*((f"/{lifted}/",) if lifted else ()), *further)
    return list_tree(access(instance), _root(work, area), exclude=exclude)


def _root(work: Backup, area: str) -> str:
    layout = work.target.layout
    return layout.webroot if area == "webroot" else layout.datadir


def _remember(work: Backup, area: str, files: Seen) -> None:
    work.sets.remember(work.id, area, encode(files))


def _before(work: Backup, area: str) -> Before | None:
    before = work.facts.previous.get(area)
    if before is None:
        return None
    copied = decode(work.sets.recall(before.id, area))
    return Before(f"{work.sets.set_path(before.id)}/{area}", copied)


ACTIONS = (
    Action("set-open", _open, "Begin a backup set", _describe_open),
    Action("set-files", _files, "Copy the files while the site works", _describe_files),
    Action("set-window", _window, "Maintenance, snapshot, what changed of the files",
           _describe_window, _undo_window),
    Action("set-check-files", _check, "Compare the copied files with what was listed"),
    Action("set-reopen", _reopen, "End a maintenance that covers all of it", _describe_reopen),
    Action("set-close", _close, "Let go of site and store"),
)  # fmt: skip
