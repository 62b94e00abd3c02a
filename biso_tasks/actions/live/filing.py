"""The step that brings the data dir into the stage: asked first, then moved, then topped up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.readable import plugins_policy, refuse_unreadable
from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.actions.staged.inventory import policy_rules, require_files
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.files.keep import keep_files, not_there
from biso_tasks.files.listing import DATA_EXCLUDES, Listing, list_tree
from biso_tasks.files.placing import write_placeholders
from biso_tasks.files.policy import Decision, decide
from biso_tasks.files.sync import finish_root, how, transfer
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import access, own_directory

__all__ = ["ACTIONS", "decide_files", "file_policy", "own_scratch", "scratch"]


def decide_files(context: Context[Refresh]) -> tuple[Listing, Decision]:
    """The source's data dir, and what becomes of each entry: asked before a file travels. Raises
    Refused where a file that is to travel cannot be read."""
    work = context.work
    source = work.source
    listing = list_tree(
        access(source), source.layout.datadir, exclude=(*DATA_EXCLUDES, *own_directory(source))
    )
    for note in require_files(work, listing):
        context.note(note)
    decision = decide(listing, policy_rules(work), file_policy(context), anonymize=work.anonymize)
    # Counts: a file's name can be a person's, and a journal is read by others.
    if decision.outside:
        context.note(
            f"{len(decision.outside)} link(s) lead out of the data dir, and come along as they "
            f"are: `find {source.layout.datadir} -type l` on {source.name} shows them"
        )
    if decision.special:
        context.note(
            f"{len(decision.special)} of the data dir are neither file, directory nor link, and "
            f"are left out: `find {source.layout.datadir} ! -type f ! -type d ! -type l` on "
            f"{source.name} shows them"
        )
    refuse_unreadable(source, listing, decision)
    return listing, decision


def _data(context: Context[Refresh]) -> dict[str, Any]:
    work = context.work
    source, target = work.source, work.target
    listing, decision = decide_files(context)
    # Before the transfer, which gives directories the owners that may keep us out of them.
    write_placeholders(
        access(target),
        work.stage.datadir,
        decision.placeholder,
        fallback_owner=target.environment.owner,
        cancel=context.cancel,
    )
    wire = work.wire(source.host, target.host, decision.bytes_to_copy, context.cancel)
    moved = transfer(
        access(source),
        source.layout.datadir,
        access(target),
        work.stage.datadir,
        decision.copy,
        basis=target.layout.datadir,
        route=work.facts.route,
        fallback_owner=target.environment.owner,
        using=work.facts.method,
        compress=wire.slow,
        cancel=context.cancel,
        progress=context.bytes_of(decision.bytes_to_copy),
    )
    kept = keep_files(
        access(target), target.layout.datadir, work.stage.datadir, work.config.keep_files
    )
    for note in not_there(work.config.keep_files, kept):
        context.note(note)
    scratch(target, work.stage.datadir)
    # Last: whatever was put into it has changed its time.
    finish_root(
        access(target),
        work.stage.datadir,
        listing.top,
        fallback_owner=target.environment.owner,
    )
    own_scratch(target, work.stage.datadir)
    if moved.vanished:
        context.note(f"{len(moved.vanished)} file(s) were deleted on {source.name} meanwhile")
    return {
        "files": moved.files,
        "bytes": moved.bytes_sent,
        "placeholders": len(decision.placeholder),
        "skipped": len(decision.skip),
        "kept": list(kept),
        "method": moved.method,
    }


def _describe(context: Context[Refresh]) -> Effects:
    work = context.work
    rest = "placeholders" if work.anonymize else "copies"
    packed = "" if work.facts.route == "local" else " and packed where the link is slow"
    return Effects(
        changes=(
            f"fills {work.stage.datadir} from {work.source.name} by {how(work.facts.method)}, "
            f"route {work.facts.route}{packed}: what [refresh.files] says is copied, the rest "
            f"becomes {rest}; unchanged files are copied from {work.target.layout.datadir}",
        )
    )


def file_policy(context: Context[StageWork]) -> Callable[[str], str | None] | None:
    """As `plugins_policy`, for a step."""
    return plugins_policy(context.work.session)


def scratch(target: Instance, datadir: str) -> None:
    """An empty writable tmp/ is there afterwards, also where the source has none."""
    make = Command(("mkdir", "-p", "--", f"{datadir}/tmp"))
    target.host.run(make.as_user(target.environment.host_user), ok=None)


def own_scratch(target: Instance, datadir: str) -> None:
    """To whom the data dir belongs: where PHP runs in a container, not we but PHP writes there."""
    files = access(target)
    if files.gives_away:
        own = Command(("chown", f"--reference={datadir}", "--", f"{datadir}/tmp"))
        target.host.run(files.writer(own), ok=None)


ACTIONS = (Action("stage-data", _data, "Fill the stage's data dir", _describe),)
