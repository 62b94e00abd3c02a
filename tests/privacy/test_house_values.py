"""What is left out of the search: the house's own, and never a client's because it stands in
settings too, or often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.classify import classify
from biso_tasks.privacy.distinctive import Distinctive
from biso_tasks.privacy.hashes import Hasher
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import Leak, prove

Connection = psycopg.Connection[Any]

PHONE = "+41 79 555 01 42"
MAIL = "aenne.grosskopf@posteo.example"
PASSAGE = (
    "weil ihr Bruder gestern unerwartet nach Portugal zurückgekehrt ist und sie nun allein ist"
)


def found(
    learnt: Sequence[tuple[str, int, str]], settings: Iterable[str], asked: str
) -> frozenset[str]:
    """What is found in `asked` after values (text, owner, family name) and `settings` were seen."""
    known = Distinctive(Hasher())
    for text, owner, family in learnt:
        known.learn_cells([text], [owner], [family])
    known.freeze(settings)
    return known.find(asked)


@pytest.mark.parametrize(
    ("learnt", "settings", "kinds"),
    [
        # one person holds it: wherever else it stands, and however often
        ([(PHONE, 1, "Großkopf")], [f"Zentrale {PHONE}"], {"phone"}),
        ([(PHONE, 1, "Großkopf")] * 50, [PHONE], {"phone"}),
        ([(PHONE, at, "Großkopf") for at in range(50)], [PHONE], {"phone"}),
        ([(f"Rückruf {PHONE}, abends", at, "") for at in range(2)], [PHONE], {"phone"}),
        # her number in a queue of messages, which has no name beside it
        ([(PHONE, at, "") for at in range(50)], [PHONE], {"phone"}),
        ([(f"rief an: {PHONE}", at, "") for at in range(50)] + [(PHONE, 1, "Ott")], [], {"phone"}),
        # given for want of another by people who have nothing to do with each other
        ([(PHONE, at, name) for at, name in enumerate(("Ott", "Abt", "Roth"))], [PHONE], set()),
        ([(PHONE, at, name) for at, name in enumerate(("Ott", "Abt", "Roth"))], [], {"phone"}),
        # in the letters to everybody
        ([(f"Wir sind da: {PHONE}, täglich", at, "") for at in range(9)], [], set()),
        ([(f"Wir sind da: {PHONE}, täglich", at, "") for at in range(3)], [PHONE], set()),
        ([(f"Wir sind da: {PHONE}, täglich", 7, "") for _ in range(50)], [PHONE], {"phone"}),
    ],
)
def test_a_number_is_the_houses_by_who_holds_it(
    learnt: Sequence[tuple[str, int, str]], settings: Sequence[str], kinds: set[str]
) -> None:
    assert found(learnt, settings, f"siehe {PHONE}") == kinds


def test_what_the_site_calls_its_own_is_nobodys_but_for_an_ahv_number() -> None:
    ahv = "756.9217.0769.85"
    for own, kinds in (((), {"phone", "ahv"}), ((PHONE, ahv), {"ahv"})):
        known = Distinctive(Hasher())
        known.learn_cells([PHONE, ahv], [1, 1], ["Großkopf", "Großkopf"])
        known.freeze((), own)
        assert known.find(f"{PHONE}; {ahv}") == kinds


@pytest.mark.parametrize(
    ("mail", "settings", "kinds"),
    [
        (MAIL, [f"letzter Klient: {MAIL}"], {"mail"}),
        ("info@beratung.example", ["info@beratung.example"], set()),
        (
            "b.keller@beratung.example",
            ["info@beratung.example", "b.keller@beratung.example"],
            set(),
        ),
        ("b.keller@beratung.example", ["b.keller@beratung.example"], {"mail"}),
        # at the office of somebody else
        ("info@arbeitgeber.example", [], {"mail"}),
    ],
)
def test_a_mail_address_is_the_houses_by_its_domain_in_the_settings(
    mail: str, settings: Sequence[str], kinds: set[str]
) -> None:
    assert found([(mail, 1, "Keller")], settings, f"an {mail} geschickt") == kinds


def test_an_ahv_number_is_never_the_houses() -> None:
    ahv = "756.9217.0769.85"
    many = [(ahv, at, name) for at, name in enumerate(("Ott", "Abt", "Roth") * 9)]
    assert found(many, [ahv], ahv) == {"ahv"}


@pytest.mark.parametrize(
    ("owners", "settings", "kinds"),
    [
        (range(8), [], {"text"}),
        (range(9), [], set()),
        # quoted in every answer of one exchange of mails
        ([3] * 40, [], {"text"}),
        (range(2), [PASSAGE], {"text"}),
        (range(3), [PASSAGE], set()),
    ],
)
def test_a_passage_is_the_houses_when_it_is_in_the_texts_of_many_people(
    owners: Iterable[int], settings: Sequence[str], kinds: set[str]
) -> None:
    learnt = [(f"{at}: {PASSAGE}", owner + 1, "") for at, owner in enumerate(owners)]
    assert found(learnt, settings, f"Sie sagt, {PASSAGE}.") == kinds


def test_a_name_in_the_settings_is_the_houses_when_only_staff_bears_it() -> None:
    for client, kinds in ((False, set[str]()), (True, {"name"})):
        known = Distinctive(Hasher())
        known.learn_name("Barbara", "Keller", staff=True)
        if client:
            known.learn_name("Barbara", "Keller")
        known.learn_name("Sandro", "Hofer", staff=True)
        known.freeze(["Leitung: Barbara Keller"])
        assert known.find("Es grüsst Barbara Keller") == kinds
        assert known.find("Es grüsst Hofer, Sandro") == {"name"}


SCHEMA = f"""
CREATE TABLE person (id int PRIMARY KEY, vorname text, nachname text, email text, telefon text);
INSERT INTO person VALUES (1, 'Änne', 'Großkopf', '{MAIL}', '{PHONE}');
INSERT INTO person SELECT i, (ARRAY['Xhevahire','Btissam','Reto'])[1 + i % 3],
    (ARRAY['Xhemajli','El Idrissi','Gut','Klein'])[1 + i % 4], 'p' || i || '@bluewin.ch',
    '078 200 10 ' || i FROM generate_series(10, 60) i;
CREATE TABLE users (id int PRIMARY KEY, vorname text, nachname text, email text, passwort text);
INSERT INTO users VALUES (1, 'Barbara', 'Keller', 'b.keller@stelle.example', 'x');
CREATE TABLE params (name text PRIMARY KEY, wert text);
INSERT INTO params VALUES ('mail.absender', 'info@stelle.example'), ('telefon', '031 555 20 20'),
    ('leitung', 'Barbara Keller, b.keller@stelle.example'), ('zuletzt', 'Änne Großkopf'),
    ('test.an', '{MAIL}'), ('rückruf', 'Frau G., {PHONE}');
CREATE TABLE mailqueue (id int PRIMARY KEY, an text, betreff text, text text);
INSERT INTO mailqueue SELECT i, '{MAIL}', 'Betreff ' || i, 'Guten Tag, Ihr Termin Nr. ' || i ||
    '. Fragen: 031 555 20 20, info@stelle.example. Sie schrieben: {PASSAGE}'
    FROM generate_series(1, 30) i;
CREATE TABLE brief (id int PRIMARY KEY, person_id int REFERENCES person, text text);
INSERT INTO brief SELECT i, i + 10, 'Beratungsstelle Münstergasse 1 in 3011 Bern, Telefon 031 555 '
    || '20 20, info@stelle.example. Liebe Nummer ' || i FROM generate_series(1, 20) i;
CREATE MATERIALIZED VIEW oft AS SELECT i, email, telefon FROM person, generate_series(1, 25) i;
CREATE TABLE fall_status (id int PRIMARY KEY, bezeichnung text);
INSERT INTO fall_status VALUES (0, 'offen'), (1, 'zu {MAIL}'), (2, 'klein'), (3, 'gut');
CREATE TABLE zuweisung (id int PRIMARY KEY, status int REFERENCES fall_status, berater_code text);
INSERT INTO zuweisung SELECT i, i % 4, (ARRAY['Xhevahire', 'Btissam', 'A7'])[1 + i % 3]
    FROM generate_series(1, 300) i;
"""


@pytest.mark.real
def test_what_is_a_clients_is_found_in_settings_queues_views_and_look_up_tables(
    database: Connection,
) -> None:
    database.execute(SCHEMA.encode())
    inventory = classify(database)
    personal = {one.column.label: one.personal for one in inventory}
    # no list of ours has these names
    assert personal["zuweisung.berater_code"]
    assert not personal["params.wert"]

    originals = collect(database, inventory)
    leaks = set(prove(database, originals, inventory).leaks)
    assert {Leak("params.wert", kind) for kind in ("mail", "phone", "name")} <= leaks
    assert {Leak("mailqueue.an", "mail"), Leak("mailqueue.text", "text")} <= leaks
    assert {Leak("oft.email", "mail"), Leak("oft.telefon", "phone")} <= leaks
    assert Leak("fall_status.bezeichnung", "mail") in leaks

    find = originals.distinctive.find
    for house in (
        "Beratungsstelle Münstergasse 1 in 3011 Bern, Telefon 031 555 20 20, info@stelle.example.",
        "Barbara Keller, b.keller@stelle.example",
        "Peter, Gut und Klein",
    ):
        assert find(house) == frozenset()


def test_spans_say_what_a_mask_must_take_out_of_a_text_of_the_house() -> None:
    known = Distinctive(Hasher())
    known.learn_name("Änne Maria", "von Großkopf")
    known.learn_cells([MAIL, PHONE, PASSAGE], [1, 2, 3])
    known.freeze()
    text = "<b>Zuletzt</b>: A\u0308nne GROSSKOPF; Änne von Groß<i>kopf</i> «Von Grosskopf, Änne» "
    text += f"mailto:{MAIL}, Tel. +41 (0)79 555 01 42. Sie sagt, dass {PASSAGE}, und geht."
    spans = known.find_spans(text)
    assert [(text[start:end], kind) for start, end, kind in spans] == [
        ("Von Grosskopf, Änne", "name"),
        (MAIL, "mail"),
        ("+41 (0)79 555 01 42", "phone"),
        (PASSAGE, "text"),
    ]
    assert {kind for _, _, kind in spans} == known.find(text)
    assert known.find_spans("nichts als 3011 Bern") == []


def test_a_long_name_at_the_end_of_a_text_is_one_span() -> None:
    known = Distinctive(Hasher())
    known.learn_name("Änne", "von Großkopf")
    known.freeze()
    for text in ("Änne von Großkopf", "Gespräch mit Von Grosskopf, Änne"):
        (span,) = known.find_spans(text)
        assert (span[1], span[2]) == (len(text), "name")
