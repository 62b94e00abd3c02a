"""Which columns are personal, for this run and without a list: by name, type and content as it is
in the source. What is not provably harmless is personal."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal

from biso_tasks.errors import ConfigError
from biso_tasks.privacy.codes import recognise
from biso_tasks.privacy.columns import Column, Family, read_columns
from biso_tasks.privacy.detect import identifiers, is_ahv
from biso_tasks.privacy.links import linked
from biso_tasks.privacy.sqltext import column_name, ident, query, quiet, settle, stream
from biso_tasks.privacy.words import (
    CODE_NAMES,
    FAMILY_NAMES,
    GIVEN_NAMES,
    LOOKUP_TABLES,
    PERSONAL_NAMES,
    SETTINGS_TABLES,
    TECHNICAL_DATES,
)

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "MIGRATIONS",
    "Classified",
    "Decided",
    "Kind",
    "classify",
    "extend",
    "natural",
    "spare",
]

Kind = Literal[
    "mail", "phone", "identifier", "given", "family", "name", "street", "place", "birth", "text",
    "file", "date", "json", "array", "bytea", "xml", "hstore", "network", "range", "search",
    "composite", "number", "uuid", "large object", "other",
]  # fmt: skip

Decided = Literal["privacy.toml", "plugin", "scan"]

Table = tuple[str, str]  # schema, name

_SAMPLE: Final = 1000
_CODES: Final = 200  # distinct values of a code column at most
_LOOKUP_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Classified:
    """A column with the judgement and why. `kind` is the rule that masks it. `common` says that it
    holds settings, look-up texts or what a person declared harmless: not masked as a whole, but
    searched like any other, for a client's value may stand there too. `decided` is who said so."""

    column: Column
    personal: bool
    reason: str
    kind: Kind
    common: bool = False
    decided: Decided = "scan"


@dataclass(frozen=True, slots=True)
class _Look:
    """What a sample of one column showed."""

    values: tuple[str, ...]
    codes: tuple[str, ...] | None  # all its distinct values, where they are few
    rows: int


_BY_FAMILY: Final[Mapping[Family, Kind]] = {
    "json": "json", "jsonb": "json", "array": "array", "bytea": "bytea", "xml": "xml",
    "hstore": "hstore", "network": "network", "range": "range", "search": "search",
    "composite": "composite", "number": "number", "uuid": "uuid", "date": "date",
    "timestamp": "date", "large object": "large object", "text": "text", "other": "other",
    "boolean": "other", "time": "other", "enum": "other",
}  # fmt: skip


def natural(family: Family) -> Kind:
    """The kind of a column of which only the type is known."""
    return _BY_FAMILY[family]


_HASH: Final = re.compile(
    r"(?:[0-9a-f]{32,128}|[0-9A-F]{32,128}|\$2[aby]\$\d\d\$\S{53}|\$argon2\S+|\$[156y]\$\S+|"
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
)
_LETTERS: Final = re.compile(r"[^\W\d_]+")


def _named(column: Column) -> tuple[Kind, bool] | None:
    # camelCase counts as words too
    name = re.sub(r"(?<=[a-zäöü])(?=[A-ZÄÖÜ])", "_", column.name).casefold()
    for kind, strong, pattern in PERSONAL_NAMES:
        if pattern.search(name):
            return kind, strong  # type: ignore[return-value]
    return None


def _people(values: Sequence[str]) -> int:
    """How many of `values` hold a common name of a person."""
    count = 0
    for value in values:
        found = _LETTERS.findall(value[:80].casefold())
        count += len(found) <= 6 and any(w in GIVEN_NAMES or w in FAMILY_NAMES for w in found)
    return count


def _content(values: Sequence[str]) -> tuple[Kind, str] | None:
    """What the values themselves give away, or None."""
    if not values:
        return None
    found: dict[str, int] = {}
    for value in values:
        for kind in {kind for kind, _ in identifiers(value)}:
            found[kind] = found.get(kind, 0) + 1
    names: Mapping[str, tuple[Kind, str]] = {
        "mail": ("mail", "mail addresses"),
        "phone": ("phone", "phone numbers"),
        "ahv": ("identifier", "AHV numbers"),
        "iban": ("identifier", "IBANs"),
    }
    for word, (kind, what) in names.items():
        if found.get(word):
            part = f"{found[word]} of {len(values)} sampled values hold {what}"
            whole = found[word] * 2 >= len(values) and max(map(len, values)) <= 80
            return (kind if whole else "text"), part
    people = _people(values)
    if people >= 2 and people * 10 >= len(values):
        return "name", f"{people} of {len(values)} sampled values hold names of people"
    return None


def _text(column: Column, look: _Look, table: str) -> tuple[bool, str, Kind, bool]:
    """(personal, reason, kind, common) of a text column."""
    named = _named(column)
    content = _content(look.codes or look.values)
    if table == "settings" and not (named and named[1] and content):
        return (
            False,
            f"table {column.relation} holds settings or texts of the software",
            "text",
            True,
        )
    hashed = sum(1 for v in look.values if _HASH.fullmatch(v))
    if look.values and hashed * 20 >= len(look.values) * 19:
        return False, "content: hashes or random keys", "text", False
    if content is not None and not (column.primary and content[0] == "name"):
        kind = named[0] if named and named[0] != "text" and content[0] != "text" else content[0]
        return True, f"content: {content[1]}", kind, False
    if table == "lookup":
        return False, f"table {column.relation} is a look-up table without people", "text", True
    code = CODE_NAMES.search(column.name.casefold()) is not None
    if look.codes is not None and not (named and named[1]):
        few = len(look.codes) <= 50 or len(look.codes) * 50 <= look.rows
        # Three towns in forty rows prove nothing; twenty brief words in thousands are a list.
        repeated = look.rows >= 100 and len(look.codes) * 10 <= look.rows
        short = all(len(value) <= 40 and len(value.split()) <= 4 for value in look.codes)
        if few and short and (code or (repeated and named is None)):
            return False, f"content: {len(look.codes)} codes in {look.rows} rows", "text", False
    if (column.primary or column.foreign) and named is None:
        return False, "key without personal content", "text", False
    if named is not None:
        return True, f"name: {column.name}", named[0], False
    if column.partition:
        return False, "partition key without personal content", "text", False
    return True, f"type: {column.type.name}, not provably harmless", "text", False


def _date(column: Column, look: _Look) -> tuple[bool, str]:
    named = _named(column)
    if named is not None and named[0] == "birth":
        return True, f"name: {column.name}"
    name = re.sub(r"(?<=[a-zäöü])(?=[A-ZÄÖÜ])", "_", column.name).casefold()
    old = sum(1 for v in look.values if v[:4].isdigit() and int(v[:4]) < 1985)
    if look.values and old * 5 >= len(look.values):
        return True, f"content: {old} of {len(look.values)} dates lie before 1985"
    if column.partition or TECHNICAL_DATES.search(name):
        return False, f"name: {column.name} is when something happened"
    if column.type.family == "timestamp":
        return False, "type: point in time, none of them long ago"
    return True, "type: date, not provably harmless"


def _judge(column: Column, look: _Look, table: str) -> Classified:
    family = column.type.family
    kind = _BY_FAMILY[family]
    personal, reason, common = True, f"type: {column.type.name}", False
    if family in ("boolean", "time", "enum", "uuid"):
        personal, reason = False, f"type: {column.type.name}"
    elif (
        family == "array"
        and column.type.element is not None
        and (column.type.element.family in ("boolean", "time", "enum", "uuid", "number"))
    ):
        personal, reason = False, f"type: array of {column.type.element.name}"
    elif family == "number":
        named = _named(column)
        digits = [v for v in look.values if is_ahv(v)]
        phones = bool(named and named[0] in ("phone", "identifier")) and any(
            len(v) >= 8 for v in look.values
        )
        if digits or phones:
            what = "content: AHV numbers" if digits else f"name: {column.name}"
            personal, reason, kind = True, what, "number"
        else:
            personal, reason = False, "type: number"
    elif family == "text":
        personal, reason, kind, common = _text(column, look, table)
    elif family in ("date", "timestamp"):
        personal, reason = _date(column, look)
    elif family == "range":
        if column.type.bounds in ("integer", "bigint", "numeric"):
            personal, reason = False, "type: range of numbers"
        else:
            personal, reason = _date(column, look)
    elif table == "settings":
        personal, reason = False, f"table {column.relation} holds settings"
        common = True
    return Classified(column, personal, reason, kind, common)


def _references(conn: psycopg.Connection[Any]) -> tuple[set[Table], set[Table]]:
    """Tables that others refer to, and tables that refer to others."""
    rows = query(
        conn,
        """SELECT m.nspname, a.relname, n.nspname, b.relname
           FROM pg_catalog.pg_constraint k
           JOIN pg_catalog.pg_class a ON a.oid = k.conrelid
           JOIN pg_catalog.pg_namespace m ON m.oid = a.relnamespace
           JOIN pg_catalog.pg_class b ON b.oid = k.confrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = b.relnamespace
           WHERE k.contype = 'f' AND a.oid <> b.oid""",
    )
    return {(s, t) for _, _, s, t in rows}, {(s, t) for s, t, _, _ in rows}


def _looks(conn: psycopg.Connection[Any], columns: Sequence[Column]) -> tuple[int, list[_Look]]:
    """The number of rows of one relation, and a look into each of its columns."""
    first = columns[0]
    only = "ONLY " if first.kind == "table" else ""
    table = f"{only}{first.sql_table}"
    rows = query(conn, f"SELECT count(*) FROM {table}")[0][0]
    read = [c for c in columns if c.type.family in ("text", "date", "timestamp", "number", "range")]
    if rows == 0 or not read:
        return rows, [_Look((), None, rows) for _ in columns]
    part = min(100.0, 300.0 * _SAMPLE / rows)
    exprs = ", ".join(f"left({column_name('t', c.name)}::text, 400)" for c in read)
    sampled = list(
        stream(
            conn,
            f"SELECT {exprs} FROM {table} AS t TABLESAMPLE SYSTEM ({part:.4f}) REPEATABLE (1)"
            f" LIMIT {_SAMPLE}",
        )
    )
    looks: dict[Column, _Look] = {}
    for at, column in enumerate(read):
        values = tuple(v for row in sampled if (v := row[at]) is not None and v.strip())
        codes: tuple[str, ...] | None = None
        if column.type.family == "text" and len(set(values)) <= _CODES:
            # A sample proves nothing: the whole column is asked for its distinct values.
            name = ident(column.name)
            distinct = query(
                conn,
                f"SELECT DISTINCT left({name}::text, 400) FROM {table}"
                f" WHERE {name} IS NOT NULL LIMIT {_CODES + 1}",
            )
            if len(distinct) <= _CODES:
                codes = tuple(value for (value,) in distinct if value.strip())
        looks[column] = _Look(values, codes, rows)
    return rows, [looks.get(c, _Look((), None, rows)) for c in columns]


def _table_kind(
    columns: Sequence[Column], looks: Sequence[_Look], rows: int, used: bool, uses: bool
) -> str:
    first = columns[0]
    name = first.table.casefold()
    if first.kind == "table" and SETTINGS_TABLES.fullmatch(name):
        return "settings"
    if first.kind != "table" or rows > _LOOKUP_ROWS or uses:
        return ""
    if not (used or LOOKUP_TABLES.fullmatch(name)):
        return ""
    for column, look in zip(columns, looks, strict=True):
        named = _named(column)
        family = column.type.family
        if (named and named[1]) or family not in ("text", "number", "boolean", "enum", "timestamp",
                                                  "uuid", "time"):  # fmt: skip
            return ""
        if family == "text":
            long = any(len(v) > 120 for v in look.values)
            if long or _content(look.codes or look.values) is not None:
                return ""
    # A table of cases is referred to as well: a look-up table names things, briefly, once each.
    texts = [c for c in columns if c.type.family == "text"]
    return "lookup" if texts and (len(columns) <= 8) and rows > 0 else ""


def _overridden(
    found: Iterable[Classified], overrides: Mapping[str, bool]
) -> tuple[Classified, ...]:
    result = []
    unused = set(overrides)
    for one in found:
        column = one.column
        names = {column.label, f"{column.schema}.{column.table}.{column.name}"}
        for pattern, personal in overrides.items():
            if any(name == pattern or fnmatchcase(name, pattern) for name in names):
                unused.discard(pattern)
                one = Classified(
                    column, personal, "declared by the site", one.kind, common=not personal
                )
        result.append(one)
    if unused:
        listed = ", ".join(sorted(unused))
        raise ConfigError(
            f"the site's inventory names columns that the source does not have: {listed}",
            hint="write table.column as the database spells it, or take the line out",
        )
    return tuple(result)


def _classify(
    conn: psycopg.Connection[Any], columns: Sequence[Column], doing: str
) -> tuple[Classified, ...]:
    with conn.transaction():
        quiet(doing, settle, conn)
        used, uses = _references(conn)
        result: list[Classified] = []
        for _, group in groupby(columns, key=lambda c: (c.schema, c.table)):
            table = list(group)
            first = table[0]
            if first.kind == "large objects":
                result.append(Classified(first, True, "type: large object", "large object"))
                continue
            # The snapshot of this very run: what is judged is what travels.
            rows, looks = quiet(f"{doing}: table {first.relation}", _looks, conn, table)
            name = (first.schema, first.table)
            kind = _table_kind(table, looks, rows, name in used, name in uses)
            result += [_judge(c, look, kind) for c, look in zip(table, looks, strict=True)]
        return tuple(result)


def classify(
    source: psycopg.Connection[Any],
    columns: Sequence[Column] | None = None,
    overrides: Mapping[str, bool] | None = None,
) -> tuple[Classified, ...]:
    """Judges every column of `source`, which is only read. `overrides` is what the site declares:
    `table.column` (or a pattern) → personal. Raises ConfigError for one that matches nothing,
    StepFailed where rows cannot be read."""
    found = _classify(
        source, columns if columns is not None else read_columns(source), "classifying the source"
    )
    found = recognise(source, found, found)
    return quiet("reading foreign keys", linked, source, _overridden(found, overrides or {}))


MIGRATIONS: Final = "content: names of migrations"


def spare(
    found: Sequence[Classified], columns: Collection[tuple[str, str, str]], reason: str
) -> tuple[Classified, ...]:
    """The judgements with `columns`, as (schema, table, name), harmless for `reason`."""
    return tuple(
        replace(one, personal=False, reason=reason)
        if one.personal and (one.column.schema, one.column.table, one.column.name) in columns
        else one
        for one in found
    )


def extend(known: Sequence[Classified], stage: psycopg.Connection[Any]) -> tuple[Classified, ...]:
    """The judgements for the columns as the stage has them, after its migrations: known columns
    keep theirs, new ones are judged in the stage. Call it before anything is anonymised."""
    judged = {one.column.label: one for one in known}
    columns = read_columns(stage)

    def new(column: Column) -> bool:
        one = judged.get(column.label)
        return one is None or one.column.type.family != column.type.family

    added = {
        one.column.label: one
        for one in _classify(stage, [c for c in columns if new(c)], "classifying the stage")
    }
    result = []
    for column in columns:
        one = added.get(column.label) or judged[column.label]
        result.append(replace(one, column=replace(column, paths=one.column.paths)))
    result = list(recognise(stage, result, [o for o in result if o.column.label in added]))
    return quiet("reading foreign keys", linked, stage, result)
