# ruff: noqa: E501  (SQL)
"""What pseudonyms look like: the same person everywhere, formats that stay readable, texts of which
only the originals go."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.classify import classify, extend
from biso_tasks.privacy.columns import Column, Type
from biso_tasks.privacy.detect import identifiers
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.masking.session import keyed, set_attempt
from biso_tasks.privacy.masking.spans import find_spans, replaced
from biso_tasks.privacy.originals import Originals, collect
from biso_tasks.privacy.prove import prove

pytestmark = pytest.mark.real

PEOPLE = """
CREATE TABLE person (id int PRIMARY KEY, vorname text, nachname text, email text, telefon text);
INSERT INTO person VALUES (1, 'Änne', 'Großkopf-Zürcher', 'aenne@posteo.example', '079 555 01 42'),
    (2, 'Xhevahire', 'von Gunten', 'X.Gunten@posteo.example', '+41 79 555 01 43'),
    (3, 'LUÍS', 'Krähenbühl', 'luis@posteo.example', '0795550144');
INSERT INTO person SELECT i, 'Vorname', 'Nachname' || i, 'p' || i || '@bluewin.ch', NULL
    FROM generate_series(4, 40) i;
"""


@pytest.fixture
def session(cluster: Any, make_database: Any) -> Iterator[psycopg.Connection[Any]]:
    """A session in which the functions are at hand."""
    with cluster.connect(make_database()) as conn, keyed(conn, "k" * 32):
        yield conn


def call(conn: psycopg.Connection[Any], function: str, value: str, unique: int = 0) -> str:
    row = conn.execute(
        f"SELECT pg_temp.biso_{function}(%s, 'key', 1000000, %s, '{{}}')".encode(), (value, unique)
    ).fetchone()
    assert row is not None
    return str(row[0])


def masked(cluster: Any, make_database: Any, sql: str) -> tuple[psycopg.Connection[Any], Originals]:
    name = make_database()
    with cluster.connect(name) as conn:
        conn.execute((PEOPLE + sql).encode())
    stage: psycopg.Connection[Any] = cluster.connect(make_database(name))
    with cluster.connect(name) as source:
        inventory = classify(source)
        originals = collect(source, inventory)
    whole = extend(inventory, stage)
    mask(stage, originals, whole)
    assert prove(stage, originals, whole).leaks == ()
    return stage, originals


def rows(conn: psycopg.Connection[Any], sql: str) -> list[Any]:
    return conn.execute(sql.encode()).fetchall()


def test_the_same_person_has_the_same_name_in_every_column_document_and_text(
    cluster: Any, make_database: Any
) -> None:
    stage, _ = masked(cluster, make_database, """
        CREATE TABLE termin (id int PRIMARY KEY, teilnehmer text, angaben jsonb, namen text[]);
        INSERT INTO termin VALUES
            (1, 'Änne Großkopf-Zürcher', '{"wer": "Grosskopf-Zuercher, Aenne"}', ARRAY['ÄNNE']),
            (2, 'Frau Xhevahire von Gunten', '{"wer": "Xhevahire von Gunten"}', NULL),
            (3, 'Krähenbühl, Luís', '{"wer": "luis@posteo.example"}', NULL);
        CREATE TABLE log (id int PRIMARY KEY, marke text);
        INSERT INTO log SELECT i, md5(i::text) FROM generate_series(1, 40) i;
        INSERT INTO log VALUES (41, 'Sonderfall Änne Großkopf-Zürcher, Tel. 079 555 01 42'),
            (42, 'siehe <b>Änne</b> Großkopf-Zürcher oder aenne@posteo.example.');
    """)  # fmt: skip
    people = rows(
        stage, "SELECT vorname, nachname, email, telefon FROM person WHERE id < 4 ORDER BY id"
    )
    (anne, gross, mail, tel), (xheva, gunten, _, _), (luis, kraeh, luis_mail, _) = people
    texts = rows(stage, "SELECT teilnehmer, angaben->>'wer', namen FROM termin ORDER BY id")
    assert texts[0] == (f"{anne} {gross}", f"{gross}, {anne}", [anne.upper()])
    assert texts[1] == (f"Frau {xheva} {gunten}", f"{xheva} {gunten}", None)
    assert gunten.startswith("von ")
    assert luis == luis.upper()
    assert texts[2] == (f"{kraeh}, {luis.capitalize()}", luis_mail, None)
    marks = rows(stage, "SELECT marke, md5(id::text) FROM log ORDER BY id")
    # A text that is nobody's keeps its wording but for the originals.
    assert [mark for mark, _ in marks[:40]] == [hashed for _, hashed in marks[:40]]
    assert marks[40][0] == f"Sonderfall {anne} {gross}, Tel. {tel}"
    assert marks[41][0].startswith("siehe <b>")
    assert marks[41][0].endswith(f" {gross} oder {mail}.")
    stage.close()


def test_in_a_document_that_is_nobodys_only_the_originals_are_replaced(
    cluster: Any, make_database: Any
) -> None:
    stage, originals = masked(cluster, make_database, "")
    column = Column("public", "t", "c", Type("jsonb", "pg_catalog", "jsonb", "jsonb"))
    raw = '{"an": ["luis@posteo.example", "Akten"], "zahl": 3, "aenne@posteo.example": null}'
    made = replaced(originals, column, raw, lambda kind, old: f"‹{kind}›")
    assert made is not None
    assert json.loads(made) == {"an": ["‹mail›", "Akten"], "zahl": 3, "‹mail›": None}
    assert replaced(originals, column, '{"a": 1}', lambda kind, old: "x") is None
    stage.close()


@pytest.mark.parametrize(
    ("value", "start"),
    [
        (
            "<p class='x'>Frau <b>Änne Großkopf</b><br/>kam <a href='mailto:a@b.ch'>her</a></p>",
            "<p>",
        ),
        ('<div title="Änne Großkopf">\n  <i></i>Notiz über sie und die Kinder</div>', "<div>"),
    ],
)
def test_html_stays_html_without_its_attributes(
    session: psycopg.Connection[Any], value: str, start: str
) -> None:
    made = call(session, "text", value)
    assert made.startswith(start)
    for gone in ("Großkopf", "mailto", "kam", "Notiz", "class"):
        assert gone not in made
    for tag in ("<b>", "</b>", "<br/>", "<a>", "</a>", "<i>", "</div>", "</p>"):
        assert (tag in made) == (tag in value or tag.replace(">", " ") in value)


def test_json_in_a_text_stays_json(session: psycopg.Connection[Any]) -> None:
    value = {"arzt": "Dr. Großkopf", "zahl": 12, "tel": ["079 555 01 42"], "a@b.ch": None, "": True}
    made = json.loads(call(session, "text", json.dumps(value)))
    assert set(made) >= {"arzt", "zahl", "tel", ""}
    assert made["zahl"] == 12
    assert made["arzt"].startswith("Dr. ")
    assert "Großkopf" not in str(made)
    assert "a@b.ch" not in made


@pytest.mark.needs("php (machine)")
def test_what_php_serialised_can_be_read_by_php(session: psycopg.Connection[Any]) -> None:
    php = (
        '$v = ["email" => "aenne@posteo.example", "name" => "Änne \\"x\\"; Großkopf", 7 => ["Köniz", '
        'true, null, 1.5], "o" => new ArrayObject(["wer" => "Änne"])]; unset($v["o"]); '
    )
    value = subprocess.run(
        ["php", "-r", php + "echo serialize($v);"], check=True, capture_output=True, text=True
    ).stdout
    made = call(session, "text", value)
    read = subprocess.run(
        ["php", "-r", "echo json_encode(unserialize(stream_get_contents(STDIN)));"],
        input=made, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = json.loads(read)
    assert set(found) == {"email", "name", "7"}
    assert found["email"].endswith("@example.invalid")
    assert found["7"][1:] == [True, None, 1.5]
    assert "Großkopf" not in read.encode().decode("unicode_escape")
    # What only looks like it is a text.
    assert call(session, "text", 'a:1:{s:99:"kurz";}').startswith("Text ")


@pytest.mark.parametrize(
    ("function", "value", "same_length"),
    [
        ("phone", "+41 79 555 01 42", False),
        ("phone", "079 555 01 42", True),
        ("phone", "(079) 555.01.42", True),
        ("phone", "0795550142", True),
        ("text", "756.9217.0769.85", True),
        ("text", "CH93 0076 2011 6238 5295 7", True),
        ("text", "CH9300762011623852957", True),
        ("text", "1961-05-17", True),
        ("text", "17.05.1961", True),
        ("name", "Großkopf", False),
        ("name", "Anna-Maria", True),
        ("text", "Lindenhofgässli 17b", False),
        ("text", "7569217076985", True),
        ("text", "<Änne> " + "wort " * 30, True),
        ("text", "wort " * 30, True),
    ],
)
def test_a_pseudonym_has_the_form_of_its_original_and_is_nobodys(
    session: psycopg.Connection[Any], function: str, value: str, same_length: bool
) -> None:
    made = call(session, function, value)
    assert made != value
    assert list(identifiers(made)) == []
    assert (len(made) == len(value)) or not same_length
    assert call(session, function, value) == made


def test_one_number_written_in_several_ways_has_one_pseudonym(
    session: psycopg.Connection[Any],
) -> None:
    digits = {
        "".join(c for c in call(session, "phone", value) if c.isdigit())[:9]
        for value in ("+41 79 555 01 42", "0795550142", "079/555 01 42", "0041 79 555 01 42")
    }
    assert len(digits) == 1


@pytest.mark.parametrize("value", ["unbekannt", "---", "n/a", " ", "x", "Keine"])
def test_what_says_nothing_stays(session: psycopg.Connection[Any], value: str) -> None:
    assert call(session, "text", value) == value
    assert call(session, "name", value) == value


@pytest.mark.parametrize(
    "value", ["Иван Петров", "王小明", "Frau Dr.", "Ö", "von", "O'Neill", "7 Uhr"]
)
def test_a_name_of_any_script_changes(session: psycopg.Connection[Any], value: str) -> None:
    made = call(session, "name", value)
    assert made != value or len(value) == 1


def test_values_that_must_be_unique_are(session: psycopg.Connection[Any]) -> None:
    set_attempt(session, 1)
    for made in ("'Name' || i", "lpad(i::text, 6, '0')", "'0795' || lpad(i::text, 6, '0')",
                 "'p' || i || '@bluewin.ch'", "'Weg ' || i"):  # fmt: skip
        for unique in (1, 2):
            one = rows(
                session,
                f"SELECT count(DISTINCT pg_temp.biso_text({made}, 'k', 40, {unique}, '{{}}')) "
                "FROM generate_series(1, 3000) i",
            )[0][0]
            assert one == 3000 or unique == 1, (made, unique)
            assert one > 2900 or made.startswith("lpad"), (made, unique)


def test_spans_say_where_originals_stand(cluster: Any, make_database: Any) -> None:
    stage, originals = masked(cluster, make_database, "")
    text = "An Xhevahire von Gunten (X.Gunten@posteo.example), +41 79 555 01 43, und Peter."
    found = [(text[start:end], kind) for start, end, kind in find_spans(originals, text)]
    assert found == [
        ("Xhevahire von Gunten", "name"), ("X.Gunten@posteo.example", "mail"),
        ("+41 79 555 01 43", "phone"),
    ]  # fmt: skip
    assert find_spans(originals, "Peter aus Bern") == []
    stage.close()
