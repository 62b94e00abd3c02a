"""privacy.toml from end to end: proposed from production, committed, and a gate for migrations."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COLUMNS = {
    "haustier": "text",
    "kosename": "varchar(20)",
    "betrag": "numeric(9,2)",
    "zahl": "bigint",
    "ja": "bool",
    "tag": "date",
    "wann": "timestamptz",
    "dauer": "interval",
    "mehr": "jsonb",
    "alt": "json",
    "bild": "bytea",
    "dok": "xml",
    "ip": "inet",
    "nummer": "uuid",
    "zeitraum": "daterange",
    "suche": "tsvector",
    "viele": "text[]",
    "ort_punkt": "point",
}


def scan(world: Any, *words: str, code: int = 0) -> dict[str, Any]:
    ran = world.run("privacy-scan", *words, "--json")
    assert ran.code == code, str(ran)
    document: dict[str, Any] = ran.json
    return document


@pytest.fixture
def site(world: Any) -> Iterator[Path]:
    """The folder of the site, without an inventory; test's code is as old as production's."""
    world.site()
    folder: Path = world.site_folder
    (folder / "privacy.toml").unlink(missing_ok=True)
    yield folder
    (folder / "privacy.toml").unlink(missing_ok=True)


def same_code(world: Any) -> None:
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


def test_the_scan_proposes_writes_and_checks_and_changes_nothing_on_production(
    world: Any, site: Path
) -> None:
    before = world.prod.state()
    found = scan(world)
    assert found["inventory"] is None and found["written"] is False
    by_name = {one["name"]: one for one in found["columns"]}
    assert by_name["person.vorname"] == {
        "name": "person.vorname", "type": "text", "verdict": "personal", "kind": "given",
        "reason": by_name["person.vorname"]["reason"], "decided": "scan",
    }  # fmt: skip
    assert {one["verdict"] for one in found["files"]} == {"personal", "harmless"}
    assert not (site / "privacy.toml").exists()
    scan(world, "--check", code=3)

    assert scan(world, "--write")["written"] is True
    text = (site / "privacy.toml").read_text()
    again = scan(world, "--write", "--env", "prod")
    assert again["written"] is False and (site / "privacy.toml").read_text() == text
    checked = scan(world, "--check")
    assert checked["drift"] == {"unclassified": [], "unused": [], "changed": []}
    assert {one["decided"] for one in checked["columns"]} == {"privacy.toml"}
    assert [one for one in checked["files"] if not one["files"]] == []
    assert "person.vorname" in tomllib.loads(text)["columns"]

    world.prod.cluster.rows("ALTER TABLE person ADD haustier text, DROP ahv_nr", "biso")
    drift = scan(world, "--check", code=3)["drift"]
    assert drift == {
        "unclassified": ["person.haustier"], "unused": ["person.ahv_nr"], "changed": []
    }  # fmt: skip
    world.prod.cluster.rows("ALTER TABLE person DROP haustier, ADD ahv_nr text", "biso")
    after = world.prod.state()
    assert {k: v for k, v in after.items() if k != "database"} == {
        k: v for k, v in before.items() if k != "database"
    }
    assert world.leftovers(previous=False) == []


def test_a_plan_of_the_scan_contacts_nothing_and_a_broken_file_is_said_with_its_line(
    world: Any, site: Path
) -> None:
    planned = scan(world, "--plan", "--write")
    assert planned["plan"][0]["on"] == "prod"
    assert not (site / "privacy.toml").exists()
    (site / "privacy.toml").write_text('[columns]\n"person.vorname" = "gievn"\n')
    ran = world.run("refresh-test", "--plan")
    assert ran.code == 2
    assert 'privacy.toml:2: columns."person.vorname"' in ran.err
    assert 'did you mean "given"?' in ran.err


def test_a_migration_that_adds_a_column_of_each_type_stops_the_refresh_by_name(
    world: Any, site: Path
) -> None:
    same_code(world)
    scan(world, "--write")
    added = ", ".join(f"ADD COLUMN {name} {kind}" for name, kind in COLUMNS.items())
    migration = world.test.webroot / "migrations" / "0099_haustiere.sql"
    migration.write_text(f"ALTER TABLE person {added};\n")
    before = world.test.cluster.fingerprint(world.test.dbname), world.test.tree()

    ran = world.refresh("--from", "prod", code=3)

    for name in COLUMNS:
        assert f"person.{name} (" in ran.json["error"]["message"]
    assert "privacy-scan --write" in ran.json["error"]["hint"]
    assert (world.test.cluster.fingerprint(world.test.dbname), world.test.tree()) == before
    assert world.leftovers(previous=False) == []

    # A person says what they hold, before production has them: the run goes through.
    text = (site / "privacy.toml").read_text()
    lines = [f'"person.{name}" = {{ harmless = "no pet is a person" }}' for name in COLUMNS]
    text = text.replace("[columns]\n", "\n".join(["[columns]", *lines, ""]))
    (site / "privacy.toml").write_text(text)
    ran = world.refresh("--from", "prod")
    assert ran.json["proof"]["leaks"] == []


def test_a_column_that_production_has_and_nobody_classified_stops_it_before_it_is_copied(
    world: Any, site: Path
) -> None:
    same_code(world)
    scan(world, "--write")
    world.prod.cluster.rows("ALTER TABLE person ADD haustier text", "biso")
    ran = world.refresh("--from", "prod", code=3)
    assert "person.haustier (text)" in ran.json["error"]["message"]
    done = {one["name"]: one["status"] for one in ran.json["steps"]}
    assert done["originals"] == "failed" and done["migrate"] != "ok"
    assert world.leftovers(previous=False) == []


@pytest.mark.parametrize(
    ("section", "rule"),
    [
        ("[columns]", '"person.gibt_es_nicht" = "text"'),
        ("[files]", '"nirgends/**" = "personal"'),
        pytest.param(
            "[schema]",
            '"function public.nirgends()" = { harmless = "says hello" }',
            marks=pytest.mark.whole,
        ),
    ],
)
def test_a_rule_that_matches_nothing_stops_it_with_its_line(
    section: str, rule: str, world: Any, site: Path
) -> None:
    same_code(world)
    scan(world, "--write")
    text = (site / "privacy.toml").read_text()
    text = text if section in text else f"{text}\n{section}\n"
    text = text.replace(f"{section}\n", f"{section}\n{rule}\n")
    (site / "privacy.toml").write_text(text)
    line = text.splitlines().index(rule) + 1
    assert scan(world, "--check", code=3)["drift"]["unused"] == [rule.split('"')[1]]
    ran = world.refresh("--from", "prod", code=3)
    assert f"privacy.toml:{line}: no" in ran.json["error"]["message"]
    assert world.leftovers(previous=False) == []


PLUGIN = """
from biso_tasks.api import HarmlessFiles, PersonalColumn, PersonalFiles, hookimpl


@hookimpl
def biso_inventory(site):
    return [
        PersonalFiles("hilfe/**", "help texts name the team"),
        HarmlessFiles("schriften/**", "fonts"),
        PersonalColumn("params", "wert", "text", "the head of the office"),
        *%s,
    ]
"""


def write_plugin(site: Path, more: str = "[]") -> None:
    (site / "plugins").mkdir(exist_ok=True)
    (site / "plugins" / "rooms.py").write_text(PLUGIN % more)


def test_what_a_plugin_says_of_columns_and_files_is_what_becomes_of_them(
    world: Any, site: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: shutil.rmtree(site / "plugins", ignore_errors=True))
    same_code(world)
    world.site(site={"plugins": ["plugins"]}, refresh={"files": {"gibt es nicht/**": "copy"}})
    write_plugin(site)

    ran = world.refresh("--from", "prod")

    assert "'gibt es nicht/**' matches no file of prod" in ran.err
    theirs, ours = world.prod, world.test
    pages = [p.relative_to(theirs.datadir) for p in (theirs.datadir / "hilfe").rglob("*.html")]
    assert pages
    for page in pages:
        assert (theirs.datadir / page).read_bytes() != (ours.datadir / page).read_bytes()
    for font in (theirs.datadir / "schriften").rglob("*.ttf"):
        there = ours.datadir / font.relative_to(theirs.datadir)
        assert there.read_bytes() == font.read_bytes()
    values = "SELECT name, wert FROM params ORDER BY 1"
    assert not set(theirs.cluster.rows(values, theirs.dbname)) & {
        row for row in ours.cluster.rows(values, ours.dbname) if len(row[1]) > 1
    }, "masked, although the table is one of settings"

    write_plugin(site, "[PersonalColumn('person', 'zimmer', 'text')]")
    ran = world.refresh("--from", "prod", code=3)
    assert "person.zimmer (plugin rooms: no column is called so)" in ran.json["error"]["message"]


def test_a_table_of_migrations_called_otherwise_is_nobodys(world: Any, site: Path) -> None:
    """Masked, all migrations would be applied again to the copy that is served."""
    same_code(world)
    for one in (world.prod, world.test):
        one.cluster.rows("ALTER TABLE migrations RENAME TO schema_version", one.dbname)
        for file in (one.webroot / "biso-cli", one.webroot / "index.php"):
            text = file.read_text()
            for word in ("FROM ", "INTO ", "('", "TABLE IF NOT EXISTS "):
                text = text.replace(f"{word}migrations", f"{word}schema_version")
            file.write_text(text)
    names = "SELECT name FROM schema_version ORDER BY 1"
    known = world.prod.cluster.rows(names, "biso")
    assert len(known) > 1

    found = {one["name"]: one for one in scan(world)["columns"]}
    assert found["schema_version.name"]["verdict"] == "harmless"
    assert found["schema_version.name"]["reason"] == "content: names of migrations"

    world.refresh("--from", "prod")
    served = world.test.cluster.rows(names, world.test.dbname)
    assert set(known) <= set(served)

    # Whoever says otherwise is told before anything is swapped.
    (site / "privacy.toml").unlink(missing_ok=True)
    scan(world, "--write")
    text = (site / "privacy.toml").read_text().splitlines()
    text = [
        '"schema_version.name" = "name"' if one.startswith('"schema_version.name"') else one
        for one in text
    ]
    (site / "privacy.toml").write_text("\n".join(text) + "\n")
    ran = world.refresh("--from", "prod", code=4)
    assert "pending again" in ran.json["error"]["message"]
    assert world.test.cluster.rows(names, world.test.dbname) == served
    assert world.leftovers(previous=True) == []
