"""Pseudonyms as SQL: for each type an expression that turns a value into one that is nobody's, of
the same format, length class and, where it must be, unique. Texts by `masking.functions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from biso_tasks.privacy.classify import Kind
from biso_tasks.privacy.columns import TEXTS, Type
from biso_tasks.privacy.masking.functions import RULES
from biso_tasks.privacy.paths import Paths, said_at
from biso_tasks.privacy.sqltext import ident

__all__ = ["KEY", "pseudonym"]

# Read from a temporary table: a bound parameter would stand in the server's log.
KEY: Final = "(SELECT k FROM pg_temp.biso_key)"
_RETRY: Final = "(SELECT u FROM pg_temp.biso_key)"
_WORDS: Final = "(SELECT w FROM pg_temp.biso_key)"
_UNLIMITED: Final = 1_000_000
_DIMENSIONS: Final = 3  # of an array, kept; what has more becomes a list

_DAYS: Final = "(1 + ('x' || left({h}, 4))::bit(16)::int % 300)"
_NUMBERS: Final = {"int2": 5, "int4": 10, "oid": 10, "int8": 19}
# For a column that may not be empty, and whose type no value can be kept of.
_CONSTANTS: Final = {
    "point": "(0,0)", "lseg": "[(0,0),(1,1)]", "box": "(1,1),(0,0)", "path": "((0,0))",
    "polygon": "((0,0))", "circle": "<(0,0),1>", "line": "{1,0,0}", "time": "12:00",
    "timetz": "12:00+00", "interval": "1 day", "jsonpath": "$", "tsquery": "", "ltree": "x",
    "varbit": "0",
}  # fmt: skip


def _hash(value: str, *, exact: bool = False) -> str:
    made = f"{value}::text" if exact else f"lower(btrim({value}::text))"
    return f"encode(sha256(convert_to({KEY} || {made}, 'UTF8')), 'hex')"


def _once(hashed: str, made: str) -> str:
    """`made`, which uses `s.h` several times; OFFSET keeps the planner from computing each."""
    return f"(SELECT {made} FROM (SELECT {hashed} AS h OFFSET 0) s)"


def _text(kind: Type, value: str, rule: str, unique: bool) -> str:
    most = kind.length or _UNLIMITED
    function = RULES.get(rule, "biso_text")
    retry = _RETRY if unique else "0"
    return f"pg_temp.{function}({value}::text, {KEY}, {most}, {retry}, {_WORDS})"


def _moment(kind: Type, value: str, unique: bool) -> str:
    # Unique: one shift for all keeps them apart, and by decades, or a diary would still hold most
    # of its days.
    days = _DAYS.format(h=_hash("''") if unique else _hash(value))
    if unique:
        days = f"(7300 + {days})"
    shift = days if kind.name == "date" else f"make_interval(days => {days})"
    # Backwards, for a check like `born <= today`; infinity and the ends of time stay.
    return (
        f"CASE WHEN isfinite({value}) AND {value} BETWEEN '0100-01-01' AND '9000-01-01'"
        f" THEN {value} - {shift} ELSE {value} END"
    )


def _number(kind: Type, value: str) -> str:
    most = _NUMBERS.get(kind.name, 30)
    size = f"length(trunc(abs({value}::numeric))::text)"
    # A leading 1 keeps the largest numbers within the type.
    digits = "translate(s.h, 'abcdef', '012345')"
    made = f"('1' || substr({digits}, 1, least({size}, {most}) - 1))::numeric"
    return _once(
        _hash(value), f"CASE WHEN {made} = {value}::numeric THEN {made} + 1 ELSE {made} END"
    )


def _long_number(kind: Type, value: str) -> str:
    """Only what could be a phone or an AHV number; smaller ones count and refer."""
    if kind.name == "money":
        return value
    return f"CASE WHEN abs({value}::numeric) >= 1e8 THEN {_number(kind, value)} ELSE {value} END"


def _range(kind: Type, value: str) -> str:
    if not kind.bounds:
        return "'{}'"  # a multirange
    if kind.bounds not in ("date", "timestamp without time zone", "timestamp with time zone"):
        return "'empty'"
    days = _DAYS.format(h=_hash("''"))
    shift = days if kind.bounds == "date" else f"make_interval(days => {days})"
    marks = (
        f"CASE WHEN lower_inc({value}) THEN '[' ELSE '(' END || "
        f"CASE WHEN upper_inc({value}) THEN ']' ELSE ')' END"
    )
    make = ident(kind.schema, kind.name)
    return (
        f"CASE WHEN isempty({value}) THEN {value} ELSE "
        f"{make}(lower({value}) - {shift}, upper({value}) - {shift}, {marks}) END"
    )


def _array(kind: Type, value: str, rule: str, unique: bool, depth: int) -> str:
    """The dimensions stay: a check or the application may count on them."""
    assert kind.element is not None
    element = kind.element
    # By subscripts: unnest() would take a composite apart into columns. The base type, since a
    # domain over an array takes none.
    base = f"(({value})::{element.sql}[])"
    names = [f"i{depth}_{at}" for at in range(_DIMENSIONS)]

    def nested(dimensions: int) -> str:
        cell = f"(a{depth}.v{''.join(f'[{name}]' for name in names[:dimensions])})"
        made = (
            _long_number(element, cell)
            if element.family == "number"
            else pseudonym(element, cell, rule=rule, unique=unique, depth=depth + 1)
        )
        made = f"({made})::{element.sql}"
        for at in range(dimensions - 1, -1, -1):
            made = (
                f"(SELECT array_agg({made} ORDER BY {names[at]}) "
                f"FROM generate_subscripts(a{depth}.v, {at + 1}) {names[at]})"
            )
        return made

    # What has more dimensions is rare, and unreadable either way.
    cases = " ".join(f"WHEN {n} THEN {nested(n)}" for n in range(1, _DIMENSIONS + 1))
    return (
        f"(SELECT CASE array_ndims(a{depth}.v) {cases} ELSE '{{}}' END "
        f"FROM (SELECT {base} AS v OFFSET 0) a{depth})"
    )


def _composite(kind: Type, value: str, rule: str, depth: int) -> str:
    def field(name: str, inner: Type) -> str:
        cell = f"({value}).{ident(name)}"
        if inner.name == "bool":
            return cell
        if inner.family == "number":
            return f"({_long_number(inner, cell)})::{inner.sql}"
        return pseudonym(inner, cell, depth=depth + 1)

    fields = ", ".join(field(name, inner) for name, inner in kind.fields)
    # A row cannot be cast to a domain over its type at once.
    return f"ROW({fields})::{ident(kind.schema, kind.name)}"


def _network(kind: Type, value: str, unique: bool) -> str:
    pairs = "|| ':' ||".join(f"substr(s.h, {at}, 2)" for at in (1, 3, 5))
    if kind.name == "macaddr":
        made = f"'02:00:00:' || {pairs}"
    elif kind.name == "macaddr8":
        made = f"'02:00:00:00:00:' || {pairs}"
    elif unique:
        groups = "|| ':' ||".join(f"substr(s.h, {at}, 4)" for at in (1, 5, 9, 13, 17, 21))
        made = f"'2001:db8:' || {groups}"
    else:
        made = "'192.0.2.' || (('x' || left(s.h, 2))::bit(8)::int)"
    return _once(_hash(value), made)


def _kept(kind: Type) -> str | None:
    """A constant of a type that cannot be masked otherwise; None: there is none, NULL it is."""
    constant = _CONSTANTS.get(kind.name)
    return None if constant is None else f"'{constant}'"


def _enum(kind: Type, value: str) -> str:
    """The label after it, the first after the last."""
    labels = [label.replace("'", "''") for label in kind.labels]
    following = [*labels[1:], *labels[:1]]
    cases = " ".join(f"WHEN '{a}' THEN '{b}'" for a, b in zip(labels, following, strict=True))
    return f"CASE {value}::text {cases} END" if cases else "NULL"


def _said(paths: Paths) -> str:
    """The arguments with which `biso_json` knows what stands where."""
    if not paths:
        return ""
    patterns, kinds = zip(*said_at(paths).patterns, strict=True)
    return f", '', {_texts(patterns)}, {_texts(kinds)}"


def _texts(values: Sequence[str]) -> str:
    quoted = (value.replace("'", "''").replace("\\", "\\\\") for value in values)
    return "ARRAY[" + ", ".join(f" E'{value}'" for value in quoted) + "]"


def pseudonym(
    kind: Type, value: str, *, rule: Kind | str = "text", unique: bool = False, depth: int = 0,
    paths: Paths = (),
) -> str:  # fmt: skip
    """The SQL expression for the pseudonym of the expression `value`, of type `kind`, where
    `pg_temp.biso_key` and the functions are at hand. `rule` says what a text is, `paths`
    what stands where in a document. A type that nothing is known of becomes NULL."""
    family = kind.family
    if family == "text":
        made = _text(kind, value, rule, unique)
    elif family in ("date", "timestamp"):
        made = _moment(kind, value, unique)
    elif family in ("json", "jsonb"):
        made = f"pg_temp.biso_json({value}::jsonb, {KEY}, {_WORDS}{_said(paths)})"
    elif family == "bytea":
        if unique:
            made = f"decode({_hash(value)}, 'hex')"
        else:
            made = f"decode(repeat('00', least(octet_length({value}), 1024)), 'hex')"
    elif family == "xml":
        made = f"('<text>Text ' || left({_hash(value)}, 8) || '</text>')::xml"
    elif family == "hstore":
        made = (
            f"COALESCE((SELECT {ident(kind.schema, 'hstore')}(array_agg("
            f"pg_temp.biso_member(e.key, {KEY}, {_WORDS})), array_agg("
            f"pg_temp.biso_text(e.value, {KEY}, {_UNLIMITED}, 0, {_WORDS}))) FROM "
            f"{ident(kind.schema, 'each')}({value}) e), {value})"
        )
    elif family == "network":
        made = _network(kind, value, unique)
    elif family == "uuid":
        made = f"left({_hash(value)}, 32)"
    elif family == "number":
        made = _number(kind, value)
    elif family == "range":
        made = _range(kind, value)
    elif family == "search":
        made = "''"
    elif family == "array" and kind.element is not None:
        made = _array(kind, value, rule, unique, depth)
    elif family == "composite":
        made = _composite(kind, value, rule, depth)
    elif family == "enum":
        made = _enum(kind, value)
    elif kind.name == "bool":
        made = f"NOT {value}"
    elif kind.bounds in TEXTS:
        make = ident(kind.schema, kind.name)
        made = _once(_hash(value), f"{make}(left(s.h, 12), left(s.h, 12) || 'z')")
    else:
        made = _kept(kind) or "NULL"
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE ({made})::{kind.sql} END"
