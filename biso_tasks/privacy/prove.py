"""The proof: everything in the stage that can hold text, and every file that was copied, searched
for survivors, in the very run. Findings name a place and a kind, never a value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from biso_tasks.privacy.canaries import TABLE
from biso_tasks.privacy.cells import MUTE, content, readable, searched, select, tables
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.documents import Unreadable, texts
from biso_tasks.privacy.originals import Originals, large_objects
from biso_tasks.privacy.schema_texts import findings
from biso_tasks.privacy.sqltext import execute, query, quiet, settle, stream

if TYPE_CHECKING:
    import psycopg

__all__ = ["File", "Leak", "Proof", "prove"]

# A copied file: its path, and how to read it. The path may hold a name, so it is searched too.
File = tuple[str, Callable[[], bytes]]

_REMEMBERED: Final = 20_000  # short texts whose judgement is kept: codes repeat


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A survivor: `table.column` or a path, and what kind: `unchanged`, `mail`, `phone`, `ahv`,
    `iban`, `name`, `text`; `unreadable` for a file that cannot be searched; `canary` where the
    scanner did not see what was planted for it."""

    place: str
    kind: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What was searched, and what was found: released is what has no leaks. `sampled`: there were
    more originals than the bound, so a sample stood for them."""

    columns: int
    values: int
    files: int
    leaks: tuple[Leak, ...] = ()
    sampled: bool = False

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


@final
class _Scan:
    """Counts what it looked at and collects the places of survivors."""

    def __init__(self, originals: Originals) -> None:
        self.originals = originals
        self.leaks: set[Leak] = set()
        self.columns = self.values = self.files = 0
        self._seen: dict[str, frozenset[str]] = {}

    def text(self, place: str, text: str) -> None:
        if len(text) > 64:
            kinds = self.originals.distinctive.find(text)
        else:
            known = self._seen.get(text)
            if known is None:
                if len(self._seen) >= _REMEMBERED:
                    self._seen.clear()
                known = self._seen[text] = self.originals.distinctive.find(text)
            kinds = known
        for kind in kinds:
            self.leaks.add(Leak(place, kind))

    def content(self, place: str, name: str, data: bytes, *, members: bool = False) -> None:
        """The text in the content of a file. With `members`, findings name those of archives."""
        try:
            for member, text in texts(name, data):
                inner = f"{place}!{self.shown(member)}" if members and member else place
                self.text(inner, text)
        except Unreadable:
            self.leaks.add(Leak(place, "unreadable"))

    def shown(self, path: str) -> str:
        """`path` with each part that holds an original taken out: findings never name the value."""
        find = self.originals.distinctive.find
        if not find(path.replace("/", " ")):
            return path
        parts = ["‹name›" if find(part) else part for part in path.split("/")]
        return "/".join(parts) if "‹name›" in parts else "‹name›"

    def table(self, conn: psycopg.Connection[Any], group: Sequence[Classified]) -> None:
        """Every value of one relation."""
        originals = self.originals
        table = group[0].column
        present = {one.column.name: one.column for one in group}
        known = originals.keys(table.relation)
        if known is not None and not all(name in present for name in known[0]):
            known = None  # the mask rewrote every row of it, see `mask`
        keys = [present[name] for name in known[0]] if known else []
        todo = [one for one in group if one.personal or readable(one.column)]
        self.columns += len(todo)
        if not todo:
            return
        columns = [one.column for one in todo]
        compare = [
            originals.of(one.column) if known is not None and one.personal else None for one in todo
        ]
        # Where rows are not told apart for certain, or a value is made of others, one that is the
        # same may be so by chance: there it takes half of them.
        certain = known is not None and known[1] and table.kind == "table"
        loose = [not certain or column.generated for column in columns]
        places = [column.label for column in columns]
        hits, weighed = [0] * len(todo), [0] * len(todo)
        width, keyed = len(keys), bool(keys)
        for row in stream(conn, select([*keys, *columns], table)):
            key = "\x1f".join(value or "" for value in row[:width])
            for at, column in enumerate(columns):
                raw = row[width + at]
                if not raw:
                    continue
                self.values += 1
                cells = compare[at]
                if cells is not None:
                    hits[at] += cells.unchanged(key, raw, keyed=keyed)
                    if loose[at]:
                        weighed[at] += cells.weighs(key, raw, keyed=keyed)
                if column.type.family in MUTE:
                    continue
                text = searched(column, raw)
                if text:
                    self.text(places[at], text)
                else:
                    self.content(places[at], "", content(raw))
        share = originals.share(table.relation)
        for at, count in enumerate(hits):
            if count and (not loose[at] or count * 2 >= weighed[at] * share):
                self.leaks.add(Leak(places[at], "unchanged"))

    def objects(self, conn: psycopg.Connection[Any], place: str) -> None:
        """Every large object."""
        self.columns += 1
        for _, data in large_objects(conn):
            self.values += 1
            if self.originals.known_object(data):
                self.leaks.add(Leak(place, "unchanged"))
            self.content(place, "", data)

    def file(self, path: str, data: bytes) -> None:
        """One copied file: its path and its content."""
        self.files += 1
        place = self.shown(path)
        self.text(place, path.replace("/", " "))
        self.content(place, path.rsplit("/", 1)[-1], data, members=True)


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
    scan = _Scan(originals)
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


def prove(
    stage: psycopg.Connection[Any],
    originals: Originals,
    inventory: Sequence[Classified],
    *,
    files: Iterable[File] = (),
    keep: Collection[str] = (),
    harmless: Collection[str] = (),
    settings: Iterable[tuple[str, str]] = (),
    on_table: Callable[[str], None] | None = None,
) -> Proof:
    """Searches every column of the stage that can hold text, large objects, the schema, and
    `files`, for `originals`. `inventory` is that of the stage; `keep` names tables that hold the
    test instance's own rows, `harmless` places of the schema (see `schema_texts`), `settings`
    (place, value) what the database is given before it is served. Nothing is changed: canaries are
    planted in a transaction that is rolled back, and one that is not found is a leak of kind
    `canary`. Raises StepFailed where rows cannot be read; whether leaks are an error is the
    caller's to say."""
    scan = _Scan(originals)
    with stage.transaction(force_rollback=True):
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
            quiet(doing, scan.table, stage, group)
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
    for path, read in files:
        scan.file(path, read())
    leaks = tuple(sorted(scan.leaks | unseen))
    return Proof(scan.columns, scan.values, scan.files, leaks, originals.sampled)
