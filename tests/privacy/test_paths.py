"""What a site says of single places in JSON documents: it is left, or masked as what it is, in the
server as in Python, and the proof goes by it."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.cells import Values, searched
from biso_tasks.privacy.classify import Classified, classify
from biso_tasks.privacy.columns import Column, Type, read_columns
from biso_tasks.privacy.inventory.drift import column_drift, unused_paths
from biso_tasks.privacy.inventory.match import apply
from biso_tasks.privacy.inventory.read import parse_inventory
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.paths import said_at
from biso_tasks.privacy.prove import Leak, prove

pytestmark = pytest.mark.real

Connection = psycopg.Connection[Any]

DOCUMENT = {
    "sprachen": ["Deutsch im Alltag", "Tigrinya im Alltag"],
    "haus": {"nummer": "Wohnung 17 links", "O'Malley's \"Zimmer\"": "Zimmer mit Balkon"},
    "kinder": [{"name": "Emil Xaver", "klasse": "Klasse 3b Nord"}, {"name": "Zoë Xaver"}],
    "tief": {"a": {"b": {"kürzel": "abc def ghi"}}},
    "arzt": "Dr. Walburga Hürlimann",
    "zahl": 41795550142,
}
SAID = {
    "$.sprachen[*]": "harmless",
    "$.haus": "harmless",
    "$.haus.nummer": "text",
    "$.kinder.klasse": "harmless",
    "$.kinder[*].name": "name",
    "$.tief.**.kürzel": "harmless",
}


@pytest.mark.parametrize(
    ("paths", "way", "kind"),
    [
        ({"$.a": "harmless"}, "\x1fa", "harmless"),
        ({"$.a": "harmless"}, "\x1fa\x1fb\x1f#3", "harmless"),
        ({"$.a": "harmless"}, "\x1fab", ""),
        ({"$.a": "harmless"}, "\x1fx\x1fa", ""),
        ({"$.a[*]": "name"}, "\x1fa\x1f#12", "name"),
        ({"$.a[1]": "name"}, "\x1fa\x1f#12", ""),
        ({"$.a.b": "name"}, "\x1fa\x1f#12\x1fb", "name"),  # lax: an array is unwrapped
        ({"$.**": "text"}, "\x1fa\x1fb", "text"),
        ({"$.**.b": "text"}, "\x1fa\x1f#1\x1fb", "text"),
        ({"$.*.b": "text"}, "\x1fa\x1fc\x1fb", ""),
        ({'$."a.b (c)"': "mail"}, "\x1fa.b (c)", "mail"),
        ({"$.**": "text", "$.a.b": "name"}, "\x1fa\x1fb", "name"),  # exact before patterns
        ({"$.a": "harmless", "$.a.b": "name"}, "\x1fa\x1fb", "name"),  # longer before shorter
        ({"$": "harmless"}, "\x1fa\x1fb", "harmless"),
    ],
)
def test_which_rule_speaks_of_a_place(
    paths: dict[str, str], way: str, kind: str, database: Connection
) -> None:
    said = said_at(tuple(paths.items()))
    assert said.kind(way) == kind
    # The server goes by the same patterns.
    for pattern, told in said.patterns:
        row = database.execute("SELECT %s ~ %s", (way, pattern)).fetchone()
        if row == (True,):
            assert told == kind
            return
    assert kind == ""


@pytest.fixture
def documents(database: Connection) -> tuple[Connection, tuple[Classified, ...]]:
    """A table of documents with what privacy.toml says of it."""
    database.execute("CREATE TABLE p (id int PRIMARY KEY, angaben jsonb, alt json)")
    text = json.dumps(DOCUMENT)
    database.execute("INSERT INTO p VALUES (1, %s, %s), (2, NULL, %s)", (text, text, text))
    return database, apply([_inventory(SAID)], classify(database))


def _inventory(said: dict[str, str]) -> Any:
    paths = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in said.items())
    rule = f'{{ mask = "json", paths = {{ {paths} }} }}'
    text = f'[columns]\n"p.angaben" = {rule}\n"p.alt" = {rule}\n"p.id" = {{ harmless = "n" }}\n'
    return parse_inventory(text.replace("\\u00fc", "ü").encode(), "privacy.toml")


def test_what_is_harmless_stays_and_the_rest_is_masked_as_what_it_is(
    documents: tuple[Connection, tuple[Classified, ...]],
) -> None:
    conn, inventory = documents
    originals = collect(conn, inventory)
    assert mask(conn, originals, inventory).left == ()
    for (value,) in conn.execute(
        "SELECT angaben FROM p WHERE id = 1 UNION ALL SELECT alt::jsonb FROM p"
    ).fetchall():
        assert value["sprachen"] == DOCUMENT["sprachen"]
        assert value["tief"] == DOCUMENT["tief"]
        assert value["kinder"][0]["klasse"] == "Klasse 3b Nord"
        assert value["haus"]["O'Malley's \"Zimmer\""] == "Zimmer mit Balkon"
        assert value["haus"]["nummer"] != "Wohnung 17 links"
        assert value["arzt"] != DOCUMENT["arzt"] and value["zahl"] != DOCUMENT["zahl"]
        first, second = (child["name"].split() for child in value["kinder"])
        assert {*first, *second}.isdisjoint({"Emil", "Xaver", "Zoë"})
        assert first[1] == second[1], "as names are: word by word"
    assert prove(conn, originals, inventory).leaks == ()


def test_one_place_that_is_not_harmless_and_stays_is_found(
    documents: tuple[Connection, tuple[Classified, ...]],
) -> None:
    conn, inventory = documents
    originals = collect(conn, inventory)
    mask(conn, originals, inventory)
    conn.execute(
        "UPDATE p SET angaben = jsonb_set(angaben, '{haus,nummer}', '\"Wohnung 17 links\"')"
    )
    assert prove(conn, originals, inventory).leaks == (Leak("p.angaben", "unchanged"),)


def test_an_original_of_somewhere_else_is_found_in_a_harmless_place(
    documents: tuple[Connection, tuple[Classified, ...]],
) -> None:
    conn, _ = documents
    conn.execute("CREATE TABLE q (id int PRIMARY KEY, mail text)")
    conn.execute("INSERT INTO q VALUES (1, 'walburga@bluewin.ch')")
    inventory = apply([_inventory(SAID)], classify(conn))
    originals = collect(conn, inventory)
    mask(conn, originals, inventory)
    conn.execute(
        "UPDATE p SET angaben = jsonb_set(angaben, '{sprachen,0}', '\"an walburga@bluewin.ch\"')"
    )
    assert prove(conn, originals, inventory).leaks == (Leak("p.angaben", "mail"),)


def test_a_path_that_leads_to_nothing_is_drift(
    documents: tuple[Connection, tuple[Classified, ...]],
) -> None:
    conn, _ = documents
    columns = read_columns(conn)
    assert unused_paths(conn, [_inventory(SAID)], columns) == ()
    found = unused_paths(conn, [_inventory(SAID | {"$.hund[*].name": "name"})], columns)
    assert [one.name for one in found] == ["p.angaben: $.hund[*].name", "p.alt: $.hund[*].name"]
    assert "privacy.toml:2: no document has that" in str(found[0])
    conn.execute("DELETE FROM p")
    assert unused_paths(conn, [_inventory({"$.hund": "name"})], columns) == ()


def test_paths_for_a_column_that_holds_no_document_are_drift(database: Connection) -> None:
    database.execute("CREATE TABLE p (id int PRIMARY KEY, angaben jsonb[], alt json)")
    drift = column_drift([_inventory({"$.a": "name"})], read_columns(database))
    assert [str(one) for one in drift.changed] == [
        "p.angaben (privacy.toml:2: paths mean nothing in a column of type jsonb[])"
    ]


def test_dates_within_rows_and_arrays_are_compared_and_not_read_as_a_sentence() -> None:
    kind = Type("c", "public", "c", "composite")
    column = Column("public", "p", "c", kind)
    raw = '{"eins": "1961-05-17T10:41:07+00:00", "viele": ["1971-08-23", "Tag im Mai"]}'
    told = Values(column, [raw])
    assert told.searched() == ["eins viele Tag im Mai"]
    assert searched(column, raw).split() == ["eins", "viele", "Tag", "im", "Mai"]
    assert "1971-08-23" in told.compared()[0]
