"""Originals where nobody looks for text: a phone or AHV number in a column of numbers, a family
name as the name of a member in a document. Only what holds one is changed; type and uniqueness
stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.cells import FEW, numbers
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.detect import spoken
from biso_tasks.privacy.masking.left import Left
from biso_tasks.privacy.masking.session import set_attempt, set_words
from biso_tasks.privacy.masking.table import TRIES
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.pseudonyms import KEY, pseudonym
from biso_tasks.privacy.sqltext import column_name, execute, ident, query, quiet, settle, stream
from biso_tasks.privacy.writing import all_rows, writable

if TYPE_CHECKING:
    import psycopg

__all__ = ["mask_odd_places"]

_Change = Callable[["psycopg.Connection[Any]", Column, Originals], int]

_WORDS: Final = "(SELECT w FROM pg_temp.biso_key)"
_NAMED: Final = (
    "CASE WHEN e.key = ANY (w) THEN pg_temp.biso_name(e.key, k, 1000000, 0, w) ELSE e.key END"
)
# Unlike biso_json: all that is no member of such a name stays as it is.
_MEMBERS: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.biso_members(j jsonb, k text, w text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE t text := jsonb_typeof(j); r jsonb;
BEGIN
 IF t = 'array' THEN
  SELECT jsonb_agg(pg_temp.biso_members(e.v, k, w) ORDER BY e.o) INTO r
  FROM jsonb_array_elements(j) WITH ORDINALITY e(v, o);
 ELSIF t = 'object' THEN
  SELECT jsonb_object_agg({_NAMED}, pg_temp.biso_members(e.value, k, w)) INTO r
  FROM jsonb_each(j) e;
 END IF;
 RETURN COALESCE(r, j);
END $$"""


def mask_odd_places(
    stage: psycopg.Connection[Any], group: Sequence[Classified], originals: Originals
) -> tuple[dict[str, int], tuple[Left, ...]]:
    """Of one table, in one transaction a column: the number of cells by `table.column`, and what
    had to be left, since a constraint takes no other number. Keys stay: others refer to them.
    Raises StepFailed naming table and constraint, never a value."""
    counts: dict[str, int] = {}
    left: list[Left] = []
    for one in group:
        column = one.column
        if column.kind != "table" or column.generated or column.partition:
            continue
        if column.primary or column.foreign:
            continue
        if column.type.family in ("json", "jsonb", "hstore"):
            change = _members
        elif not one.personal and numbers(column, "t") is not None:
            change = _numbers
        else:
            continue
        doing = f"masking {column.label}"
        done = quiet(doing, _column, stage, column, originals, change)
        if isinstance(done, Left):
            left.append(done)
        elif done:
            counts[column.label] = done
    return counts, tuple(left)


def _column(
    stage: psycopg.Connection[Any], column: Column, originals: Originals, change: _Change
) -> int | Left:
    from psycopg.errors import CheckViolation, NumericValueOutOfRange, UniqueViolation

    for attempt in range(TRIES):
        try:
            with stage.transaction():
                settle(stage)
                set_attempt(stage, attempt)
                return change(stage, column, originals)
        except (CheckViolation, NumericValueOutOfRange):
            break
        except UniqueViolation:
            continue
    return Left(
        column.label,
        "its constraints take no other number",
        "let a plugin write it (biso_scrub), or take the value out in production",
    )


def _numbers(stage: psycopg.Connection[Any], column: Column, originals: Originals) -> int:
    value = numbers(column, "t")
    rows = (
        f"SELECT t.ctid::text, {value} FROM ONLY {column.sql_table} AS t WHERE {value} IS NOT NULL"
    )
    with all_rows(stage, column):
        held = [
            ctid
            for ctid, digits in stream(stage, rows)
            if digits and originals.distinctive.find(spoken(digits))
        ]
    if held:
        with writable(stage, column):
            made = pseudonym(column.type, column_name("t", column.name), unique=column.unique)
            text = f"UPDATE ONLY {column.sql_table} AS t SET {ident(column.name)} = {made} "
            stage.execute(
                (text.replace("%", "%%") + "WHERE t.ctid = ANY (%s::tid[])").encode(), [held]
            )
    return len(held)


def _members(stage: psycopg.Connection[Any], column: Column, originals: Originals) -> int:
    name = column_name("t", column.name)
    only = f"ONLY {column.sql_table}"
    if column.type.family == "hstore":
        schema = ident(column.type.schema)
        keys = f"unnest({schema}.akeys({name})) k"
        made = (
            f"(SELECT {schema}.hstore(array_agg({_NAMED}), "
            f"array_agg(e.value)) FROM {schema}.each({name}) e, "
            f"(SELECT {KEY} AS k, {_WORDS} AS w) x)"
        )
    else:
        objects = f"""jsonb_path_query({name}::jsonb, '$.** ? (@.type() == "object")') o"""
        keys = f"{objects}, jsonb_object_keys(o) k"
        made = f"pg_temp.biso_members({name}::jsonb, {KEY}, {_WORDS})::{column.type.sql}"
    counted = (
        f"SELECT k FROM {only} AS t, {keys} WHERE length(k) > 2 GROUP BY k HAVING count(*) < {FEW}"
    )
    with all_rows(stage, column):
        words = [
            word
            for (word,) in query(stage, counted)
            if word[0].isupper() and originals.holds_surname(word)
        ]
    if not words:
        return 0
    set_words(stage, words)
    execute(stage, _MEMBERS)
    with writable(stage, column):
        held = f"EXISTS (SELECT FROM {keys} WHERE k = ANY (ARRAY(SELECT unnest({_WORDS}))))"
        text = f"UPDATE {only} AS t SET {ident(column.name)} = {made} WHERE {held}"
        return stage.execute(text.encode()).rowcount
