"""Comments that hold an original are removed. Each kind of object has its own way to be named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.masking.left import Left
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.schema_texts import COMMENTS, shown
from biso_tasks.privacy.sqltext import execute, query, quiet, settle

if TYPE_CHECKING:
    import psycopg

__all__ = ["comment_target", "mask_comments"]

# As pg_identify_object calls them → as COMMENT ON does, where the identity is the rest: `t.c`,
# `c on t`, `f(integer)`, `o USING btree`.
_KINDS: Final = {
    "table": "TABLE", "view": "VIEW", "materialized view": "MATERIALIZED VIEW", "index": "INDEX",
    "sequence": "SEQUENCE", "foreign table": "FOREIGN TABLE", "table column": "COLUMN",
    "view column": "COLUMN", "materialized view column": "COLUMN",
    "foreign table column": "COLUMN", "composite type column": "COLUMN",
    "table constraint": "CONSTRAINT", "trigger": "TRIGGER", "rule": "RULE", "policy": "POLICY",
    "function": "FUNCTION", "procedure": "PROCEDURE", "aggregate": "AGGREGATE", "type": "TYPE",
    "domain": "DOMAIN", "composite type": "TYPE", "schema": "SCHEMA", "cast": "CAST",
    "collation": "COLLATION", "conversion": "CONVERSION", "operator": "OPERATOR",
    "operator class": "OPERATOR CLASS", "operator family": "OPERATOR FAMILY",
    "extension": "EXTENSION", "event trigger": "EVENT TRIGGER", "language": "LANGUAGE",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER", "server": "SERVER",
    "publication": "PUBLICATION", "subscription": "SUBSCRIPTION",
    "text search configuration": "TEXT SEARCH CONFIGURATION",
    "text search dictionary": "TEXT SEARCH DICTIONARY",
    "text search parser": "TEXT SEARCH PARSER", "text search template": "TEXT SEARCH TEMPLATE",
    "statistics object": "STATISTICS", "access method": "ACCESS METHOD",
    "large object": "LARGE OBJECT", "database": "DATABASE", "transform": "TRANSFORM",
}  # fmt: skip


def comment_target(kind: str, identity: str) -> str | None:
    """What stands after COMMENT ON, for an object as pg_identify_object names it; None for a kind
    that is not known here."""
    if kind == "domain constraint":
        name, _, domain = identity.rpartition(" on ")
        return f"CONSTRAINT {name} ON DOMAIN {domain}"
    what = _KINDS.get(kind)
    return None if what is None else f"{what} {identity}"


def mask_comments(
    stage: psycopg.Connection[Any], originals: Originals
) -> tuple[int, tuple[Left, ...]]:
    """Removes the comments that hold an original; gives their number and which had to stay. Raises
    StepFailed where comments cannot be read."""
    from psycopg import Error

    count = 0
    left = []
    with stage.transaction():
        quiet("masking comments", settle, stage)
        for kind, identity, text in quiet("reading comments", query, stage, COMMENTS):
            if not originals.distinctive.find(text):
                continue
            target = comment_target(kind, identity)
            place = shown(f"comment on {kind} {identity}", originals.distinctive.find)
            remedy = "remove it in production (COMMENT ON … IS NULL), or in a plugin (biso_scrub)"
            if target is None:
                left.append(Left(place, f"how to remove it from a {kind} is not known", remedy))
                continue
            try:
                with stage.transaction():
                    execute(stage, f"COMMENT ON {target} IS NULL")
                count += 1
            except Error as error:  # not ours to write: the schema public of an older server
                left.append(Left(place, f"refused, SQLSTATE {error.sqlstate}", remedy))
    return count, tuple(left)
