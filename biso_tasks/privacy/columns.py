"""What a database holds: every column of every table, partition and materialized view, with what
is needed to judge, read and change it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from biso_tasks.privacy.sqltext import ident, query

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "LARGE_OBJECTS",
    "TEXTS",
    "Column",
    "Family",
    "Type",
    "family_of",
    "partitions",
    "read_columns",
]

Family = Literal[
    "text", "number", "boolean", "date", "timestamp", "time", "json", "jsonb", "bytea", "xml",
    "hstore", "network", "uuid", "enum", "range", "search", "array", "composite", "large object",
    "other",
]  # fmt: skip

_FAMILIES: dict[str, Family] = {
    "text": "text", "varchar": "text", "bpchar": "text", "name": "text", "citext": "text",
    "char": "text", "int2": "number", "int4": "number", "int8": "number", "numeric": "number",
    "float4": "number", "float8": "number", "money": "number", "oid": "number",
    "bool": "boolean", "bit": "boolean", "varbit": "boolean", "date": "date",
    "timestamp": "timestamp", "timestamptz": "timestamp", "time": "time", "timetz": "time",
    "interval": "time", "json": "json", "jsonb": "jsonb", "bytea": "bytea", "xml": "xml",
    "hstore": "hstore", "inet": "network", "cidr": "network", "macaddr": "network",
    "macaddr8": "network", "uuid": "uuid", "tsvector": "search", "pg_lsn": "boolean",
    "xid": "boolean", "xid8": "boolean", "cid": "boolean", "tid": "boolean",
    "regclass": "boolean", "regtype": "boolean", "regproc": "boolean", "regrole": "boolean",
}  # fmt: skip

TEXTS = ("text", "character varying", "character", "citext")  # as regtype calls them


def family_of(name: str) -> Family | None:
    """The family of a type that PostgreSQL knows by this name; None for one that a site made."""
    return _FAMILIES.get(name)


@dataclass(frozen=True, slots=True)
class Type:
    """A type with its domains taken off. `sql` is how to cast to it, domain and length included."""

    name: str
    schema: str
    sql: str
    family: Family
    length: int | None = None  # in characters, None: without limit
    element: Type | None = None  # of an array
    fields: tuple[tuple[str, Type], ...] = ()  # of a composite
    bounds: str = ""  # of a range: the name of the type of its bounds
    labels: tuple[str, ...] = ()  # of an enum


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `rows` is the planner's estimate, -1 where it was never analysed; `paths` what a
    site said of single places in its JSON documents."""

    schema: str
    table: str
    name: str
    type: Type
    kind: Literal["table", "view", "large objects"] = "table"  # "view": a materialized one
    nullable: bool = True
    generated: bool = False
    primary: bool = False
    unique: bool = False
    foreign: bool = False
    partition: bool = False  # takes part in the partition key of an ancestor
    rows: int = -1
    paths: tuple[tuple[str, str], ...] = ()

    @property
    def relation(self) -> str:
        """`table`, or `schema.table` outside `public`: how people name it."""
        return self.table if self.schema == "public" else f"{self.schema}.{self.table}"

    @property
    def label(self) -> str:
        """`table.column`: how findings and overrides name it."""
        if self.kind == "large objects":
            return self.relation
        return f"{self.relation}.{self.name}"

    @property
    def sql_table(self) -> str:
        return ident(self.schema, self.table)


LARGE_OBJECTS = Column(
    schema="public",
    table="large objects",
    name="data",
    type=Type("bytea", "pg_catalog", "bytea", "large object"),
    kind="large objects",
)

_TYPES = """
SELECT t.oid::int8, n.nspname, t.typname, t.typtype::text, t.typcategory::text,
       t.typbasetype::int8, t.typelem::int8, t.typrelid::int8, t.typtypmod,
       COALESCE(r.rngsubtype::regtype::text, ''),
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
"""

_FIELDS = """
SELECT a.attrelid::int8, a.attname, a.atttypid::int8, a.atttypmod
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""

# Columns that an index reads: plainly, in an expression or in its condition; a constraint stands
# between an index and its columns in pg_depend, so the keys are taken from pg_index as well.
_COLUMNS = """
WITH RECURSIVE up(leaf, parent) AS (
    SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits
    UNION SELECT u.leaf, i.inhparent FROM up u JOIN pg_catalog.pg_inherits i
        ON i.inhrelid = u.parent
), parts AS (
    SELECT u.leaf, a.attname FROM up u
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = u.parent
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid
    WHERE a.attnum = ANY (p.partattrs::int2[]) OR EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = p.partrelid
          AND d.refobjid = p.partrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i')
), uniques AS (
    SELECT i.indrelid, unnest(i.indkey::int2[]) AS attnum, i.indisprimary
    FROM pg_catalog.pg_index i WHERE i.indisunique OR i.indisexclusion
    UNION
    SELECT i.indrelid, d.refobjsubid::int2, false FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass
        AND d.objid = i.indexrelid AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.refobjid = i.indrelid
    WHERE i.indisunique OR i.indisexclusion
), keys AS (
    SELECT conrelid AS relid, unnest(conkey) AS attnum FROM pg_catalog.pg_constraint
        WHERE contype = 'f'
    UNION
    SELECT confrelid, unnest(confkey) FROM pg_catalog.pg_constraint WHERE contype = 'f'
)
SELECT n.nspname, c.relname, c.relkind::text, a.attname, a.atttypid::int8, a.atttypmod,
    NOT a.attnotnull, a.attgenerated <> '',
    EXISTS (SELECT FROM uniques u WHERE u.indrelid = c.oid AND u.attnum = a.attnum
        AND u.indisprimary),
    EXISTS (SELECT FROM uniques u WHERE u.indrelid = c.oid AND u.attnum = a.attnum),
    EXISTS (SELECT FROM keys k WHERE k.relid = c.oid AND k.attnum = a.attnum),
    EXISTS (SELECT FROM parts p WHERE p.leaf = c.oid AND p.attname = a.attname),
    c.reltuples::int8
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'm')
  AND c.relispopulated
"""

_ALL = """
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname, a.attnum
"""


class _Types:
    """pg_type, read once; resolves domains, arrays and composites."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._rows = {row[0]: row[1:] for row in query(conn, _TYPES)}
        self._fields: dict[int, list[tuple[str, int, int]]] = {}
        for relation, name, oid, modifier in query(conn, _FIELDS):
            self._fields.setdefault(relation, []).append((name, oid, modifier))

    def resolve(self, oid: int, modifier: int) -> Type:
        schema, name, kind, category, base, element, relation, mod, bounds, labels = self._rows[oid]
        sql = ident(schema, name)
        if kind == "d":
            inner = self.resolve(base, mod)
            return replace(inner, sql=sql)
        length = None
        if name in ("varchar", "bpchar") and modifier >= 5:
            length = modifier - 4
            sql = f"{sql}({length})"
        elif name == "bpchar":
            sql = "pg_catalog.bpchar"
        elif name == "name":
            length = 63
        elif name == "char":
            length = 1
        if kind == "e":
            return Type(name, schema, sql, "enum", labels=tuple(labels))
        if kind in ("r", "m"):
            # A range of texts is searched like a text.
            family: Family = "other" if bounds in TEXTS else "range"
            return Type(name, schema, sql, family, bounds=bounds if kind == "r" else "")
        if kind == "c":
            fields = tuple((n, self.resolve(o, m)) for n, o, m in self._fields.get(relation, ()))
            return Type(name, schema, sql, "composite" if fields else "other", fields=fields)
        if category == "A" and element:
            # The modifier of an array column is that of its elements.
            return Type(name, schema, sql, "array", element=self.resolve(element, modifier))
        return Type(name, schema, sql, _FAMILIES.get(name, "other"), length)


def _columns(conn: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> tuple[Column, ...]:
    types = _Types(conn)
    return tuple(
        Column(
            schema=schema,
            table=table,
            name=name,
            type=types.resolve(oid, modifier),
            kind="view" if kind == "m" else "table",
            nullable=nullable,
            generated=generated,
            primary=primary,
            unique=unique,
            foreign=foreign,
            partition=partition,
            rows=estimate,
        )
        for schema, table, kind, name, oid, modifier, nullable, generated, primary, unique,
        foreign, partition, estimate in rows
    )  # fmt: skip


def read_columns(conn: psycopg.Connection[Any]) -> tuple[Column, ...]:
    """Every column that holds data of its own, in the order of schema, table and position, and the
    large objects as one last entry. Left out: system schemas, what belongs to an extension, plain
    views, partitioned parents (their partitions are there), foreign tables."""
    rows = query(conn, _COLUMNS + _ALL)
    return (*_columns(conn, rows), LARGE_OBJECTS)


def partitions(conn: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    """Each partition, by schema and name, with the partitioned table that it is a part of in the
    end, as people name it: partitions come and go by themselves."""
    rows = query(
        conn,
        """WITH RECURSIVE up(leaf, top) AS (
             SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
             UNION ALL SELECT u.leaf, i.inhparent FROM up u
             JOIN pg_catalog.pg_inherits i ON i.inhrelid = u.top
           )
           SELECT n.nspname, c.relname, m.nspname, t.relname FROM up
           JOIN pg_catalog.pg_class c ON c.oid = up.leaf
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_class t ON t.oid = up.top AND NOT t.relispartition
           JOIN pg_catalog.pg_namespace m ON m.oid = t.relnamespace""",
    )
    return {
        (schema, table): top if above == "public" else f"{above}.{top}"
        for schema, table, above, top in rows
    }
