"""Columns that hold the same values because a foreign key says so: what is personal on one side is
on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from biso_tasks.privacy.sqltext import query

if TYPE_CHECKING:
    import psycopg

    from biso_tasks.privacy.classify import Classified

__all__ = ["Node", "components", "linked", "node"]

Node = tuple[str, str, str]  # schema, table, column

_PAIRS = """
SELECT n.nspname, c.relname, a.attname, m.nspname, d.relname, b.attname
FROM pg_catalog.pg_constraint k
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS p(here, there)
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.here
JOIN pg_catalog.pg_class d ON d.oid = k.confrelid
JOIN pg_catalog.pg_namespace m ON m.oid = d.relnamespace
JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = p.there
WHERE k.contype = 'f'
UNION ALL -- a partition has the columns of the table that it is a part of
SELECT n.nspname, c.relname, a.attname, m.nspname, d.relname, a.attname
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class d ON d.oid = i.inhparent
JOIN pg_catalog.pg_namespace m ON m.oid = d.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
"""


def node(one: Classified) -> Node:
    """How `components` names the column."""
    return (one.column.schema, one.column.table, one.column.name)


def components(conn: psycopg.Connection[Any]) -> dict[Node, Node]:
    """For each column that a foreign key or a partition ties to another, one that stands for all
    that are tied together."""
    above: dict[Node, Node] = {}

    def top(one: Node) -> Node:
        while (over := above.setdefault(one, one)) != one:
            above[one] = above.setdefault(over, over)
            one = over
        return one

    for schema, table, column, schema2, table2, column2 in query(conn, _PAIRS):
        above[top((schema, table, column))] = top((schema2, table2, column2))
    return {one: top(one) for one in list(above)}


def linked(
    conn: psycopg.Connection[Any], inventory: Sequence[Classified]
) -> tuple[Classified, ...]:
    """The inventory with each column personal whose foreign key ties it to one that is: both sides
    hold the same values, and are masked alike."""
    tied = components(conn)
    personal: dict[Node, Classified] = {}
    for one in inventory:
        if one.personal and one.column.foreign and node(one) in tied:
            personal.setdefault(tied[node(one)], one)
    result = []
    for one in inventory:
        first = personal.get(tied.get(node(one), node(one))) if one.column.foreign else None
        if first is not None and not one.personal:
            reason = f"foreign key: holds the values of {first.column.label}"
            one = replace(one, personal=True, reason=reason, kind=first.kind, common=False)
        result.append(one)
    return tuple(result)
