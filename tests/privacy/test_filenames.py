"""Names of people in file names, and the rows that refer to the files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from biso_tasks.errors import StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, Listing, list_tree
from biso_tasks.files.rename import rename_entries
from biso_tasks.host import LocalHost
from biso_tasks.privacy.classify import Classified, classify, extend
from biso_tasks.privacy.distinctive import Distinctive
from biso_tasks.privacy.filenames import Names, Tree
from biso_tasks.privacy.filerefs import REASON, find_references, read_references
from biso_tasks.privacy.filerows import rename_rows
from biso_tasks.privacy.hashes import Hasher
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import Originals, collect
from biso_tasks.privacy.prove import Proof, prove

Connection = psycopg.Connection[Any]


def entry(path: str, kind: Any = "file", target: str = "") -> Entry:
    return Entry(path, kind, 1, 0, 0o640, "root", "root", 1, 1, 1, target, True)


def tree(*paths: str) -> Tree:
    """Files at these paths, and the directories above them."""
    above = {path.rsplit("/", at)[0] for path in paths for at in range(1, path.count("/") + 1)}
    return Tree([entry(one, "dir") for one in above] + [entry(path) for path in paths])


@pytest.fixture
def known() -> Distinctive:
    """Anna Müller, her phone number and mail address; Änne Großkopf-Zürcher."""
    found = Distinctive(Hasher())
    found.learn_name("Anna", "Müller")
    found.learn_name("Änne", "Großkopf-Zürcher")
    found.learn("+41 79 555 01 42")
    found.learn("anna.mueller@posteo.example")
    found.learn(
        "heute kam eine Frau zum ersten Mal hierher und sprach sehr leise über ihren Bruder"
    )
    found.freeze()
    return found


@pytest.mark.parametrize(
    "name",
    [
        "Brief Müller Anna.pdf",
        unicodedata.normalize("NFD", "Brief Müller Anna.pdf"),
        "brief_mueller_anna.PDF",
        "Brief-Anna-Müller.tar.gz",
        "BriefAnnaMüller.docx",
        "Anna.Mueller",
        "M%C3%BCller%20Anna.pdf",
        os.fsdecode("Müller Anna.pdf".encode("cp1252")),
        "Rückruf_079_555_01_42.txt",
        "anna.mueller@posteo.example.eml",
        ".Müller Anna.swp",
    ],
)
def test_a_name_that_holds_an_original_is_replaced_however_it_is_spelled(
    known: Distinctive, name: str
) -> None:
    names = Names(known.find, tree(name))
    names.judge(name)
    new = names.mapping[name]
    assert not known.find(new)
    assert "nna" not in new
    assert len(new) <= len(name)
    assert new.startswith(".") == name.startswith(".")
    ending = "" if name == "Anna.Mueller" else name[name.rindex(".") :]
    assert new.endswith(ending)


@pytest.mark.parametrize(
    "name", ["Müller.pdf", "Anna.pdf", "Übersicht Größe.txt", "2024", "1.pdf", "a/b/-rf.txt"]
)
def test_a_common_name_or_a_single_word_of_a_person_stays(known: Distinctive, name: str) -> None:
    names = Names(known.find, tree(name))
    names.judge(name)
    assert names.mapping == {}


def test_a_name_is_the_same_everywhere_within_a_run_and_other_in_the_next(
    known: Distinctive,
) -> None:
    paths = ("a/Brief Müller Anna.pdf", "b/Brief Müller Anna.pdf", "b/Brief Müller Anna.docx")
    news = []
    for _ in range(2):
        names = Names(known.find, tree(*paths))
        for path in paths:
            names.judge(path)
        one, two, three = (names.of(path.split("/")) for path in paths)
        assert one[2:] == two[2:]
        # a document and its PDF still belong together
        assert two.removesuffix(".pdf") == three.removesuffix(".docx")
        news.append(one)
    assert news[0] != news[1]


def test_new_names_are_unique_short_and_none_that_is_taken(known: Distinctive) -> None:
    # "xy Anna Müller": as many as fit, and so short that hashes soon meet
    paths = [f"{a}{b} Anna Müller" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"]
    paths += ["Anna Müller " + "ü" * 100 + ".pdf"]
    names = Names(known.find, tree(*paths))
    for path in paths:
        names.judge(path)
    new = set(names.mapping.values())
    assert len(new) == len(paths)
    assert not new & set(paths)
    assert max(len(one.encode()) for one in new) <= 255


@pytest.mark.parametrize(
    ("path", "replaced"),
    [
        ("klienten/Müller/Anna/7.pdf", {"Müller", "Anna"}),
        ("klienten/Müller Anna/7.pdf", {"Müller Anna"}),
        ("079 555/01 42/brief.pdf", {"01 42"}),
        # a path that stands in somebody's text: what says most, not the folders
        (
            "ablage/heute kam eine/Frau zum ersten Mal hierher.pdf",
            {"Frau zum ersten Mal hierher.pdf"},
        ),
    ],
)
def test_a_path_that_names_a_person_only_as_a_whole_is_broken(
    known: Distinctive, path: str, replaced: set[str]
) -> None:
    assert known.find(path.replace("/", " "))  # the trap: what the proof would find
    names = Names(known.find, tree(path))
    names.judge(path)
    assert set(names.mapping) == replaced
    assert not known.find(names.of(path.split("/")).replace("/", " "))


def test_what_leads_to_a_file_is_told_from_other_text() -> None:
    nfd = unicodedata.normalize("NFD", "Grüße.pdf")
    found = tree("dateien/1/2/Brief Anna.pdf", "dateien/12", f"hilfe/{nfd}")
    for value in (
        "dateien/1/2/Brief Anna.pdf", "/dateien/1/2/Brief Anna.pdf", "Brief Anna.pdf",
        "/srv/data/dateien/1/2/Brief Anna.pdf", "dateien/12", "dateien/1", "Grüße.pdf",
    ):  # fmt: skip
        assert found.leads_to(value), value
    for value in ("12", "1", "anders.pdf", "Frau Keller, siehe/Brief Anna.pdf", "und/oder"):
        assert not found.leads_to(value), value
    assert found.leads_to("12", loosely=True)


# -- on a real database and a real tree --


SCAN = "Scan Großkopf-Zürcher, Änne.pdf"

SCHEMA = f"""
CREATE TABLE person (id int PRIMARY KEY, vorname text, nachname text);
INSERT INTO person SELECT i, 'Vorname' || i, 'Nachname' || i FROM generate_series(2, 40) i;
INSERT INTO person VALUES (1, 'Änne', 'Großkopf-Zürcher'), (41, 'Anna', 'Müller');
CREATE TABLE bf_datei (id int PRIMARY KEY, originalname text, pfad varchar(60) UNIQUE);
INSERT INTO bf_datei SELECT i, 'Foto Anna Müller ' || i || '.jpg',
    'dateien/' || i || '/' || i || '.jpg' FROM generate_series(1, 40) i;
INSERT INTO bf_datei VALUES (50, 'a', 'import/{SCAN}'),
    (51, 'b', '/srv/daten/klienten/Müller/Anna/7.pdf'), (53, 'c', 'Frau Keller war da'),
    (52, 'nicht mitgereist', 'dateien/9/Brief Anna Müller.pdf'), (54, 'd', 'dateien/7/88.jpg');
CREATE VIEW alle AS SELECT * FROM bf_datei;
CREATE MATERIALIZED VIEW pfade AS SELECT id, pfad FROM bf_datei;
CREATE TABLE eingang (datei text PRIMARY KEY, notiz text);
INSERT INTO eingang VALUES ('{SCAN}', 'Frau Huber brachte es am Dienstag'),
    ('1.jpg', 'Herr Meier und Frau Keller kamen vorbei'), ('2.jpg', 'Frau Ott rief an');
CREATE TABLE zuordnung (id int PRIMARY KEY, datei text REFERENCES eingang DEFERRABLE, wer text);
COMMENT ON CONSTRAINT zuordnung_datei_fkey ON zuordnung IS 'gehört dazu';
INSERT INTO zuordnung VALUES (1, '{SCAN}', 'Berta Ohnesorg');
CREATE TABLE anlagen (id int PRIMARY KEY, liste text[], baum jsonb, alt json, alles citext);
INSERT INTO anlagen VALUES (1, ARRAY['{SCAN}', 'dateien/1/1.jpg'], '{{"a": ["import/{SCAN}"]}}',
    '{{"n": 1.50, "x": "{SCAN}"}}', '{SCAN}');
CREATE TABLE verlauf (id int PRIMARY KEY, was text);
INSERT INTO verlauf SELECT i, 'Gespräch am ' || i || '. Tag hier' FROM generate_series(1, 30) i;
INSERT INTO verlauf VALUES (31, '{SCAN}'), (32, 'import/{SCAN}'),
    (33, 'Frau Ott sagt: import/{SCAN}');
CREATE TABLE spur (text text);
CREATE FUNCTION spur() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO spur VALUES (OLD.pfad); RETURN NEW; END $$;
CREATE TRIGGER spur BEFORE UPDATE ON bf_datei FOR EACH ROW EXECUTE FUNCTION spur();
ALTER TABLE verlauf ENABLE ROW LEVEL SECURITY;
ALTER TABLE verlauf FORCE ROW LEVEL SECURITY;
"""


@dataclass
class Site:
    """A stage with its data dir, and the originals of the source it was copied from."""

    stage: Connection
    originals: Originals
    inventory: tuple[Classified, ...]
    data: Path
    files: Access

    def listing(self) -> Listing:
        return list_tree(self.files, str(self.data), exclude=())

    def rename(self) -> tuple[int, int]:
        """As the step does: entries and rows."""
        listing = self.listing()
        found = Tree(listing.entries)
        names = Names(self.originals.distinctive.find, found)
        for one in listing.entries:
            names.judge(one.path)
        self.inventory, references = find_references(self.stage, self.inventory, found)
        read_references(self.stage, references, names.judge)
        rows = rename_rows(self.stage, self.inventory, references, found, names, self.originals)
        targets = {
            one.path: names.of(one.target.split("/"))
            for one in listing.entries
            if one.kind == "link"
        }
        return rename_entries(self.files, listing, names.mapping, targets), rows

    def mask(self) -> None:
        mask(self.stage, self.originals, self.inventory)

    def prove(self) -> Proof:
        def read(path: Path) -> Callable[[], bytes]:
            return path.read_bytes if path.is_file() else bytes

        everything = [
            (str(path.relative_to(self.data)), read(path)) for path in self.data.rglob("*")
        ]
        return prove(self.stage, self.originals, self.inventory, files=everything)

    def value(self, select: str) -> Any:
        row = self.stage.execute(select.encode()).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture
def site(cluster: Any, make_database: Any, tmp_path: Path) -> Iterator[Site]:
    name = make_database(extensions=("citext",))
    with cluster.connect(name) as conn:
        conn.execute(SCHEMA.encode())
    data = tmp_path / "data"
    for path in [f"dateien/{i}/{i}.jpg" for i in range(1, 41)] + [
        f"import/{SCAN}", "klienten/Müller/Anna/7.pdf", "brief_vorlagen/Einladung.txt", "tmp/x",
    ]:  # fmt: skip
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_bytes(b"leer")
    (data / "verweis.pdf").symlink_to(f"import/{SCAN}")
    host = LocalHost("here")
    stage_name = make_database(name)
    with cluster.connect(name) as source, cluster.connect(stage_name) as stage:
        with source.transaction(force_rollback=True):
            source.execute("ALTER TABLE verlauf NO FORCE ROW LEVEL SECURITY")
            inventory = classify(source)
            originals = collect(source, inventory)
        yield Site(stage, originals, extend(inventory, stage), data, Access(host))
    host.close()


@pytest.mark.real
def test_without_the_step_the_proof_fails_and_the_mask_breaks_references(site: Site) -> None:
    site.mask()
    leaks = {leak.place for leak in site.prove().leaks}
    assert {"import/‹name›", "‹name›"} <= leaks
    assert not (site.data / site.value("SELECT pfad FROM bf_datei WHERE id = 1")).exists()


@pytest.mark.real
def test_files_and_rows_get_the_same_names_and_the_proof_passes(site: Site) -> None:
    renamed, rows = site.rename()
    scan = site.value("SELECT alles FROM anlagen")
    assert site.value("SELECT liste FROM anlagen") == [scan, "dateien/1/1.jpg"]
    assert site.value("SELECT baum FROM anlagen") == {"a": [f"import/{scan}"]}
    assert site.value("SELECT alt::text FROM anlagen") == f'{{"n": 1.50, "x": "{scan}"}}'
    site.mask()

    assert site.prove().leaks == ()
    assert renamed == 4  # the scan, two directories, a link that leads to the scan
    assert rows == 13
    for number, path in site.stage.execute("SELECT id, pfad FROM bf_datei WHERE id < 51"):
        assert (site.data / path).is_file(), number
    kept = site.value("SELECT pfad FROM bf_datei WHERE id = 51")
    assert kept.startswith("/srv/daten/klienten/")
    assert (site.data / kept.removeprefix("/srv/daten/")).is_file()
    assert site.value("SELECT count(*) FROM eingang WHERE datei IN ('1.jpg', '2.jpg')") == 2
    assert site.value("SELECT datei FROM zuordnung") == scan
    assert (site.data / "import" / scan).is_file()
    assert scan.endswith(".pdf")
    site.stage.execute("ALTER TABLE verlauf NO FORCE ROW LEVEL SECURITY")
    assert site.value("SELECT was FROM verlauf WHERE id = 31") == scan
    assert site.value("SELECT was FROM verlauf WHERE id = 32") == f"import/{scan}"
    assert site.value("SELECT alles FROM anlagen") == scan
    assert (site.data / "verweis.pdf").readlink() == Path("import") / scan
    assert [path.name for path in (site.data / "tmp").iterdir()] == ["x"]


@pytest.mark.real
def test_referring_columns_are_marked_harmless_and_keep_nothing_but_files(site: Site) -> None:
    before = {one.column.label for one in site.inventory if one.personal}
    site.rename()
    marked = {one.column.label for one in site.inventory if one.reason == REASON}
    assert marked >= {"bf_datei.pfad", "pfade.pfad", "eingang.datei"}
    assert "bf_datei.pfad" in before
    assert not any(one.personal for one in site.inventory if one.reason == REASON)
    # what named no file is nobody's any more; what is no name of anybody stays as it was
    assert "Keller" not in site.value("SELECT pfad FROM bf_datei WHERE id = 53")
    assert "88" not in site.value("SELECT pfad FROM bf_datei WHERE id = 54")
    assert site.value("SELECT pfad FROM bf_datei WHERE id = 52").startswith("dateien/9/datei-")
    assert "bf_datei.originalname" not in marked


@pytest.mark.real
def test_a_text_that_only_mentions_a_file_is_left_to_the_mask(site: Site) -> None:
    site.rename()
    # Rewriting a part of it would make the cell look anonymised, and keep "Frau Ott".
    site.stage.execute("ALTER TABLE verlauf NO FORCE ROW LEVEL SECURITY")
    assert site.value("SELECT was FROM verlauf WHERE id = 33") == f"Frau Ott sagt: import/{SCAN}"
    site.mask()
    assert "Ott" not in site.value("SELECT was FROM verlauf WHERE id = 33")


@pytest.mark.real
def test_a_table_whose_key_is_a_file_name_is_masked_though_its_rows_have_other_keys(
    site: Site,
) -> None:
    site.rename()
    # the trap: under its new key this row is not known to have been so in the source
    assert "Huber" in site.value("SELECT string_agg(notiz, ';') FROM eingang")
    site.mask()
    assert "Huber" not in site.value("SELECT string_agg(notiz, ';') FROM eingang")


@pytest.mark.real
def test_triggers_keys_and_row_security_are_as_before(site: Site) -> None:
    look = """SELECT string_agg(d, ';' ORDER BY d) FROM (
        SELECT conname || pg_get_constraintdef(oid) || COALESCE(obj_description(oid), '') AS d
        FROM pg_constraint WHERE contype = 'f'
        UNION ALL SELECT tgname || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT relname || relforcerowsecurity::text FROM pg_class
        WHERE relrowsecurity) s"""
    before = site.value(look)
    assert "gehört dazu" in before
    site.rename()
    assert site.value(look) == before
    assert site.value("SELECT count(*) FROM spur") == 0
    assert site.value("SELECT count(*) FROM eingang JOIN zuordnung USING (datei)") == 1


@pytest.mark.real
def test_a_column_too_short_for_a_new_name_is_named_and_nothing_is_changed(site: Site) -> None:
    site.stage.execute("CREATE TABLE kurz (id int PRIMARY KEY, datei varchar(3))")
    site.stage.execute("INSERT INTO kurz VALUES (1, 'A/B')")
    for path in ("A/B", "x"):
        (site.data / path).parent.mkdir(exist_ok=True)
    (site.data / "A/B").write_bytes(b"")
    site.originals.distinctive.learn_name("A", "Bcdefg")
    site.inventory = extend(site.inventory, site.stage)
    before = site.value("SELECT pfad FROM bf_datei WHERE id = 50")
    listing = site.listing()
    found = Tree(listing.entries)
    names = Names(site.originals.distinctive.find, found)
    names.judge(f"import/{SCAN}")
    names.replace("B")
    _, references = find_references(site.stage, site.inventory, found)
    with pytest.raises(StepFailed, match=r"kurz\.datei holds 3 characters"):
        rename_rows(site.stage, site.inventory, references, found, names, site.originals)
    assert site.value("SELECT pfad FROM bf_datei WHERE id = 50") == before


@pytest.mark.real
def test_nothing_is_renamed_over_something_and_messages_hold_no_name(site: Site) -> None:
    listing = site.listing()
    (site.data / "import/datei-1.pdf").write_bytes(b"mine")
    with pytest.raises(StepFailed) as caught:
        rename_entries(site.files, listing, {SCAN: "datei-1.pdf"}, {})
    assert "Großkopf" not in str(caught.value)
    assert (site.data / "import/datei-1.pdf").read_bytes() == b"mine"
    (site.data / "import" / SCAN).unlink()
    with pytest.raises(StepFailed) as caught:
        rename_entries(site.files, listing, {SCAN: "datei-2.pdf"}, {})
    assert "Großkopf" not in str(caught.value)


@pytest.mark.real
def test_awkward_names_and_nested_directories_are_renamed_in_one_go(site: Site) -> None:
    odd = "-rf $(x) `y` \"z\" 'q'\nÄnne Großkopf-Zürcher\\.txt"
    inner = site.data / "Anna Müller/Anna Müller/Anna Müller"
    inner.mkdir(parents=True)
    (inner / odd).write_bytes(b"hier")
    renamed, _ = site.rename()
    assert renamed == 4 + 4
    left = [path for path in site.data.rglob("*") if "nna" in str(path.relative_to(site.data))]
    assert left == []
    (found,) = site.data.glob("o*/*/*/*.txt")
    assert found.read_bytes() == b"hier"


def test_a_surname_alone_is_taken_out_of_the_names_of_files_that_are_only_placeholders() -> None:
    originals = Originals()
    originals.learn_surname("Großkopf-Zürcher")
    originals.learn_surname("Ott")
    originals.freeze()
    assert originals.holds_surname("RE 0001 Großkopf Zürcher")
    assert not originals.holds_surname("RE 0001 Ott")
    for path, widely, renamed in (
        ("rechnungen/RE-0001 Großkopf-Zürcher.pdf", True, True),
        ("rechnungen/RE-0001 Großkopf-Zürcher.pdf", False, False),
        ("rechnungen/RE-0002.pdf", True, False),
    ):
        names = Names(originals.distinctive.find, Tree([]), wide=originals.holds_surname)
        names.judge(path, widely=widely)
        assert bool(names.mapping) == renamed, path
        assert not any("zürcher" in new.casefold() for new in names.mapping.values())
