"""Rows of a BISO of any size, made by the server itself: people with German text, cases, meetings,
protocols, files, and a log that holds about a third of all bytes. The same rows for the same seed.

One statement a table, over `generate_series`: a gigabyte is a matter of how fast the server writes.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any, Final

from benchmarks.tree import path_sql

__all__ = ["BYTES_A_PERSON", "persons_for", "rows_sql"]

BYTES_A_PERSON: Final = 11_950
"""What one person takes in the database with all that hangs on it, indexes included."""

_FIRST_ID: Final = 1_000_000  # beyond the rows that the demo has put there
_PARAGRAPHS: Final = 6_000  # of about 500 bytes: more than any compressor's window holds
_WORDS_IN_ONE: Final = 66


def persons_for(megabytes: float) -> int:
    """How many people a database of that many MB (10⁶ bytes) holds, at least one."""
    return max(1, round(megabytes * 1e6 / BYTES_A_PERSON))


def rows_sql(first: int, last: int, *, role: str, files: int, seed: int = 1) -> str:
    """psql text that adds the people numbered `first` to `last` (from 1 on) as `role`. Each of
    `files` attachments belongs to a case of one of them."""
    if not 1 <= first <= last:
        raise ValueError(f"people {first} to {last}: the first is 1, the last no smaller")
    words = tomllib.loads(resources.files("biso_tasks.demo").joinpath("words.toml").read_text())
    names = {
        "firsts": _array(words["first"]),
        "lasts": _array(words["last"]),
        "streets": _array(words["streets"]),
        "topics": _array(words["topics"]),
        "codes": _array([code for code, _ in words["places"]]),
        "places": _array([place for _, place in words["places"]]),
        "words": _array(_vocabulary(words)),
    }
    numbers = {
        "first": first,
        "last": last,
        "base": _FIRST_ID,
        "role": role,
        "paragraphs": _PARAGRAPHS,
        "length": _WORDS_IN_ONE,
        "files": files,
        "path": path_sql("d"),
    }
    picks = {
        name: _pick(what, salt + 1000 * seed, size)
        for name, (what, salt, size) in {
            "word": ("p * 131 + i", 1, len(_vocabulary(words))),
            "name": ("n", 2, len(words["first"])),
            "family": ("n", 3, len(words["last"])),
            "street": ("n", 4, len(words["streets"])),
            "place": ("n", 5, len(words["places"])),
            "topic": ("n * 2 + k", 6, len(words["topics"])),
            "remark": ("n", 7, _PARAGRAPHS),
            "request": ("n * 2 + k", 8, _PARAGRAPHS),
            "told": ("f.id * 2 + m", 9, _PARAGRAPHS),
            "noted": ("f.id", 10, _PARAGRAPHS),
            "moment": ("n * 40 + e", 11, 900 * 24 * 60),
            "day": ("n", 12, 900),
        }.items()
    }
    return _SQL.format(**names, **numbers, **picks)


def _pick(what: str, salt: int, size: int) -> str:
    """SQL: a number from 1 to `size` that looks like chance and is not."""
    return f"(1 + (hashint8extended(({what})::bigint, {salt}) & 2147483647) % {size})"


def _array(words: list[str]) -> str:
    quoted = ", ".join("'" + word.replace("'", "''") + "'" for word in words)
    return f"(ARRAY[{quoted}]::text[])"


def _vocabulary(words: dict[str, Any]) -> list[str]:
    text = " ".join(words["sentences"]).replace("{name}", "").replace("{phone}", "")
    text = text.replace("{mail}", "").replace("\\", "")
    return [*text.split(), *words["topics"], *words["streets"]]


_SQL: Final = """\
SET ROLE {role};
SET client_encoding = 'UTF8';
SET synchronous_commit = off;
CREATE TEMP TABLE absatz AS
    SELECT p AS id, string_agg({words}[{word}], ' ' ORDER BY i) AS text
    FROM generate_series(1, {paragraphs}) p, generate_series(1, {length}) i GROUP BY p;
ALTER TABLE absatz ADD PRIMARY KEY (id);
ANALYZE absatz;
INSERT INTO person (id, anrede, vorname, nachname, geburtsdatum, strasse, plz, ort, telefon, email,
        ahv_nr, bemerkung, angaben, geaendert)
    SELECT {base} + n, CASE n % 3 WHEN 0 THEN 'Frau' WHEN 1 THEN 'Herr' ELSE '' END,
        {firsts}[{name}], {lasts}[{family}] || CASE n % 7 WHEN 0 THEN '-' || {lasts}[1 + n % 40]
        ELSE '' END, date '1935-01-01' + (n * 37 % 25000)::int,
        {streets}[{street}] || ' ' || n % 199 + 1, {codes}[{place}], {places}[{place}],
        '+41 79 555 ' || lpad((n % 10000)::text, 4, '0'), 'klient.' || n || '@post.example',
        '756.' || lpad((n % 10000)::text, 4, '0') || '.' || lpad((n / 10000 % 10000)::text, 4, '0')
        || '.00', a.text, jsonb_build_object('kinder', n % 5, 'sprachen', ARRAY['de', 'fr']),
        timestamptz '2025-02-03 10:15+01'
    FROM generate_series({first}, {last}) n JOIN absatz a ON a.id = {remark};
INSERT INTO beratungsfall (id, person_id, fallnummer, titel, anliegen, status, eroeffnet)
    SELECT {base} + n * 2 + k, {base} + n, 'G-' || n * 2 + k,
        {topics}[{topic}], a.text, CASE n % 5 WHEN 0 THEN 'offen' ELSE 'abgeschlossen' END,
        date '2023-01-09' + {day}::int
    FROM generate_series({first}, {last}) n CROSS JOIN generate_series(0, 1) k
        JOIN absatz a ON a.id = {request};
CREATE TEMP TABLE fall AS SELECT id, eroeffnet FROM beratungsfall
    WHERE id BETWEEN {base} + {first} * 2 AND {base} + {last} * 2 + 1;
INSERT INTO bf_termin (id, fall_id, beginn, ort, betreff, teilnehmer)
    SELECT f.id * 2 + m, f.id, f.eroeffnet + m * interval '9 days 8 hours', 'Zimmer ' || f.id % 9,
        'Gespräch', 'b.keller' FROM fall f CROSS JOIN generate_series(0, 1) m;
INSERT INTO bf_termin_protokoll (termin_id, text, verfasst)
    SELECT f.id * 2 + m, a.text, f.eroeffnet + interval '10 days'
    FROM fall f CROSS JOIN generate_series(0, 1) m JOIN absatz a ON a.id = {told};
INSERT INTO bf_notiz (fall_id, text, erstellt)
    SELECT f.id, a.text, f.eroeffnet FROM fall f JOIN absatz a ON a.id = {noted};
INSERT INTO bf_log (fall_id, aktion, details, zeit)
    SELECT {base} + n * 2 + e % 2, (ARRAY['angelegt', 'geöffnet', 'geändert'])[1 + e % 3],
        jsonb_build_object('aktion', 'Dossier ' || n || ' geöffnet', 'stelle', e, 'dauer',
        n * e % 977), timestamptz '2023-09-01' + {moment} * interval '1 minute'
    FROM generate_series({first}, {last}) n CROSS JOIN generate_series(1, 30) e;
INSERT INTO bf_datei (id, fall_id, originalname, pfad, groesse)
    SELECT {base} + d, (SELECT min(id) FROM fall) + d % (SELECT count(*) FROM fall),
        'Beilage ' || d, {path}, 0
    FROM generate_series(1, {files}) d;
SELECT setval(pg_get_serial_sequence('person', 'id'), (SELECT max(id) FROM person)),
    setval(pg_get_serial_sequence('beratungsfall', 'id'), (SELECT max(id) FROM beratungsfall)),
    setval(pg_get_serial_sequence('bf_termin', 'id'), (SELECT max(id) FROM bf_termin)),
    setval(pg_get_serial_sequence('bf_datei', 'id'), (SELECT max(id) FROM bf_datei));
DROP TABLE absatz, fall;
ANALYZE;
"""
