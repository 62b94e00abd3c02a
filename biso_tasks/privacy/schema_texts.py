"""What people have written into the schema itself: names, enum labels, bodies of functions,
definitions, defaults, conditions, settings, comments. No row holds it, and every dump does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.sqltext import query

if TYPE_CHECKING:
    import psycopg

__all__ = ["COMMENTS", "LABELS", "findings", "names_place", "places", "read", "shown"]

Find = Callable[[str], frozenset[str]]


def _own(catalog: str, alias: str) -> str:
    """Not from initdb, not an extension's: its texts are everybody's."""
    return (
        f"{alias}.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype "
        f"= 'e' AND e.classid = 'pg_catalog.{catalog}'::regclass AND e.objid = {alias}.oid)"
    )


def _place(catalog: str, oid: str, part: str = "0") -> str:
    return (
        "(SELECT i.type || ' ' || i.identity FROM pg_catalog.pg_identify_object("
        f"'pg_catalog.{catalog}'::regclass, {oid}, {part}) i)"
    )


# The schema public has its comment from initdb, but people change it.
COMMENTS: Final = """
SELECT i.type, i.identity, d.description FROM pg_catalog.pg_description d
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE (d.objoid >= 16384 OR d.classoid = 'pg_catalog.pg_namespace'::regclass
        AND d.objoid = 'public'::regnamespace)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = d.classoid
      AND e.objid = d.objoid AND e.deptype = 'e')
UNION ALL
SELECT 'database', pg_catalog.quote_ident(b.datname), d.description
FROM pg_catalog.pg_shdescription d JOIN pg_catalog.pg_database b
  ON b.oid = d.objoid AND d.classoid = 'pg_catalog.pg_database'::regclass
WHERE b.datname = current_database()
"""

LABELS: Final = f"""
SELECT {_place("pg_type", "t.oid")}, e.enumlabel::text, n.nspname, t.typname
FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE {_own("pg_type", "t")} ORDER BY t.oid, e.enumsortorder
"""

# Each gives a place and a text.
_DEFINED: Final = (
    f"""SELECT {_place("pg_proc", "p.oid")}, pg_catalog.pg_get_functiondef(p.oid)
    FROM pg_catalog.pg_proc p WHERE p.prokind <> 'a' AND {_own("pg_proc", "p")}""",
    f"""SELECT {_place("pg_proc", "p.oid")}, concat_ws(' ', a.agginitval, a.aggminitval)
    FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid
    WHERE {_own("pg_proc", "p")}""",
    f"""SELECT {_place("pg_class", "c.oid")}, pg_catalog.pg_get_viewdef(c.oid)
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND {_own("pg_class", "c")}""",
    f"""SELECT {_place("pg_rewrite", "r.oid")}, pg_catalog.pg_get_ruledef(r.oid)
    FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN' AND {_own("pg_rewrite", "r")}""",
    f"""SELECT {_place("pg_trigger", "t.oid")}, pg_catalog.pg_get_triggerdef(t.oid)
    FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND {_own("pg_trigger", "t")}""",
    f"""SELECT {_place("pg_policy", "p.oid")}, concat_ws(' ',
        pg_catalog.pg_get_expr(p.polqual, p.polrelid),
        pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_catalog.pg_policy p WHERE {_own("pg_policy", "p")}""",
    f"""SELECT {_place("pg_attrdef", "d.oid")}, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
    FROM pg_catalog.pg_attrdef d WHERE {_own("pg_attrdef", "d")}""",
    f"""SELECT {_place("pg_constraint", "k.oid")}, pg_catalog.pg_get_constraintdef(k.oid)
    FROM pg_catalog.pg_constraint k WHERE k.contype IN ('c', 'x')
    AND {_own("pg_constraint", "k")}""",
    f"""SELECT {_place("pg_class", "c.oid")}, pg_catalog.pg_get_indexdef(c.oid)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    WHERE (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL) AND {_own("pg_class", "c")}""",
    f"""SELECT 'bounds of ' || {_place("pg_class", "c.oid")},
        pg_catalog.pg_get_expr(c.relpartbound, c.oid)
    FROM pg_catalog.pg_class c WHERE c.relispartition AND {_own("pg_class", "c")}""",
    f"""SELECT 'partition key of ' || {_place("pg_class", "c.oid")},
        pg_catalog.pg_get_partkeydef(c.oid)
    FROM pg_catalog.pg_class c WHERE c.relkind = 'p' AND {_own("pg_class", "c")}""",
    f"""SELECT 'options of ' || {_place("pg_class", "c.oid")}, concat_ws(' ',
        array_to_string(c.reloptions, ' '), array_to_string(f.ftoptions, ' '))
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid
    WHERE {_own("pg_class", "c")}""",
    f"""SELECT 'options of ' || {_place("pg_class", "c.oid", "a.attnum")},
        array_to_string(a.attfdwoptions, ' ')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE a.attfdwoptions IS NOT NULL AND {_own("pg_class", "c")}""",
    f"""SELECT 'options of ' || {_place("pg_foreign_server", "s.oid")},
        array_to_string(s.srvoptions, ' ')
    FROM pg_catalog.pg_foreign_server s WHERE {_own("pg_foreign_server", "s")}""",
    f"""SELECT 'default of ' || {_place("pg_type", "t.oid")}, t.typdefault
    FROM pg_catalog.pg_type t WHERE t.typdefault IS NOT NULL AND {_own("pg_type", "t")}""",
    f"""SELECT {_place("pg_statistic_ext", "s.oid")}, pg_catalog.pg_get_statisticsobjdef(s.oid)
    FROM pg_catalog.pg_statistic_ext s WHERE {_own("pg_statistic_ext", "s")}""",
    f"""SELECT {_place("pg_ts_dict", "d.oid")}, d.dictinitoption
    FROM pg_catalog.pg_ts_dict d WHERE {_own("pg_ts_dict", "d")}""",
    """SELECT 'database setting ' || split_part(c, '=', 1)
        || CASE WHEN s.setrole = 0 THEN '' ELSE ' of role ' || s.setrole::regrole::text END, c
    FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database b ON b.oid = s.setdatabase
    CROSS JOIN LATERAL unnest(s.setconfig) c WHERE b.datname = current_database()""",
    """SELECT 'security label of ' || i.type || ' ' || i.identity, l.label
    FROM pg_catalog.pg_seclabel l
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(l.classoid, l.objoid, l.objsubid) i
    UNION ALL SELECT 'security label of the database', l.label FROM pg_catalog.pg_shseclabel l
    JOIN pg_catalog.pg_database b ON b.oid = l.objoid
        AND l.classoid = 'pg_catalog.pg_database'::regclass
    WHERE b.datname = current_database()""",
)

# (catalog, its column of names, which rows)
_NAMED: Final = (
    ("pg_class", "relname", "x.relkind NOT IN ('t', 'i', 'I')"),
    ("pg_class", "relname", "x.relkind IN ('i', 'I')"),
    ("pg_type", "typname", "x.typtype NOT IN ('c', 'b')"),
    ("pg_proc", "proname", "true"),
    ("pg_constraint", "conname", "true"),
    ("pg_trigger", "tgname", "NOT x.tgisinternal"),
    ("pg_policy", "polname", "true"),
    ("pg_rewrite", "rulename", "x.rulename <> '_RETURN'"),
    ("pg_namespace", "nspname", "x.nspname !~ '^pg_(toast_)?temp'"),
    ("pg_statistic_ext", "stxname", "true"),
    ("pg_foreign_server", "srvname", "true"),
    ("pg_publication", "pubname", "true"),
)
_TEMPORARY: Final = "pg_catalog.pg_my_temp_schema()"


def _names() -> Iterator[str]:
    for catalog, column, which in _NAMED:
        if catalog in ("pg_class", "pg_type", "pg_proc"):
            space = {"pg_class": "rel", "pg_type": "typ", "pg_proc": "pro"}[catalog]
            which += f" AND x.{space}namespace <> {_TEMPORARY}"
        yield (
            f"SELECT {_place(catalog, 'x.oid')}, x.{column}::text FROM pg_catalog.{catalog} x "
            f"WHERE {which} AND {_own(catalog, 'x')}"
        )
    yield (
        f"SELECT {_place('pg_class', 'c.oid', 'a.attnum')}, a.attname::text "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') "
        f"AND c.relnamespace <> {_TEMPORARY} AND {_own('pg_class', 'c')}"
    )
    yield (
        f"SELECT {_place('pg_proc', 'p.oid')}, array_to_string(p.proargnames, ' ') "
        f"FROM pg_catalog.pg_proc p WHERE p.proargnames IS NOT NULL AND {_own('pg_proc', 'p')}"
    )


def read(conn: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
    """(place, text) of everything that is written in the schema: `function public.f()`,
    `label of type public.e`, `comment on table public.t`, `name of sequence public.s`. The place
    names objects as they are called; see `shown`. Not the comments and objects of initdb and of
    extensions. Inside a transaction, or what changes meanwhile is missed."""
    for place, label, _, _ in query(conn, LABELS):
        yield f"label of {place}", label
    for statement in _DEFINED:
        for place, text in query(conn, statement):
            if text:
                yield place or "an object that is gone", text
    for kind, identity, text in query(conn, COMMENTS):
        yield f"comment on {kind} {identity}", text
    for statement in _names():
        for place, name in query(conn, statement):
            # As a whole, and by the words that people join with underscores.
            yield f"name of {place}", f"{name} {name.replace('_', ' ')}"


def shown(place: str, find: Find) -> str:
    """`place` as findings may name it: where the name of an object is an original itself, without
    it."""
    if not (find(place) or find(place.replace("_", " "))):
        return place
    for cut in (place.partition(" public.")[0], place.partition(' "')[0], place.split(" ", 1)[0]):
        if not (find(cut) or find(cut.replace("_", " "))):
            return f"{cut} ‹name›"
    return "‹name›"


_FOREIGN: Final = (
    f"SELECT {_place('pg_class', 'c.oid')} FROM pg_catalog.pg_class c "
    f"WHERE c.relkind = 'f' AND {_own('pg_class', 'c')}"
)


def places(conn: psycopg.Connection[Any]) -> set[str]:
    """Every place of the schema that `findings` may name, as a person may declare it harmless."""
    return {place for place, _ in read(conn)} | {place for (place,) in query(conn, _FOREIGN)}


def names_place(rule: str, place: str) -> bool:
    """Whether a rule, which may be a pattern, speaks of a place of the schema."""
    return place == rule or fnmatchcase(place, rule)


def findings(
    conn: psycopg.Connection[Any], find: Find, harmless: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """(place, kind) of each original that `find` sees in the schema, and of each foreign table
    (kind `unreadable`: its rows are not here, and the test instance would read them where they
    are), but at the places (or patterns) that a person has declared `harmless`."""

    def wanted(place: str) -> bool:
        return not any(names_place(one, place) for one in harmless)

    for place, text in read(conn):
        for kind in find(text) if wanted(place) else ():
            yield shown(place, find), kind
    for (place,) in query(conn, _FOREIGN):
        if wanted(place):
            yield shown(place, find), "unreadable"
