"""The proof: everything in the stage that can hold text, and every file that was copied, searched
for survivors, in the very run. Findings name a place and a kind, never a value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.canaries import TABLE
from biso_tasks.privacy.cells import tables
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.scanning import Leak, Scan
from biso_tasks.privacy.schema_texts import findings
from biso_tasks.privacy.sqltext import execute, query, quiet, settle
from biso_tasks.privacy.uncollected import uncollected

if TYPE_CHECKING:
    import psycopg

__all__ = ["File", "Leak", "Proof", "prove"]

# A copied file: its path, and how to read it. The path may hold a name, so it is searched too.
File = tuple[str, Callable[[], bytes]]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was searched, and what was found: released is what has no leaks. `sampled`: there were
    more originals than the bound, so a sample stood for them. `unread`: files that could not be
    opened, of which a person has said by name that they are harmless."""

    columns: int
    values: int
    files: int
    leaks: tuple[Leak, ...] = ()
    sampled: bool = False
    unread: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.leaks

    def as_json(self) -> dict[str, Any]:
        """As CONTRACT §3 has it."""
        return {
            "columns": self.columns,
            "values": self.values,
            "files": self.files,
            "leaks": [{"place": leak.place, "kind": leak.kind} for leak in self.leaks],
        }


def _plant(stage: psycopg.Connection[Any], originals: Originals) -> list[Classified]:
    """A temporary table with one row of canaries, as the scanner gets to see any other."""
    cells = originals.canaries.cells()
    declared = ", ".join(f'"{c.column.name}" {c.column.type.sql}' for c in cells)
    execute(stage, f"CREATE TEMP TABLE {TABLE} (id int PRIMARY KEY, {declared})")
    places = ", ".join(["1", *(f"%s::{c.column.type.sql}" for c in cells)])
    stage.execute(
        f"INSERT INTO pg_temp.{TABLE} VALUES ({places})".encode(), [c.value for c in cells]
    )
    return [Classified(c.column, True, "canary", "text") for c in cells]


def _canaries(stage: psycopg.Connection[Any], originals: Originals) -> set[Leak]:
    """Which canaries the scanner did not see."""
    scan = Scan(originals)
    group = _plant(stage, originals)
    key = Classified(originals.canary_key, False, "canary", "number")
    scan.table(stage, [key, *group])
    kinds = originals.canaries.kinds()
    expected = {Leak(one.column.label, kind) for one in group for kind in (*kinds, "unchanged")}
    for name, data in originals.canaries.files().items():
        scan.content(name, name, data)
        expected |= {Leak(name, kind) for kind in kinds}
    for kind, value in kinds.items():
        scan.text(f"path with {kind}", value)
        expected.add(Leak(f"path with {kind}", kind))
    return {Leak(f"{one.place}: {one.kind}", "canary") for one in expected - scan.leaks}


def _show_all_rows(stage: psycopg.Connection[Any], table: Column) -> None:
    """Takes FORCE ROW LEVEL SECURITY off, in a transaction that is rolled back."""
    row = query(
        stage,
        "SELECT relforcerowsecurity FROM pg_catalog.pg_class WHERE oid = %s::regclass",
        (table.sql_table,),
    )[0]
    if row[0]:
        execute(stage, f"ALTER TABLE {table.sql_table} NO FORCE ROW LEVEL SECURITY")


_NO_ROWS: Final[Mapping[str, str]] = {}


def prove(
    stage: psycopg.Connection[Any],
    originals: Originals,
    inventory: Sequence[Classified],
    *,
    files: Iterable[File] = (),
    keep: Collection[str] = (),
    keep_rows: Mapping[str, str] = _NO_ROWS,
    harmless: Collection[str] = (),
    vouched: Collection[str] = (),
    settings: Iterable[tuple[str, str]] = (),
    on_table: Callable[[str], None] | None = None,
) -> Proof:
    """Searches every column of the stage that can hold text, large objects, the schema, and
    `files`, for `originals`. `inventory` is that of the stage; `keep` names tables that hold the
    test instance's own rows, `keep_rows` conditions for those of other tables, `harmless` places
    of the schema (see `schema_texts`), `vouched` paths of files that may stay unread (one that is
    called after somebody is named otherwise, and is none of them), `settings` (place, value) what
    the database is given before it is served. Nothing is changed: canaries are planted in a
    transaction that is rolled back, and one that is not found is a leak of kind `canary`. Raises
    StepFailed where rows cannot be read; whether leaks are an error is the caller's to say."""
    scan = Scan(originals)
    with uncollected(), stage.transaction(force_rollback=True):
        quiet("proving", settle, stage)
        unseen = quiet("planting canaries", _canaries, stage, originals)
        for group in tables(inventory):
            table = group[0].column
            if table.relation in keep:
                continue
            if on_table is not None:
                on_table(table.relation)
            doing = f"searching table {table.relation}"
            quiet(doing, _show_all_rows, stage, table)
            own = keep_rows.get(table.relation, "")
            quiet(doing, partial(scan.table, but=own), stage, group)
        for one in inventory:
            if one.column.kind == "large objects" and one.personal:
                place = one.column.label
                quiet(f"searching {place}", scan.objects, stage, place)
        doing = "searching the schema"
        for place, kind in quiet(
            doing, list, findings(stage, originals.distinctive.find, harmless)
        ):
            scan.leaks.add(Leak(place, kind))
    for place, value in settings:
        scan.text(place, value)
    unread: set[Leak] = set()
    for path, read in files:
        known = frozenset(scan.leaks) if path in vouched else scan.leaks
        scan.file(path, read())
        unread |= (scan.leaks - known) & {Leak(path, "unreadable")}
    leaks = tuple(sorted((scan.leaks | unseen) - unread))
    places = tuple(sorted(one.place for one in unread))
    return Proof(scan.columns, scan.values, scan.files, leaks, originals.sampled, places)
