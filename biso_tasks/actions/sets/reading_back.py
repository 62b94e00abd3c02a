"""The step that uses what was restored, as the application's user would: BISO's own migration list,
a page, files of the data dir by their content.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.errors import ProofFailed
from biso_tasks.files.keep import is_kept
from biso_tasks.files.listing import Entry, list_tree
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.answer import answered
from biso_tasks.host.command import Command
from biso_tasks.stage.model import access

__all__ = ["ACTIONS"]

_SAMPLE = 40  # files
_FATAL = 255  # what PHP ends with after a fatal error

# Names come as base64, since a name may hold any byte, and within the program, since whoever lists
# processes sees their words.
_HASH = rb"""<?php
$sums = [];
foreach (explode(' ', '@NAMES@') as $name) {
    $sums[] = @hash_file('sha256', base64_decode($name));
}
echo "\n@biso-sums ", json_encode($sums);
"""


def _read_back(context: Context[FromSet]) -> dict[str, Any]:
    work = context.work
    # A stand-in for a database that stays has no rows to show, and remembers no migration.
    with_database = "database" in work.areas
    pending = work.stage.app.pending_migrations() if with_database else ()
    if pending:
        raise ProofFailed(
            f"{len(pending)} migration(s) are still pending in {work.stage.called}: {pending[0]}",
            hint="nothing was swapped; run `biso-cli migration exec` by hand to see why",
        )
    if with_database:
        _page(context)
    files = _sample(work) if "data" in work.areas else []
    _files(work, files)
    return {"files": len(files), "migrations": 0}


def _page(context: Context[FromSet]) -> None:
    """The start page, by PHP itself: no web server may see a stage. What it prints is its own
    affair, a fatal error is not."""
    app = context.work.stage.app
    there = Command(("test", "-f", f"{context.work.stage.webroot}/index.php"))
    looked = access(context.work.target).reader(there)
    if context.work.target.host.run(looked, ok=(0, 1)).code:
        context.note("no index.php in the webroot: no page was read")
        return
    result = app.php("index.php", ok=None, timeout=120)
    if result.code == _FATAL:
        said = next((line for line in result.text.splitlines() if "rror" in line), result.error)
        raise ProofFailed(
            f"the start page of {context.work.stage.called} ends with a fatal error: {said[:300]}",
            hint="nothing was swapped; does the code fit the database and this PHP?",
        )


def _sample(work: FromSet) -> list[str]:
    """Some files of the data dir, spread over it, a letter template among them. What the
    application could not read where it was backed up is none of them."""
    listing = list_tree(access(work.target), work.stage.datadir, exclude=(), empty_ok=True)
    closed = _closed(work.sealed.tree("data"))
    files = [
        one.path
        for one in listing.entries
        if one.kind == "file" and one.size and one.path not in closed
    ]
    letters = [path for path in files if path.startswith("brief_vorlagen/")]
    spread = files[:: max(1, len(files) // _SAMPLE)][:_SAMPLE]
    return sorted({*letters[:3], *spread})


def _closed(recorded: Sequence[Entry]) -> frozenset[str]:
    """What was closed to the application, whose the data dir is: by its own mode or a folder's."""
    top = recorded[0]
    closed: set[str] = set()
    for one in recorded:
        needed = 0o1 if one.kind == "dir" else 0o4
        allowed = (
            one.owner == top.owner
            or one.mode & needed
            or (one.group == top.group and one.mode & needed << 3)
        )
        # a folder comes before what it holds
        if not allowed or one.path.rpartition("/")[0] in closed:
            closed.add(one.path)
    return frozenset(closed)


def _files(work: FromSet, files: Sequence[str]) -> None:
    """Read by PHP, as the application's user; where nothing was masked, the very bytes of the
    set."""
    if not files:
        return
    names = [
        base64.b64encode(f"{work.stage.inside}/data/{path}".encode("utf-8", "surrogateescape"))
        for path in files
    ]
    program = _HASH.replace(b"@NAMES@", b" ".join(names))
    out = work.stage.app.php("--", stdin=program, timeout=600).out
    with answered(work.target.host.name, "the files that its PHP reads"):
        sums = json.loads(out.rpartition(b"\n@biso-sums ")[2])
        read = list(zip(files, sums, strict=True))
    expected = work.sealed.sums()
    # Files that an instance keeps as its own whatever comes.
    own = work.backup.manifest.environment != work.target.name
    kept = work.config.keep_files if own else ()
    for path, found in read:
        if not found:
            raise ProofFailed(
                f"{path!r} in the data dir of {work.stage.called} cannot be read by the "
                "application's user",
                hint="set `owner` of the environment to the user and group that BISO runs as",
            )
        wanted = expected.get(f"data/{path}")
        if not work.anonymize and not is_kept(path, kept) and found != wanted:
            raise ProofFailed(
                f"{path!r} in the data dir of {work.stage.called} is not what the set holds",
                hint="nothing was swapped; did a plugin change it? please report this otherwise",
            )


def _describe(context: Context[FromSet]) -> Effects:
    rows = "database" in context.work.areas
    return Effects(
        changes=(
            "nothing: "
            + ("asks BISO for its migrations, renders its start page, " if rows else "")
            + "reads files back as the application's user",
        )
    )


ACTIONS = (Action("read-back", _read_back, "Use what was restored as BISO would", _describe),)
