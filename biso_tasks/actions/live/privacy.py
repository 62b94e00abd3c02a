"""What an instance holds, and how far that is what was said of it: read-only, nothing is staged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from biso_tasks.database.connect import connect
from biso_tasks.database.snapshot import quiet
from biso_tasks.files.listing import DATA_EXCLUDES, Entry, list_tree
from biso_tasks.files.reading import read_some
from biso_tasks.instance.instance import Instance
from biso_tasks.privacy.classify import MIGRATIONS, Classified, classify, spare
from biso_tasks.privacy.columns import partitions
from biso_tasks.privacy.inventory.drift import (
    Drift,
    column_drift,
    unused_files,
    unused_paths,
    unused_places,
)
from biso_tasks.privacy.inventory.files import FileFound, chosen, count, judge
from biso_tasks.privacy.inventory.match import Partitions, apply, file_rules
from biso_tasks.privacy.inventory.model import Inventory
from biso_tasks.privacy.inventory.said import inventories_of
from biso_tasks.privacy.schema_texts import places as schema_places
from biso_tasks.session import Session
from biso_tasks.stage.migrations import migration_columns
from biso_tasks.stage.model import access, own_directory, server

__all__ = ["Looked", "look"]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found. `inventory` is the committed one, None where there is none; without one
    there is no drift but of what plugins say."""

    columns: tuple[Classified, ...]
    files: tuple[FileFound, ...]
    drift: Drift
    inventory: Inventory | None
    partitions: Partitions


def look(session: Session, name: str, *, new: bool = False) -> Looked:
    """Judges every column and the files of an environment, from one read-only snapshot. Nothing is
    changed there. `new`: the inventory need not be there yet. Raises BadConfig for one that is
    wrong, before anything is contacted."""
    said = inventories_of(session.site, session.hooks, new=new)
    instance = session.instance(name)
    with connect(server(instance, instance.facts.database), autocommit=True) as connection:
        quiet(connection)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = classify(connection)
        found = spare(found, migration_columns(connection, instance.app), MIGRATIONS)
        parts = partitions(connection)
        rules = [rule for one in said for rule in one.schema]
        columns = [one.column for one in found]
        unused = (
            *(unused_places(rules, schema_places(connection)) if rules else ()),
            *unused_paths(connection, said, columns, parts),
        )
        connection.execute("ROLLBACK")
    entries = _listed(instance)
    drift = column_drift(said, columns, parts)
    unused = (*drift.unused, *unused_files(file_rules(said), entries), *unused)
    return Looked(
        columns=apply(said, found, parts),
        files=_files(instance, said, entries),
        drift=replace(drift, unused=unused),
        inventory=next((one for one in said if one.complete), None),
        partitions=parts,
    )


def _listed(instance: Instance) -> tuple[Entry, ...]:
    return list_tree(
        access(instance),
        instance.layout.datadir,
        exclude=(*DATA_EXCLUDES, *own_directory(instance)),
        empty_ok=True,
    ).entries


def _files(
    instance: Instance, said: Sequence[Inventory], entries: Sequence[Entry]
) -> tuple[FileFound, ...]:
    found: list[FileFound] = []
    rest = list(entries)
    for inventory in said:
        known, rest = count(file_rules([inventory]), rest, inventory.decided)
        found += known
    contents = read_some(access(instance), instance.layout.datadir, chosen(rest))
    return (*found, *judge(rest, contents))
