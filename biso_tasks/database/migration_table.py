"""Where a database remembers which migrations were applied. BISO's contract names no table: it is
the one that the site names, or one that is called so, or one whose values are migrations' names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import compose, name, query
from biso_tasks.errors import Refused

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Remembered", "read_remembered", "remembered"]

_MOST_ROWS: Final = 20_000  # more than any application has migrations


@dataclass(frozen=True, slots=True)
class Remembered:
    """What one column of one table holds."""

    schema: str
    table: str
    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    called: bool  # surely a table of migrations, by its name
    likely: bool  # perhaps one: its values decide
    small: bool
    columns: tuple[str, ...]  # the likeliest first
    texts: tuple[str, ...]


# "Migration" is also what people do who are counselled: a table's name alone decides only where
# no other table holds what looks like the names of migrations.
_TABLES: Final = r"""
SELECT n.nspname, c.relname,
       c.relname ~* '(^|_)migration(s|en)?($|_)|^(db|datenbank)_?version$|^phinxlog$|^flyway_'
         OR c.relname ~* '(^|_)schema_?(version|versions|history|migrations?)$',
       c.relname ~* 'migration|schema|version|changelog|update|patch|phinx|flyway',
       pg_relation_size(c.oid) < 8388608,
       array_agg(a.attname::text ORDER BY
                 (a.attname ~* '(name|version|migration|script|file|datei)') DESC,
                 t.typcategory = 'S' DESC, a.attnum),
       coalesce(array_agg(a.attname::text ORDER BY a.attnum)
                FILTER (WHERE t.typcategory = 'S'), '{}')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
   AND (t.typcategory = 'S' OR t.typname IN ('int4', 'int8', 'numeric'))
   AND has_column_privilege(c.oid, a.attnum, 'SELECT')
   AND has_schema_privilege(n.oid, 'USAGE')
 GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2"""

# As `stem` in stage/migrations.py: without folder, namespace and extension.
_STEM: Final = (
    r"regexp_replace(regexp_replace(lower({}::text), '^.*[\\/]', ''), '\.(sql|php)$', '')"
)


def remembered(
    server: Server,
    wanted: str | None,
    *,
    is_name: Callable[[str], bool],
    known: Collection[str],
) -> tuple[Remembered, ...]:
    """What the tables of the live database hold that remember applied migrations; empty where there
    is none. `wanted` is the one that the site names, as `table` or `schema.table`; `is_name` tells
    a migration's name, `known` are the stems of such names. Raises Refused where `wanted` is not
    there."""
    with connect(server) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        found = read_remembered(connection, wanted, is_name=is_name, known=known)
    if wanted and not found:
        raise Refused(
            f"{server}: there is no table {wanted!r} that remembers migrations",
            hint="correct `migrations` under the environment's `database` in biso.toml",
        )
    return found


def read_remembered(
    connection: Connection,
    wanted: str | None,
    *,
    is_name: Callable[[str], bool],
    known: Collection[str],
) -> tuple[Remembered, ...]:
    """As `remembered`, of the database that `connection` leads to; empty where `wanted` is not
    there."""
    rows = connection.execute(_TABLES.encode()).fetchall()
    tables = [
        _Table(schema, table, called, likely, small, tuple(columns), tuple(texts))
        for schema, table, called, likely, small, columns, texts in rows
    ]
    if wanted:
        named = [one for one in tables if wanted in (one.name, f"{one.schema}.{one.name}")]
        return tuple(_best(connection, one, is_name, known)[0] for one in named)
    looked = [
        (one, *_best(connection, one, is_name, known))
        for one in tables
        if one.called or (one.likely and one.small)
    ]
    plain = tuple(found for _, found, share in looked if share >= 0.5)
    if plain:
        return plain
    if any(one.called for one, _, _ in looked):
        return tuple(found for one, found, _ in looked if one.called)
    return tuple(_by_content(connection, [one for one in tables if one.small], known))


def _best(
    connection: Connection, table: _Table, is_name: Callable[[str], bool], known: Collection[str]
) -> tuple[Remembered, float]:
    """The column that holds names, and which share of its values are some."""
    best: tuple[Remembered, float] | None = None
    for column in table.columns:
        found = _read(connection, table, column)
        share = _share(found.values, lambda value: _stem(value) in known or is_name(value))
        if best is None or share > best[1]:
            best = (found, share)
    assert best is not None
    return best


def _read(connection: Connection, table: _Table, column: str) -> Remembered:
    rows = connection.execute(
        query(compose("SELECT DISTINCT {}::text FROM {} LIMIT {}", name(column),
                      name(table.schema, table.name), _MOST_ROWS))
    )  # fmt: skip
    values = frozenset(row[0] for row in rows if row[0])
    return Remembered(table.schema, table.name, column, values)


def _by_content(
    connection: Connection, tables: Sequence[_Table], known: Collection[str]
) -> Iterable[Remembered]:
    """Tables of any name, half of whose values in one column are names that are known: all of them
    asked at once."""
    # A small number is anybody's key.
    names = [one for one in known if not one.isdigit() or len(one) >= 8]
    asked = [(table, column) for table in tables for column in table.texts]
    if not names or not asked:
        return
    parts = [
        compose(
            "SELECT {}, count(*), count(*) FILTER (WHERE v = ANY({}))"
            " FROM (SELECT " + _STEM + " AS v FROM {} LIMIT {}) s",
            number, sorted(names), name(column), name(table.schema, table.name), _MOST_ROWS,
        )
        for number, (table, column) in enumerate(asked)
    ]  # fmt: skip
    for number, rows, hits in connection.execute(query(" UNION ALL ".join(parts))).fetchall():
        if hits and hits * 2 >= rows:
            yield _read(connection, *asked[number])


def _share(values: Collection[str], good: Callable[[str], bool]) -> float:
    return sum(map(good, values)) / len(values) if values else 0.0


def _stem(value: str) -> str:
    last = value.replace("\\", "/").rpartition("/")[2].lower()
    return last.removesuffix(".sql").removesuffix(".php")
