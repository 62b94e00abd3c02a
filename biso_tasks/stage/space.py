"""Whether a second copy has room, with the numbers, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import DatabaseFailed
from biso_tasks.database.facts import ServerFacts
from biso_tasks.files.space import require_space as require_room
from biso_tasks.host.command import Command, script
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import access, server

__all__ = [
    "require_space",
    "require_space_in_place",
    "require_stage_space",
    "stage_size",
    "tree_size",
]

# A load needs room for indexes being built and for WAL as well.
_DATABASE_MARGIN = 1.3


def stage_size(source: Instance, target: Instance) -> tuple[int, int]:
    """Bytes on disk and number of entries of a stage made of the live instance `source`; both hosts
    are asked at once."""
    asked = (source, source.layout.datadir), (target, target.layout.webroot)
    with ThreadPoolExecutor(len(asked)) as pool:
        files, code = pool.map(tree_size, *zip(*asked, strict=True))
    return files[0] + code[0], files[1] + code[1]


def require_space(target: Instance, size: tuple[int, int], source_facts: ServerFacts) -> None:
    """Raises Refused where a stage of that `stage_size` would not fit beside what is live on the
    target."""
    require_stage_space(target, *size, source_facts, "data dir and webroot")


def require_stage_space(
    target: Instance, size: int, entries: int, database: ServerFacts | None, what: str
) -> None:
    """Raises Refused where files of `size` bytes and a copy of `database` would not fit on the
    target; the latter where it can be found out."""
    require_room(
        access(target),
        target.layout.stage_dir,
        bytes_needed=size,
        inodes_needed=entries,
        purpose=f"a second copy of {what}",
    )
    folder = None if database is None else _data_directory(target)
    if folder is not None and database is not None:
        require_room(
            access(target),
            folder,
            bytes_needed=int(database.bytes * _DATABASE_MARGIN),
            purpose=f"a second copy of the database ({database.dbname})",
        )


def require_space_in_place(target: Instance, target_facts: Sequence[ServerFacts]) -> None:
    """Raises Refused where a dump of the target's own databases would not fit. What the files need
    is known, and asked for, once both trees were compared."""
    require_room(
        access(target),
        target.layout.stage_dir,
        bytes_needed=sum(facts.bytes for facts in target_facts),
        purpose=f"a dump of {target.name}'s own database",
    )


# The tree is walked twice, at the same time: `du` counts either.
_SIZE = """
{ du -s -B1 -- "$1" || true; } &
du -s --inodes -- "$1" | sed "s/^/entries /" || true
wait
"""
_BYTES = r"^(\d+)\t"
_ENTRIES = r"^entries (\d+)\t"


def tree_size(instance: Instance, path: str) -> tuple[int, int]:
    """Bytes on disk and number of entries of a tree."""
    measure = access(instance).reader(script(_SIZE, path))
    said = instance.host.run(measure, ok=None, timeout=600).text
    size, entries = (re.search(what, said, re.MULTILINE) for what in (_BYTES, _ENTRIES))
    return (int(size[1]), int(entries[1])) if size and entries else (0, 0)


def _data_directory(target: Instance) -> str | None:
    """Where the target's cluster lies, if this role may know and it lies on this host."""
    if target.environment.services.kind == "compose":
        return None
    try:
        with admin(server(target, target.facts.database)) as role:
            rows = role.rows("SELECT current_setting('data_directory', true) AS folder")
    except DatabaseFailed:
        return None
    folder = rows[0][0] if rows else None
    if not folder:
        return None
    test = Command(("test", "-d", str(folder)))
    there = target.host.run(access(target).reader(test), ok=(0, 1)).code == 0
    return str(folder) if there else None
