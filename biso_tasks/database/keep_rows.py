"""Single rows of the test instance that survive a refresh: `[refresh] keep_rows`, by a condition.

A test user of both instances is one row under two numbers, and one number may be two different
rows. So a row is found again by another unique key than its number (the login): then it takes the
number that it has in production, and what production's rows say of it holds. A number that is
somebody else's in production is replaced by a new one, in the kept rows that refer to it as well.

All of it is one transaction. Foreign keys are off meanwhile and checked at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from biso_tasks.database.connect import connect
from biso_tasks.database.keep import Kept, check_tables, find_tables, keys_and_triggers
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import label
from biso_tasks.database.sqltext import Name, Raw, compose, name, query
from biso_tasks.errors import Refused, StepFailed

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["KeptRows", "keep_rows"]

_OLD = "biso tasks old number"  # no column of anybody


@dataclass(frozen=True, slots=True)
class KeptRows:
    """How many rows of a table were put into the stage, and how many of them got a new number."""

    rows: int
    renumbered: int = 0


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table whose rows that fulfil `condition` survive; `held` has them meanwhile, `theirs` the
    keys of production's. `number` is its primary key where that is one integer, `known_by` another
    unique key of it."""

    table: Name
    held: Name
    theirs: Name
    condition: Raw
    columns: tuple[str, ...]
    key: tuple[str, ...]
    number: str | None
    known_by: tuple[str, ...]
    sequences: tuple[Name, ...]

    @property
    def listed(self) -> Raw:
        return Raw(", ".join(map(_quoted, self.columns)))


_Links = Mapping[tuple[Name, Name], tuple[str, ...]]


def keep_rows(server: Server, at_stage: Server, wanted: Mapping[str, str]) -> dict[str, KeptRows]:
    """Put the rows of `server`'s live database that fulfil the conditions of `wanted` (SQL by
    table) into the database that `at_stage` names, in the place of those that fulfil them there;
    what was done, by table. Raises Refused where a table or column is missing, or a key is another
    row's in the stage; DatabaseFailed where a condition or a foreign key does not hold; StepFailed
    where the rows are not all there. Then nothing was changed."""
    if not wanted:
        return {}
    with connect(server) as live, connect(at_stage) as connection:
        live.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        problems = check_tables(live, connection, list(wanted), key="keep_rows")
        if problems:
            raise Refused("; ".join(problems), hint="correct keep_rows in [refresh]")
        found = {word: find_tables(live, word) for word in wanted}
        rows = [
            _read(connection, kept, Raw(f"({wanted[word]}\n)"), number)
            for number, (word, kept) in enumerate(found.items())
        ]
        links = _links(connection, rows)
        rows = _parents_first(rows, links)
        for one in rows:
            _hold(live, connection, one)
        connection.execute("SELECT set_config('search_path', '', true)")  # qualified definitions
        tables = [label(kept.table) for family in found.values() for kept in family]
        before, after = keys_and_triggers(connection, tables)
        for statement in before:
            connection.execute(query(statement))
        done = _number(connection, rows, links)
        for one in rows:
            _put(connection, one)
            _check(connection, one)
        for statement in after:
            connection.execute(query(statement))
        for one in rows:
            _move_on(connection, one)
        return done


def _read(connection: Connection, family: Sequence[Kept], condition: Raw, number: int) -> _Rows:
    root = next(kept for kept in family if kept.root)
    columns = tuple(sorted(root.columns))
    keys = connection.execute(
        """SELECT i.indisprimary, k.columns, k.types
             FROM pg_index i CROSS JOIN LATERAL (
                  SELECT array_agg(a.attname::text ORDER BY p.at) AS columns,
                         array_agg(a.atttypid::regtype::text ORDER BY p.at) AS types,
                         bool_and(a.attnotnull) AS given
                    FROM unnest(i.indkey::int2[]) WITH ORDINALITY p(attnum, at)
                    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = p.attnum) k
            WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indisvalid AND i.indimmediate
              AND i.indpred IS NULL AND i.indexprs IS NULL AND k.given
            ORDER BY i.indisprimary DESC, i.indexrelid""",
        (label(root.table),),
    ).fetchall()
    key, types = next(((tuple(c), t) for primary, c, t in keys if primary), ((), []))
    numbered = len(types) == 1 and types[0] in ("smallint", "integer", "bigint")
    others = [tuple(c) for primary, c, _ in keys if not primary and key and key[0] not in c]
    return _Rows(
        table=root.table,
        held=name("pg_temp", f"biso_tasks_held_{number}"),
        theirs=name("pg_temp", f"biso_tasks_theirs_{number}"),
        condition=condition,
        columns=columns,
        key=key,
        number=key[0] if numbered else None,
        known_by=others[0] if numbered and others else (),
        sequences=root.sequences,
    )


def _hold(live: Connection, stage: Connection, one: _Rows) -> None:
    """Test's rows, as text: a binary copy names types by numbers that differ between databases."""
    make = "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WHERE {}"
    held, theirs = name(one.held.parts[-1]), name(one.theirs.parts[-1])
    _run(stage, make, held, one.listed, one.table, Raw("false"))
    key = Raw(", ".join(map(_quoted, one.key)) or "tableoid AS part, ctid AS at")
    _run(stage, make, theirs, key, one.table, one.condition)
    out = compose(
        "COPY (SELECT {} FROM {} WHERE {}) TO STDOUT", one.listed, one.table, one.condition
    )
    into = compose("COPY {} ({}) FROM STDIN", one.held, one.listed)
    with (
        live.cursor() as source,
        stage.cursor() as target,
        source.copy(query(out)) as reading,
        target.copy(query(into)) as writing,
    ):
        for block in reading:
            writing.write(block)


def _links(connection: Connection, rows: Sequence[_Rows]) -> _Links:
    """The columns of one table that hold a number of another, or of itself."""
    found = {}
    for child in rows:
        for parent in rows:
            columns = connection.execute(
                """SELECT a.attname::text FROM pg_constraint k
                     JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
                     JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
                    WHERE k.contype = 'f' AND cardinality(k.conkey) = 1 AND k.conparentid = 0
                      AND k.conrelid = %s::regclass AND k.confrelid = %s::regclass
                      AND b.attname = %s""",
                (label(child.table), label(parent.table), parent.number),
            ).fetchall()
            if columns:
                found[child.table, parent.table] = tuple(column for (column,) in columns)
    return found


def _parents_first(rows: Sequence[_Rows], links: _Links) -> list[_Rows]:
    """In a circle the order is as the site wrote it."""
    left, result = list(rows), list[_Rows]()
    while left:
        free = [
            one for one in left
            if not any((one.table, other.table) in links for other in left if other is not one)
        ]  # fmt: skip
        result.append((free or left)[0])
        left.remove(result[-1])
    return result


def _number(connection: Connection, rows: Sequence[_Rows], links: _Links) -> dict[str, KeptRows]:
    """Give the held rows the keys that they have, or can have, in the stage."""
    done = {}
    for at, one in enumerate(rows):
        for parent in rows[:at]:
            _follow(connection, one, parent, links)
        renumbered = 0
        if one.number is not None:
            renumbered = _renumber(connection, one, one.number)
        _require_free(connection, one)
        held = compose("SELECT count(*) FROM {}", one.held)
        done[label(one.table)] = KeptRows(_ask(connection, held), renumbered)
    for at, one in enumerate(rows):
        for parent in rows[at:]:
            _follow(connection, one, parent, links)
    return done


def _renumber(connection: Connection, one: _Rows, number: str) -> int:
    """How many rows have another number than before: production's for the same row, or a new one
    where theirs is another row's."""
    column, old = name(number), name(_OLD)
    _run(connection, "ALTER TABLE {} ADD {} bigint", one.held, old)
    _run(connection, "UPDATE {} SET {} = {}", one.held, old, column)
    if one.known_by:
        _run(
            connection,
            "UPDATE {} k SET {} = s.{} FROM {} s WHERE {}",
            *(one.held, column, column, one.table, _same(one.known_by)),
        )
    # Taken is what the stage has in a row that stays, and what another held row has found.
    _run(
        connection,
        """UPDATE {} k SET {} = n.number FROM (
               SELECT taken.{} AS old, row_number() OVER (ORDER BY taken.{}) + (
                          SELECT max(number) FROM (SELECT max({}) AS number FROM {}
                                                   UNION ALL SELECT max({}) FROM {}) highest
                      ) AS number
                 FROM {} taken WHERE taken.{} = taken.{}
                  AND (taken.{} IN (SELECT {} FROM {} EXCEPT SELECT {} FROM {})
                       OR taken.{} IN (SELECT {} FROM {} WHERE {} <> {}))) n
            WHERE k.{} = n.old""",
        *(one.held, column, old, old, column, one.table, column, one.held),
        *(one.held, old, column),
        *(column, column, one.table, column, one.theirs),
        *(column, column, one.held, old, column),
        old,
    )
    return _ask(connection, "SELECT count(*) FROM {} WHERE {} <> {}", one.held, old, column)


def _follow(connection: Connection, child: _Rows, parent: _Rows, links: _Links) -> None:
    """What refers to a row that got another number refers to that."""
    if parent.number is None:
        return
    for column in links.get((child.table, parent.table), ()):
        _run(
            connection,
            "UPDATE {} c SET {} = p.{} FROM {} p WHERE c.{} = p.{} AND p.{} <> p.{}",
            *(child.held, name(column), name(parent.number), parent.held, name(column)),
            *(name(_OLD), name(_OLD), name(parent.number)),
        )


def _require_free(connection: Connection, one: _Rows) -> None:
    if not one.key or one.number is not None:
        return
    taken = _ask(
        connection,
        """SELECT count(*) FROM {} k JOIN {} s ON {}
            WHERE NOT EXISTS (SELECT FROM {} s WHERE {})""",
        *(one.held, one.table, _same(one.key), one.theirs, _same(one.key)),
    )
    if taken:
        raise Refused(
            f"keep_rows: {taken} row(s) of {label(one.table)} have the key of another row, which "
            "came from production",
            hint="a condition has to hold for the same rows in both instances; correct keep_rows "
            "in [refresh]",
        )


def _put(connection: Connection, one: _Rows) -> None:
    if not one.key:
        gone = "DELETE FROM {} s USING {} t WHERE s.tableoid = t.part AND s.ctid = t.at"
        _run(connection, gone, one.table, one.theirs)
        _run(connection, _INSERT, one.table, one.listed, one.listed, one.held, Raw(""))
        return
    _run(
        connection,
        "DELETE FROM {} s USING {} t WHERE {} AND NOT EXISTS (SELECT FROM {} k WHERE {})",
        *(one.table, one.theirs, _same(one.key, "t"), one.held, _same(one.key)),
    )
    others = [column for column in one.columns if column not in one.key]
    sets = ", ".join(f"{_quoted(c)} = EXCLUDED.{_quoted(c)}" for c in others)
    action = Raw(f"UPDATE SET {sets}" if sets else "NOTHING")
    key = Raw(", ".join(map(_quoted, one.key)))
    conflict = Raw(compose("ON CONFLICT ({}) DO {}", key, action))
    _run(connection, _INSERT, one.table, one.listed, one.listed, one.held, conflict)


def _move_on(connection: Connection, one: _Rows) -> None:
    """No sequence gives a number that a kept row has. Last of all: setval() is never undone."""
    if one.number is None:
        return
    for sequence in one.sequences:
        # It may be another column's: it only ever moves on.
        _run(
            connection,
            "SELECT setval({}::regclass, (SELECT max({}) FROM {})) FROM {} WHERE last_value < "
            "(SELECT max({}) FROM {})",
            *(label(sequence), name(one.number), one.held, sequence),
            *(name(one.number), one.held),
        )


_INSERT = "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} {}"


def _check(connection: Connection, one: _Rows) -> None:
    """Every held row stands in the stage; as text, since not every type can be compared."""
    lost = _ask(
        connection,
        "SELECT count(*) FROM (SELECT ROW({})::text FROM {} EXCEPT SELECT ROW({})::text FROM {}) x",
        *(one.listed, one.held, one.listed, one.table),
    )
    if lost:
        raise StepFailed(f"keep_rows: {lost} row(s) of {label(one.table)} are not in the stage")


def _same(columns: Sequence[str], other: str = "k") -> Raw:
    return Raw(" AND ".join(f"s.{_quoted(c)} = {other}.{_quoted(c)}" for c in columns))


def _quoted(column: str) -> str:
    return compose("{}", name(column))


def _run(connection: Connection, template: LiteralString, *parts: Name | Raw | str) -> None:
    connection.execute(query(compose(template, *parts)))


def _ask(connection: Connection, template: LiteralString, *parts: Name | Raw | str) -> int:
    row = connection.execute(query(compose(template, *parts))).fetchone()
    assert row is not None
    return int(row[0])
