"""Pseudonyms as SQL: for each type an expression that turns a value into one that is nobody's, of
the same format, length class and, where it must be, unique. Keyed: the same original gives the same
pseudonym in every table of one run, and in no other run."""

from __future__ import annotations

from typing import Final

from biso_tasks.privacy.columns import Type
from biso_tasks.privacy.detect import FILLER
from biso_tasks.privacy.sqltext import ident

__all__ = ["EXACT", "FUNCTIONS", "HASHED", "pseudonym"]

# The hash that a pseudonym is made of: 64 hex digits.
HASHED: Final = "encode(sha256(convert_to({key} || lower(btrim({value})), 'UTF8')), 'hex')"

EXACT: Final = "encode(sha256(convert_to({key} || {value}, 'UTF8')), 'hex')"

_HEX: Final = "'0123456789abcdef'"


def _word(start: int) -> str:
    parts = []
    for at in range(start, start + 8, 2):
        parts.append(f"translate(substr({{h}}, {at}, 1), {_HEX}, 'bdfghklmnprstvwz')")
        parts.append(f"translate(substr({{h}}, {at + 1}, 1), {_HEX}, 'aeiouaeiouaeioua')")
    return f"initcap({' || '.join(parts)})"


_DIGITS: Final = "translate({h}, 'abcdef', '012345')"

# {v}: the value as text, {h}: its hash, {n}: the most characters that fit, {u}: must be unique.
# Ours can be told from real ones: mail at example.invalid, phone 000, IBAN with check digits 00.
_TEXT: Final = f"""CASE
 WHEN length(btrim({{v}})) < 2 THEN {{v}}
 WHEN {{v}} ~ '^[^@[:space:]]+@[^@[:space:]]+$' AND {{n}} >= 22
  THEN 'x' || left({{h}}, least({{n}} - 17, 12)) || '@example.invalid'
 WHEN {{v}} ~ '^[0-9]+$' AND length({{v}}) <= 60
  THEN CASE WHEN length({{v}}) >= 9 THEN '000' || substr({_DIGITS}, 4, length({{v}}) - 3)
   WHEN left({_DIGITS}, length({{v}})) = {{v}} THEN translate({{v}}, '0123456789', '3456789012')
   ELSE left({_DIGITS}, length({{v}})) END
 WHEN {{v}} ~ '^756[.]?[0-9]{{{{4}}}}[.]?[0-9]{{{{4}}}}[.]?[0-9]{{{{2}}}}$'
  THEN '756.0000.' || left({_DIGITS}, 4) || '.' || substr({_DIGITS}, 5, 2)
 WHEN {{v}} ~ '^[0-9]{{{{4}}}}-[0-9]{{{{2}}}}-[0-9]{{{{2}}}}$'
  THEN '19' || left({_DIGITS}, 2) || '-01-1' || substr({_DIGITS}, 3, 1)
 WHEN {{v}} ~ '^[0-9]{{{{1,2}}}}[.][0-9]{{{{1,2}}}}[.][0-9]{{{{4}}}}$'
  THEN '1' || left({_DIGITS}, 1) || '.01.19' || substr({_DIGITS}, 2, 2)
 WHEN {{v}} ~ '^[+0-9(][-+0-9 ()/.]{{{{6,}}}}$'
  THEN CASE WHEN {{u}} THEN '000 ' || left({_DIGITS}, greatest({{n}}, 17) - 4)
   ELSE '000 ' || left({_DIGITS}, 3) || ' ' || substr({_DIGITS}, 4, 2) || ' '
    || substr({_DIGITS}, 6, 2) END
 WHEN {{v}} ~ '^[A-Z]{{{{2}}}}[0-9]{{{{2}}}}[ 0-9A-Z]{{{{11,30}}}}$'
  THEN left({{v}}, 2) || '00' || left({_DIGITS}, length(replace({{v}}, ' ', '')) - 4)
 WHEN {{n}} < 8 THEN 'x' || {{h}}
 WHEN {{u}} THEN initcap(translate(left({{h}}, 20), '0123456789', 'ghklmnprst'))
 WHEN length({{v}}) <= 40 AND {{v}} !~ '[0-9@]'
  THEN {_word(1)} || CASE WHEN btrim({{v}}) ~ '[[:space:]]' THEN ' ' || {_word(9)} ELSE '' END
 WHEN length({{v}}) <= 40 THEN 'Text ' || left({{h}}, 8)
 ELSE 'Text ' || left({{h}}, 8) || ' '
  || left(repeat('{FILLER}', 1 + length({{v}}) / {len(FILLER)}), least(length({{v}}), 4000) - 14)
 END"""


def _text(value: str, hashed: str, length: int | None, unique: bool) -> str:
    most = length if length is not None else 1_000_000
    body = _TEXT.format(v=f"{value}::text", h=hashed, n=most, u="true" if unique else "false")
    return f"left({body}, {most})"


# Documents and lists are walked by functions of this session; pg_temp goes with it.
FUNCTIONS: Final = (
    "SET LOCAL check_function_bodies = off",  # biso_json calls itself
    f"""CREATE OR REPLACE FUNCTION pg_temp.biso_text(v text, k text, n int, u bool) RETURNS text
    LANGUAGE plpgsql IMMUTABLE AS $$ DECLARE h text := {HASHED.format(key="k", value="v")};
    BEGIN RETURN left({_TEXT.format(v="v", h="h", n="n", u="u")}, n); END $$""",
    """CREATE OR REPLACE FUNCTION pg_temp.biso_json(j jsonb, k text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN CASE jsonb_typeof(j)
     WHEN 'string' THEN to_jsonb(pg_temp.biso_text(j #>> '{}', k, 1000000, false))
     WHEN 'number' THEN CASE WHEN j::text ~ '^-?[0-9]{9,}$' THEN ('1' || left(translate(
       encode(sha256(convert_to(k || j::text, 'UTF8')), 'hex'), 'abcdef', '012345'),
       least(length(j::text), 60) - 1))::numeric::text::jsonb ELSE j END
     WHEN 'array' THEN COALESCE((SELECT jsonb_agg(pg_temp.biso_json(e.v, k) ORDER BY e.o)
       FROM jsonb_array_elements(j) WITH ORDINALITY e(v, o)), j)
     WHEN 'object' THEN COALESCE((SELECT jsonb_object_agg(
       CASE WHEN e.key ~ '^[[:alpha:]_][[:alnum:]_-]*$' OR e.key = '' THEN e.key
        ELSE pg_temp.biso_text(e.key, k, 1000000, false) END,
       pg_temp.biso_json(e.value, k)) FROM jsonb_each(j) e), j)
     ELSE j END; END $$""",
    """CREATE OR REPLACE FUNCTION pg_temp.biso_object(o oid, content bytea) RETURNS void
    LANGUAGE plpgsql AS $$ DECLARE f int := lo_open(o, 131072);
    BEGIN PERFORM lo_truncate(f, 0); PERFORM lowrite(f, content); PERFORM lo_close(f); END $$""",
)

_DAYS: Final = "(1 + ('x' || left({h}, 4))::bit(16)::int % 300)"
_NUMBERS: Final = {"int2": 5, "int4": 10, "oid": 10, "int8": 19}


def _moment(kind: Type, value: str, hashed: str, key: str, unique: bool) -> str:
    if unique:  # one shift for all keeps them apart
        hashed = f"encode(sha256(convert_to({key}, 'UTF8')), 'hex')"
    days = _DAYS.format(h=hashed)
    shift = days if kind.family == "date" else f"make_interval(days => {days})"
    # Backwards, for a check like `born <= today`; infinity and the ends of time stay.
    return (
        f"CASE WHEN isfinite({value}) AND {value} BETWEEN '0100-01-01' AND '9000-01-01'"
        f" THEN {value} - {shift} ELSE {value} END"
    )


def _number(kind: Type, value: str, hashed: str) -> str:
    digits = _DIGITS.format(h=hashed)
    size = f"length(trunc(abs({value}::numeric))::text)"
    most = _NUMBERS.get(kind.name, 30)
    # A leading 1 keeps the largest numbers within the type.
    made = f"('1' || substr({digits}, 1, least({size}, {most}) - 1))::numeric"
    return f"CASE WHEN {made} = {value}::numeric THEN {made} + 1 ELSE {made} END::{kind.sql}"


def _range(kind: Type, value: str, key: str) -> str:
    if kind.bounds not in ("date", "timestamp without time zone", "timestamp with time zone"):
        return f"NULL::{kind.sql}"
    days = _DAYS.format(h=f"encode(sha256(convert_to({key}, 'UTF8')), 'hex')")
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


def pseudonym(
    kind: Type, value: str, key: str, *, hashed: str | None = None, unique: bool = False
) -> str:
    """The SQL expression for the pseudonym of the expression `value`, of type `kind`. `key` is an
    SQL expression, `hashed` one for the value's hash where it is at hand. A type that nothing is
    known of becomes NULL."""
    family = kind.family
    h = hashed or HASHED.format(key=key, value=f"{value}::text")
    if family == "text":
        if hashed is None:
            most = kind.length or 1_000_000
            made = f"pg_temp.biso_text({value}::text, {key}, {most}, {str(unique).lower()})"
        else:
            made = _text(value, h, kind.length, unique)
    elif family in ("date", "timestamp"):
        made = _moment(kind, value, h, key, unique)
    elif family in ("json", "jsonb"):
        made = f"pg_temp.biso_json({value}::jsonb, {key})"
    elif family == "bytea":
        if unique:
            made = f"decode({h}, 'hex')"
        else:
            made = f"decode(repeat('00', least(octet_length({value}), 1024)), 'hex')"
    elif family == "xml":
        made = f"('<text>Text ' || left({h}, 8) || '</text>')::xml"
    elif family == "hstore":
        made = (
            f"COALESCE((SELECT {ident(kind.schema, 'hstore')}(array_agg(e.key), array_agg("
            f"pg_temp.biso_text(e.value, {key}, 1000000, false))) FROM "
            f"{ident(kind.schema, 'each')}({value}) e), {value})"
        )
    elif family == "network":
        made = _network(kind, h, unique)
    elif family == "uuid":
        made = f"left({h}, 32)"
    elif family == "number":
        made = _number(kind, value, h)
    elif family == "range":
        made = _range(kind, value, key)
    elif family == "search":
        made = "''"
    elif family == "array" and kind.element is not None:
        inner = pseudonym(kind.element, "e.v", key)
        made = (
            f"CASE WHEN {value} IS NULL THEN NULL ELSE COALESCE((SELECT array_agg({inner} "
            f"ORDER BY e.o) FROM unnest({value}) WITH ORDINALITY e(v, o)), '{{}}') END"
        )
    elif family == "composite":
        fields = ", ".join(
            pseudonym(inner, f"({value}).{ident(name)}", key)
            if inner.family not in ("boolean", "enum", "time", "number")
            else f"({value}).{ident(name)}"
            for name, inner in kind.fields
        )
        made = f"ROW({fields})"
    else:
        made = "NULL"
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE ({made})::{kind.sql} END"


def _network(kind: Type, hashed: str, unique: bool) -> str:
    byte = f"(('x' || left({hashed}, 2))::bit(8)::int)"
    pairs = "|| ':' ||".join(f"substr({hashed}, {at}, 2)" for at in (1, 3, 5))
    if kind.name == "macaddr":
        return f"'02:00:00:' || {pairs}"
    if kind.name == "macaddr8":
        return f"'02:00:00:00:00:' || {pairs}"
    if unique:
        groups = "|| ':' ||".join(f"substr({hashed}, {at}, 4)" for at in (1, 5, 9, 13, 17, 21))
        return f"'2001:db8:' || {groups}"
    return f"'192.0.2.' || {byte}"
