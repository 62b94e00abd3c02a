"""Masks what BISO's own anonymizer left: every personal cell of the stage that still holds what it
held in the source, or that holds an original of anybody, by set-based SQL of our own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.cells import MUTE, searched, select, tables
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.originals import Originals, large_objects
from biso_tasks.privacy.pseudonyms import EXACT, FUNCTIONS, HASHED, pseudonym
from biso_tasks.privacy.sqltext import column_name, execute, ident, query, quiet, settle

if TYPE_CHECKING:
    import psycopg

__all__ = ["Masked", "mask", "maskable"]

_BATCH: Final = 20_000  # rows judged and rewritten at a time
_TRIES: Final = 3  # keys tried where a unique index meets two equal pseudonyms
_PLACEHOLDER: Final = "\\x00"


@dataclass(frozen=True, slots=True)
class Masked:
    """What was rewritten: cells by `table.column`, and how many of other things. No values."""

    cells: tuple[tuple[str, int], ...] = ()
    large_objects: int = 0
    views: int = 0
    comments: int = 0

    @property
    def values(self) -> int:
        return sum(count for _, count in self.cells) + self.large_objects


def maskable(column: Column) -> bool:
    """Whether we may write it: no keys (they hold rows together), nothing generated, no view."""
    return column.kind == "table" and not (
        column.generated or column.primary or column.foreign or column.partition
    )


def _forced(conn: psycopg.Connection[Any], column: Column) -> bool:
    return bool(
        query(
            conn,
            "SELECT relforcerowsecurity FROM pg_catalog.pg_class WHERE oid = %s::regclass",
            (column.sql_table,),
        )[0][0]
    )


def _triggers(conn: psycopg.Connection[Any], column: Column) -> list[tuple[str, str]]:
    return [
        (name, state)
        for name, state in query(
            conn,
            "SELECT tgname, tgenabled::text FROM pg_catalog.pg_trigger "
            "WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled <> 'D'",
            (column.sql_table,),
        )
    ]


_ENABLE: Final = {
    "O": "ENABLE TRIGGER",
    "R": "ENABLE REPLICA TRIGGER",
    "A": "ENABLE ALWAYS TRIGGER",
}


def _batches(
    conn: psycopg.Connection[Any], statement: str
) -> Iterator[list[tuple[str | None, ...]]]:
    # A cursor's snapshot is fixed when it opens: rows that we rewrite meanwhile do not come again,
    # and the ctid of one that is still to come stays.
    with conn.cursor(name="biso_mask") as cursor:
        cursor.execute(statement.encode())
        while rows := cursor.fetchmany(_BATCH):
            yield rows


class _Table:
    """One table: judges its rows and rewrites the flagged cells."""

    def __init__(
        self, stage: psycopg.Connection[Any], group: Sequence[Classified], originals: Originals,
        todo: Sequence[Column], key: str,
    ) -> None:  # fmt: skip
        self.stage, self.originals, self.todo, self.key = stage, originals, todo, key
        self.table = todo[0]
        known = originals.keys(self.table.relation)
        present = {one.column.name: one.column for one in group}
        if known is not None and not all(name in present for name in known[0]):
            known = None  # a migration took the key: no row can be recognised
        self.key_columns = [present[name] for name in known[0]] if known else []
        # What the source did not have cannot be compared, so it cannot be shown to be anonymised.
        self.cells = [None if known is None else originals.of(column) for column in todo]
        self.always: set[int] = set()

    def _select(self) -> str:
        return select([*self.key_columns, *self.todo], self.table, first="t.ctid::text")

    def _flagged(self, rows: Sequence[Sequence[str | None]]) -> list[tuple[str, str]]:
        """The ctid of each row with work, and a flag a column: "1" where it must be rewritten."""
        found = []
        start = 1 + len(self.key_columns)
        keyed = bool(self.key_columns)
        for row in rows:
            key = "\x1f".join(value or "" for value in row[1:start])
            flags = "".join(
                "1" if raw and self._must_go(at, key, raw, keyed) else "0"
                for at, raw in enumerate(row[start:])
            )
            if "1" in flags:
                found.append((str(row[0]), flags))
        return found

    def _must_go(self, at: int, key: str, raw: str, keyed: bool) -> bool:
        cells = self.cells[at]
        if cells is None or at in self.always or cells.unchanged(key, raw, keyed=keyed):
            return True
        column = self.todo[at]
        return column.type.family not in MUTE and bool(
            self.originals.distinctive.find(searched(column, raw))
        )

    def _update(self, unique_key: str) -> str:
        inner, sets = [], []
        for at, column in enumerate(self.todo):
            name = column_name("o", column.name)
            key = "k.u" if column.unique else "k.k"
            hashed = None
            if column.type.family not in ("json", "jsonb", "array", "hstore", "composite"):
                # Unique, and equal but for case: the second try tells those apart as well.
                exact = column.unique and unique_key != self.key
                made = EXACT if exact else HASHED
                inner.append(f"{made.format(key=key, value=f'{name}::text')} AS h{at}")
                hashed = f"s.h{at}"
            old = column_name("t", column.name)
            new = pseudonym(column.type, old, f"s.{key[2:]}", hashed=hashed, unique=column.unique)
            sets.append(
                f"{ident(column.name)} = CASE WHEN substr(s.flags, {at + 1}, 1) = '1' "
                f"THEN {new} ELSE {old} END"
            )
        parts = ", ".join(["o.ctid AS id", "m.flags", "k.k", "k.u", *inner])
        table = self.table.sql_table
        # OFFSET 0 keeps the planner from computing each hash once for every place that uses it.
        rest = (
            f"UPDATE ONLY {table} AS t SET {', '.join(sets)} FROM (SELECT {parts} FROM k, "
            f"pg_temp.biso_marks m JOIN ONLY {table} AS o ON o.ctid = m.id OFFSET 0) AS s "
            f"WHERE t.ctid = s.id"
        )
        return "WITH k(k, u) AS (SELECT %s::text, %s::text) " + rest.replace("%", "%%")

    def _apply(self, marks: Sequence[tuple[str, str]], update: str, unique_key: str) -> None:
        with self.stage.cursor() as cursor:
            with cursor.copy(b"COPY pg_temp.biso_marks (id, flags) FROM STDIN") as copy:
                for mark in marks:
                    copy.write_row(mark)
            # The key is a parameter: neither in the statement's text nor in pg_stat_activity.
            cursor.execute(update.encode(), (self.key, unique_key))
            cursor.execute(b"TRUNCATE pg_temp.biso_marks")

    def _widen(self) -> None:
        """Where rows were sampled, one survivor stands for others: its whole column goes."""
        if self.originals.share(self.table.relation) >= 1:
            return
        for rows in _batches(self.stage, self._select()):
            for _, flags in self._flagged(rows):
                self.always |= {at for at, flag in enumerate(flags) if flag == "1"}

    def run(self, attempt: int) -> list[int]:
        """Rewrites; gives the number of cells a column. Inside a transaction."""
        stage, table = self.stage, self.table.sql_table
        forced = _forced(stage, self.table)
        if forced:
            execute(stage, f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        # An audit trigger would write the originals elsewhere. Only a superuser may set
        # session_replication_role; the owner may do this.
        triggers = _triggers(stage, self.table)
        for name, _ in triggers:
            execute(stage, f"ALTER TABLE {table} DISABLE TRIGGER {ident(name)}")
        # By ctid, row for row: a hash join would read the whole table for every batch.
        execute(stage, "SET LOCAL enable_hashjoin = off")
        execute(stage, "SET LOCAL enable_mergejoin = off")
        execute(stage, "CREATE TEMP TABLE biso_marks (id tid, flags text) ON COMMIT DROP")
        self._widen()
        unique_key = f"{self.key}{attempt}" if attempt else self.key
        update = self._update(unique_key)
        counts = [0] * len(self.todo)
        for rows in _batches(stage, self._select()):
            marks = self._flagged(rows)
            if not marks:
                continue
            for _, flags in marks:
                for at, flag in enumerate(flags):
                    counts[at] += flag == "1"
            self._apply(marks, update, unique_key)
        # ALTER TABLE refuses while deferred checks are pending.
        execute(stage, "SET CONSTRAINTS ALL IMMEDIATE")
        for name, state in triggers:
            execute(stage, f"ALTER TABLE {table} {_ENABLE[state]} {ident(name)}")
        if forced:
            execute(stage, f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        execute(stage, "DROP TABLE pg_temp.biso_marks")
        if any(counts):
            execute(stage, f"ANALYZE {table}")
        return counts


def _mask_table(
    stage: psycopg.Connection[Any], group: Sequence[Classified], originals: Originals,
    todo: Sequence[Column], key: str,
) -> list[int]:  # fmt: skip
    from psycopg.errors import UniqueViolation

    doing = f"masking table {todo[0].relation}"

    def once(attempt: int) -> list[int] | None:
        try:
            with stage.transaction():
                settle(stage)
                for function in FUNCTIONS:
                    execute(stage, function)
                return _Table(stage, group, originals, todo, key).run(attempt)
        except UniqueViolation:
            if attempt + 1 == _TRIES:
                raise
            return None

    for attempt in range(_TRIES):
        counts = quiet(doing, once, attempt)
        if counts is not None:
            return counts
    return [0] * len(todo)


def _mask_objects(stage: psycopg.Connection[Any]) -> int:
    with stage.transaction():
        settle(stage)
        for function in FUNCTIONS:
            execute(stage, function)
        numbers = [oid for oid, data in large_objects(stage) if data.strip(b"\0")]
        stage.execute(
            b"SELECT pg_temp.biso_object(o, %s::bytea) FROM unnest(%s::oid[]) o",
            (_PLACEHOLDER, numbers),
        )
    return len(numbers)


def _refresh(stage: psycopg.Connection[Any]) -> int:
    """Refreshes what was filled, in the order of creation: a view can only rest on older ones."""
    views = query(
        stage,
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid",
    )
    for schema, name in views:
        doing = f"refreshing materialized view {schema}.{name}"
        view = ident(schema, name)
        quiet(doing, execute, stage, f"REFRESH MATERIALIZED VIEW {view}")
        quiet(doing, execute, stage, f"ANALYZE {view}")
    return len(views)


_COMMENTS: Final = """
SELECT i.type, i.identity, d.description FROM pg_catalog.pg_description d
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE d.objoid >= 16384
"""


def _mask_comments(stage: psycopg.Connection[Any], originals: Originals) -> int:
    count = 0
    with stage.transaction():
        settle(stage)
        for kind, identity, text in query(stage, _COMMENTS):
            if originals.distinctive.find(text):
                what = kind.upper()
                if what.endswith(" COLUMN"):
                    what = "COLUMN"
                elif what.endswith(" CONSTRAINT"):
                    what = "CONSTRAINT"
                execute(stage, f"COMMENT ON {what} {identity} IS NULL")
                count += 1
    return count


def mask(
    stage: psycopg.Connection[Any],
    originals: Originals,
    inventory: Sequence[Classified],
    *,
    keep: Collection[str] = (),
    off: Collection[str] = (),
    on_table: Callable[[str], None] | None = None,
) -> Masked:
    """Rewrites in the stage what is personal and still original. `inventory` is that of the stage
    (see `classify.extend`); `keep` names tables that stay the test instance's own; `off` names
    rules (`Classified.kind`, "view", "comment") that are left out. Each table is one transaction
    where the connection is in autocommit. Raises StepFailed naming table and constraint, never a
    value. The key is drawn here, given to the server as a parameter, and forgotten."""
    key = secrets.token_hex(16)
    cells: list[tuple[str, int]] = []
    for group in tables(inventory):
        todo = [
            one.column
            for one in group
            if one.personal and one.kind not in off and maskable(one.column)
        ]
        relation = group[0].column.relation
        if not todo or relation in keep:
            continue
        if on_table is not None:
            on_table(relation)
        counts = _mask_table(stage, group, originals, todo, key)
        cells += [(c.label, n) for c, n in zip(todo, counts, strict=True) if n]
    objects = any(
        one.personal and one.column.kind == "large objects" and one.kind not in off
        for one in inventory
    )
    done = Masked(cells=tuple(cells))
    if objects:
        count = quiet("masking large objects", _mask_objects, stage)
        done = replace(done, large_objects=count)
    if "comment" not in off:
        count = quiet("masking comments", _mask_comments, stage, originals)
        done = replace(done, comments=count)
    if "view" not in off:
        done = replace(done, views=_refresh(stage))
    return done
