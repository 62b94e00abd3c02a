"""The whole way on a real server: classify, collect, mask, prove."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any, get_args

import psycopg
import pytest

from biso_tasks.errors import BisoError, StepFailed
from biso_tasks.privacy.classify import Classified, Kind, classify, extend
from biso_tasks.privacy.inventory.match import vouched_files
from biso_tasks.privacy.inventory.model import FileRule, Inventory
from biso_tasks.privacy.mask import mask, maskable
from biso_tasks.privacy.masking.keys import is_key
from biso_tasks.privacy.originals import Originals, collect
from biso_tasks.privacy.prove import Leak, Proof, prove

pytestmark = pytest.mark.real

Connection = psycopg.Connection[Any]

# An uuid says nothing by itself; here a site declares it personal.
OVERRIDES = {"person.schluessel": True}
RULES = (*get_args(Kind), "view", "comment")


@pytest.fixture
def inventory(source: Connection) -> tuple[Classified, ...]:
    return classify(source, overrides=OVERRIDES)


@pytest.fixture
def originals(source: Connection, inventory: tuple[Classified, ...]) -> Originals:
    return collect(source, inventory)


def places(proof: Proof) -> set[str]:
    return {leak.place for leak in proof.leaks}


def test_with_every_rule_on_nothing_survives(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    before = prove(stage, originals, inventory)
    personal = {one.column.label for one in inventory if one.personal}
    empty = {"ohne_zeilen.text", "tier.name", "protokoll_kopie.alt"}
    assert personal - places(before) == empty

    done = mask(stage, originals, inventory)
    after = prove(stage, originals, inventory)

    assert after.leaks == ()
    assert after.values > 1000
    assert after.columns > 40
    assert done.views == 4 - 1
    assert set(after.as_json()) == {"columns", "values", "files", "leaks"}


def expected(rule: str, inventory: tuple[Classified, ...]) -> set[str]:
    if rule == "view":
        return {one.column.label for one in inventory if one.column.kind == "view" and one.personal}
    if rule == "comment":
        return {"comment on table column public.person.ort"}
    empty = {"ohne_zeilen.text", "tier.name", "protokoll_kopie.alt"}
    return {
        one.column.label
        for one in inventory
        if one.kind == rule
        and one.personal
        and (maskable(one.column) or one.column.kind == "large objects")
    } - empty


@pytest.mark.parametrize("rule", RULES)
def test_with_one_rule_off_the_proof_names_its_places(
    rule: str, stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    places_of_rule = expected(rule, inventory)
    assert places_of_rule, f"nothing is planted for the rule {rule}"

    mask(stage, originals, inventory, off={rule})
    found = places(prove(stage, originals, inventory))

    assert places_of_rule <= found
    # Nothing else is accused, but what is computed from those very columns.
    computed = {"person.voll", "liste.wer", "liste.mail", "liste_kurz.wer", "mails.mail"}
    assert found - places_of_rule <= computed


def test_with_any_one_column_left_out_the_proof_names_it(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    """Generated over all personal columns, one at a time; keys change with what refers to them, and
    are left out together in the test before."""
    empty = {"ohne_zeilen.text", "tier.name", "protokoll_kopie.alt"}
    missed, tried = [], 0
    for one in inventory:
        objects = one.column.kind == "large objects"
        if not one.personal or not (maskable(one.column) or objects) or is_key(one.column):
            continue
        if one.column.label in empty:
            continue
        tried += 1
        rules = [replace(rule, personal=rule.personal and rule is not one) for rule in inventory]
        with stage.transaction(force_rollback=True):
            mask(stage, originals, rules, off={"spans"})
            if one.column.label not in places(prove(stage, originals, inventory)):
                missed.append(one.column.label)
    assert missed == []
    assert tried > 30


def test_a_single_cell_left_over_is_found(
    source: Connection,
    stage: Connection,
    originals: Originals,
    inventory: tuple[Classified, ...],
) -> None:
    mask(stage, originals, inventory)
    stage.execute("ALTER TABLE person DISABLE TRIGGER USER")
    for column, kind in (("ort", "unchanged"), ("plz", "unchanged"), ("geburtsdatum", "unchanged")):
        old = source.execute(f"SELECT {column} FROM person WHERE id = 17".encode()).fetchone()
        assert old is not None
        update = f"UPDATE person SET {column} = %s WHERE id = 17"
        stage.execute(update.encode(), old)
        assert Leak(f"person.{column}", kind) in prove(stage, originals, inventory).leaks


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("ruft an unter +41 79 207 14 17", "phone"),
        ("schreibt an PERSON7@bluewin.ch", "mail"),
        ("traf Mueller Reiner im Hof", None),
        ("traf Zoë Krähenbühl im Hof", "name"),
        ("traf Krähenbühl, Zoë", "name"),
        ("sie nun alleine für die Wohnung aufkommen muss und ein grosses Objekt", "text"),
        ("Peter wohnt in Bern", None),
        ("info@beratung.ch", None),
        ("Mit freundlichen Grüssen Ihre Beratungsstelle in Bern und Thun am schönen See", None),
    ],
)
def test_what_points_to_one_person_is_found_anywhere_and_a_first_name_or_town_is_not(
    value: str,
    kind: str | None,
    stage: Connection,
    originals: Originals,
    inventory: tuple[Classified, ...],
) -> None:
    mask(stage, originals, inventory)
    stage.execute("UPDATE fall_status SET bezeichnung = %s WHERE id = 3", (value,))
    leaks = prove(stage, originals, inventory).leaks
    if kind is None:
        assert leaks == ()
    else:
        assert leaks == (Leak("fall_status.bezeichnung", kind),)


def test_shuffling_the_values_among_the_rows_is_no_anonymising(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    mask(stage, originals, inventory, off={"mail", "phone"})
    stage.execute("ALTER TABLE person DISABLE TRIGGER USER")
    stage.execute("""ALTER TABLE person DROP CONSTRAINT "person_E-Mail_key" """)
    stage.execute("""UPDATE person p SET "E-Mail" = q."E-Mail", telefon = q.telefon
        FROM person q WHERE q.id = p.id % 40 + 1""")
    leaks = prove(stage, originals, inventory).leaks
    assert {Leak("person.E-Mail", "mail"), Leak("person.telefon", "phone")} <= set(leaks)
    mask(stage, originals, inventory)
    assert prove(stage, originals, inventory).leaks == ()


def test_files_are_searched_by_path_and_content_and_the_value_is_never_named(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    mask(stage, originals, inventory)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("brief/Zoë Krähenbühl.txt", "x")
        archive.writestr("word/document.xml", "<w:t>person7@blue</w:t><w:t>win.ch</w:t>")
        archive.writestr("clean.xml", "<w:t>person7@example.ch</w:t>")
    files = {
        "vorlagen/a.docx": out.getvalue(),
        "vorlagen/Krähenbühl_Zoë/2.pdf": b"%PDF-1.4 nothing",
        "vorlagen/ok.txt": "Sehr geehrter Peter, Grüsse aus Bern".encode(),
        "vorlagen/tel.txt": b"079 207 14 17",
    }
    proof = prove(stage, originals, inventory, files=[(p, lambda d=d: d) for p, d in files.items()])
    assert proof.files == 4
    assert places(proof) == {
        "vorlagen/a.docx!brief/‹name›",
        "vorlagen/‹name›/2.pdf",
        "vorlagen/tel.txt",
    } | {leak.place for leak in proof.leaks if leak.kind == "mail"}
    assert "Zoë" not in repr(proof)


def test_a_file_that_nobody_can_open_passes_where_a_person_vouched_for_it_by_name(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    mask(stage, originals, inventory)
    shut = b"7z\xbc\xaf\x27\x1c\0\4 nobody"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("innen.7z", shut)

    def proved(path: str, data: bytes, *vouched: str) -> Proof:
        given = [(path, lambda: data)]
        return prove(stage, originals, inventory, files=given, vouched=vouched)

    for vouched in ((), ("hilfe/b.7z",), ("hilfe",), ("a.7z",), ("hilfe/*",)):
        proof = proved("hilfe/a.7z", shut, *vouched)
        assert (proof.leaks, proof.unread) == ((Leak("hilfe/a.7z", "unreadable"),), ())
    proof = proved("hilfe/a.7z", shut, "hilfe/a.7z")
    assert proof.ok and proof.unread == ("hilfe/a.7z",)
    proof = proved("hilfe/a.zip", packed.getvalue(), "hilfe/a.zip")
    assert proof.ok and proof.unread == ("hilfe/a.zip",)
    # What can be seen of it is searched all the same.
    proof = proved("hilfe/a.7z", shut + b" person7@bluewin.ch ", "hilfe/a.7z")
    assert proof.leaks == (Leak("hilfe/a.7z", "mail"),)


def test_a_file_is_vouched_for_by_its_whole_name_with_a_reason() -> None:
    def rules(*given: FileRule) -> Inventory:
        return Inventory("privacy.toml", "privacy.toml", files=given)

    said = rules(
        FileRule("hilfe/a.7z", False, "geprüft"),
        FileRule("/hilfe/b.7z", False, "geprüft"),
        FileRule("hilfe/c.7z", False),
        FileRule("hilfe/d.7z", True, "geprüft"),
        FileRule("hilfe/*", False, "geprüft"),
    )
    later = rules(FileRule("hilfe/d.7z", False, "a plugin"), FileRule("e", False, "a plugin"))
    assert vouched_files([said, later]) == {"hilfe/a.7z", "hilfe/b.7z", "e"}


def test_pseudonyms_are_the_same_across_tables_and_other_in_the_next_run(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    stage.execute("CREATE TABLE freund (id int PRIMARY KEY, vorname text, mail text)")
    stage.execute("""INSERT INTO freund SELECT id, vorname, "E-Mail" FROM person""")
    whole = extend(inventory, stage)
    mask(stage, originals, whole)
    same = """SELECT count(*) FROM person p JOIN freund f USING (id, vorname)
        WHERE p."E-Mail" = f.mail"""
    assert stage.execute(same.encode()).fetchone() == (40,)
    first = stage.execute("SELECT vorname FROM freund WHERE id = 1").fetchone()
    mask(stage, originals, [replace(o, kind="text") for o in whole if o.column.table == "freund"])
    assert stage.execute("SELECT vorname FROM freund WHERE id = 1").fetchone() != first


def test_a_new_column_of_a_migration_is_judged_and_masked(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    stage.execute("ALTER TABLE person ADD neu text; UPDATE person SET neu = ort")
    whole = extend(inventory, stage)
    assert [o.personal for o in whole if o.column.label == "person.neu"] == [True]
    mask(stage, originals, whole)
    row = stage.execute("SELECT count(*) FROM person WHERE neu IN ('Bern', 'Thun')").fetchone()
    assert row == (0,)


def test_triggers_write_nothing_elsewhere_and_are_as_before_afterwards(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    stage.execute("""CREATE TRIGGER aus BEFORE UPDATE ON person FOR EACH ROW
        EXECUTE FUNCTION merken(); ALTER TABLE person DISABLE TRIGGER aus;
        CREATE TRIGGER immer BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION merken();
        ALTER TABLE person ENABLE ALWAYS TRIGGER immer""")
    look = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    before = stage.execute(look.encode()).fetchall()
    mask(stage, originals, inventory)
    assert stage.execute("SELECT count(*) FROM protokoll_kopie").fetchone() == (0,)
    assert stage.execute(look.encode()).fetchall() == before


def test_forced_row_security_hides_no_row_from_mask_and_proof(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    stage.execute("ALTER TABLE geheim FORCE ROW LEVEL SECURITY")
    assert stage.execute("SELECT count(*) FROM geheim").fetchone() == (0,)  # the trap
    assert "geheim.inhalt" in places(prove(stage, originals, inventory))
    mask(stage, originals, inventory)
    assert "geheim.inhalt" not in places(prove(stage, originals, inventory))
    look = "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'geheim'"
    assert stage.execute(look.encode()).fetchone() == (True,)


def test_kept_tables_are_neither_masked_nor_searched(
    source: Connection, stage: Connection, inventory: tuple[Classified, ...]
) -> None:
    originals = collect(source, inventory, keep={"bf_log"})
    mask(stage, originals, inventory, keep={"bf_log"})
    row = stage.execute('SELECT count(*) FROM bf_log WHERE "user" = %s', ("Peter Müller",))
    assert row.fetchone() == (40,)
    assert prove(stage, originals, inventory, keep={"bf_log"}).leaks == ()


@pytest.mark.parametrize(
    ("condition", "leaks"),
    [
        ("", True),
        ("person.id = 17", False),  # the table may be called by its name
        ("id = 18", True),
        ("CASE WHEN id = 17 THEN NULL ELSE false END", True),  # NULL is not fulfilled
    ],
)
def test_kept_rows_are_not_searched_and_their_neighbours_are(
    condition: str,
    leaks: bool,
    source: Connection,
    stage: Connection,
    originals: Originals,
    inventory: tuple[Classified, ...],
) -> None:
    mask(stage, originals, inventory)
    stage.execute("ALTER TABLE person DISABLE TRIGGER USER")
    shown = "SELECT ort, foto FROM person WHERE id = 17"
    old = source.execute(shown.encode()).fetchone()
    assert old is not None and None not in old
    stage.execute("UPDATE person SET ort = %s, foto = %s WHERE id = 17", old)
    kept = {"person": condition} if condition else {}
    found = prove(stage, originals, inventory, keep_rows=kept).leaks
    assert (Leak("person.ort", "unchanged") in found) is leaks
    assert (Leak("person.foto", "unchanged") in found) is leaks
    assert bool(found) is leaks


def test_a_sample_is_said_and_still_finds_an_unmasked_column(
    cluster: Any, make_database: Any
) -> None:
    name = make_database()
    with cluster.connect(name) as conn:
        conn.execute("CREATE TABLE p (id int PRIMARY KEY, nachname text, strasse text)")
        conn.execute(
            "INSERT INTO p SELECT i, 'Name' || i, 'Weg ' || i FROM generate_series(1, 30000) i"
        )
    with (
        cluster.connect(name) as src,
        cluster.connect(make_database(name)) if False else (cluster.connect(name)) as stg,
    ):
        inventory = classify(src)
        originals = collect(src, inventory, bound=6000)
        assert originals.sampled
        assert 4000 < originals.values < 8000
        proof = prove(stg, originals, inventory)
        assert proof.sampled
        assert places(proof) == {"p.nachname", "p.strasse"}
        mask(stg, originals, inventory)
        assert prove(stg, originals, inventory).leaks == ()
        left = stg.execute("SELECT count(*) FROM p WHERE nachname = 'Name' || id").fetchone()
        assert left == (0,)  # also in the rows that no hash was taken of


def test_a_blind_scanner_fails_by_its_canaries(
    stage: Connection,
    originals: Originals,
    inventory: tuple[Classified, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask(stage, originals, inventory)
    monkeypatch.setattr("biso_tasks.privacy.distinctive.identifiers", lambda text: iter(()))
    leaks = prove(stage, originals, inventory).leaks
    assert leaks
    assert {leak.kind for leak in leaks} == {"canary"}
    assert stage.execute("SELECT to_regclass('pg_temp.biso_canary')").fetchone() == (None,)


def test_one_row_left_over_in_a_table_without_a_key_is_found(
    database: Connection, cluster: Any, make_database: Any
) -> None:
    """A number that repeats tells no row from another; with the time it does."""
    database.execute("""CREATE TABLE ereignis (art int, zeit timestamptz, ort text);
        INSERT INTO ereignis SELECT i % 3, timestamptz '2024-01-01 08:00+00' + i * interval '1 min',
            'Wiler bei Nummer ' || i FROM generate_series(1, 60) i""")
    inventory = classify(database)
    assert [one.personal for one in inventory if one.column.name == "ort"] == [True]
    originals = collect(database, inventory)
    with database.transaction():
        database.execute(
            "UPDATE ereignis SET ort = 'anderswo ' || zeit WHERE zeit > '2024-01-01 08:02+00'"
        )
    assert Leak("ereignis.ort", "unchanged") in prove(database, originals, inventory).leaks
    mask(database, originals, inventory)
    assert prove(database, originals, inventory).leaks == ()


def test_an_error_names_the_constraint_and_quotes_no_row(
    source: Connection, stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    stage.execute("""ALTER TABLE person ADD CONSTRAINT schweiz CHECK (telefon LIKE '079%')""")
    with pytest.raises(StepFailed) as caught:
        mask(stage, originals, inventory)
    error: BaseException | None = caught.value
    assert "schweiz" in str(error)
    while error is not None:
        assert isinstance(error, BisoError)
        assert "bluewin" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


def test_nothing_shows_a_value(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    proof = prove(stage, originals, inventory)
    done = mask(stage, originals, inventory)
    shown = f"{proof!r} {proof.as_json()} {done!r} {originals!r} {originals.distinctive!r} "
    shown += f"{originals.canaries!r} {inventory!r}"
    for word in ("bluewin", "Krähenbühl", "756.9217", "0076 2011", "Bahnhofstrasse", "Portugal"):
        assert word not in shown


def test_sequences_keys_and_references_hold_after_masking(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    count = """SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM notiz n JOIN person p
        ON p.id = n.person_id), (SELECT count(*) FROM person WHERE fallnr IS NOT NULL),
        (SELECT count(*) FROM person WHERE "Straße" IS NULL)"""
    before = stage.execute(count.encode()).fetchone()
    mask(stage, originals, inventory)
    assert stage.execute(count.encode()).fetchone() == before


def test_a_rewrite_leaves_no_original_in_the_files_of_the_server(
    cluster: Any, stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    def held() -> bool:
        with cluster.connect(stage.info.dbname, "postgres") as admin:
            admin.execute("CHECKPOINT")
        files = stage.execute("""SELECT pg_relation_filepath(oid) FROM pg_class
            WHERE relkind IN ('r', 'i', 't') AND relfilenode <> 0 AND oid >= 16384""").fetchall()
        found = [(cluster.directory / "d" / path).read_bytes() for (path,) in files]
        return any(b"person7@bluewin.ch" in data for data in found)

    assert held()
    mask(stage, originals, inventory, rewrite="auto")
    assert not held()


def test_statistics_and_settings_hold_no_original(
    stage: Connection, originals: Originals, inventory: tuple[Classified, ...]
) -> None:
    stage.execute("CREATE STATISTICS st (mcv) ON vorname, nachname FROM person; ANALYZE")
    mask(stage, originals, inventory)
    look = """SELECT count(*) FROM pg_stats_ext WHERE most_common_vals::text LIKE '%Müller%'"""
    assert stage.execute(look.encode()).fetchone() == (0,)
    assert prove(stage, originals, inventory).leaks == ()
    given = [
        ("database setting app.wer", "person7@bluewin.ch"),
        ("database setting work_mem", "4MB"),
    ]
    leaks = prove(stage, originals, inventory, settings=given).leaks
    assert leaks == (Leak("database setting app.wer", "mail"),)
