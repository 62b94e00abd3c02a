"""The step that takes persons' names out of file names, in the stage's data dir and in its rows."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.live.filing import file_policy
from biso_tasks.actions.staged.inventory import extend_inventories, policy_rules
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.database.connect import connect
from biso_tasks.database.snapshot import quiet
from biso_tasks.files.keep import is_kept
from biso_tasks.files.listing import list_tree
from biso_tasks.files.policy import decide
from biso_tasks.files.rename import rename_entries
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.privacy.filenames import Names, Tree
from biso_tasks.privacy.filerefs import find_references, read_references
from biso_tasks.privacy.filerows import rename_rows
from biso_tasks.stage.model import access

__all__ = ["ACTIONS"]


def _rename(context: Context[StageWork]) -> dict[str, Any]:
    """Before anything is anonymised: a masked row names no file any more."""
    work = context.work
    extend_inventories(work)
    files = access(work.target)
    listing = list_tree(files, work.stage.datadir, exclude=work.stage.excludes, empty_ok=True)
    tree = Tree(listing.entries)
    originals = work.originals[0]
    names = Names(originals.distinctive.find, tree, wide=originals.holds_surname)
    # Letter templates and the like are found by their names: there, a surname alone is a word.
    decision = decide(listing, policy_rules(work), file_policy(context))
    needed = {entry.path for entry in decision.copy}
    own = work.config.keep_files
    for entry in listing.entries:
        known = entry.path in needed or is_kept(entry.path, own)
        names.judge(entry.path, widely=entry.kind == "file" and not known)
        if entry.kind == "link":
            names.judge(entry.target)
    inventories, references = [], []
    databases = work.stage.databases[: len(work.inventories)]
    for number, database in enumerate(databases):
        with connect(database.staged_server, autocommit=True) as connection:
            quiet(connection)
            marked, referring = find_references(connection, work.inventories[number], tree)
            read_references(connection, referring, names.judge)
        inventories.append(marked)
        references.append(referring)
    rows = 0
    for number, database in enumerate(databases):
        with connect(database.staged_server, autocommit=True) as connection:
            quiet(connection)
            rows += rename_rows(
                connection,
                inventories[number],
                references[number],
                tree,
                names,
                work.originals[number],
            )
    targets = {
        entry.path: new
        for entry in listing.entries
        if entry.kind == "link" and (new := names.of(entry.target.split("/"))) != entry.target
    }
    renamed = rename_entries(files, listing, names.mapping, targets, exclude=work.stage.excludes)
    work.inventories = tuple(inventories)
    return {"renamed": renamed, "rows": rows}


def _describe(context: Context[StageWork]) -> Effects:
    return Effects(
        changes=(
            f"gives files and directories of {context.work.stage.called} that are called after "
            "persons other names, and the rows that refer to them the same",
        )
    )


ACTIONS = (Action("rename-files", _rename, "Take persons' names out of file names", _describe),)
