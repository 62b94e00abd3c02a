"""privacy.toml: read with every error at once, matched, written without losing a person's word."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.config.findings import BadConfig
from biso_tasks.config.load import parse
from biso_tasks.errors import ConfigError
from biso_tasks.files.listing import Entry
from biso_tasks.hooks.types import HarmlessColumn, HarmlessFiles, PersonalColumn, PersonalFiles
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import LARGE_OBJECTS, Column, Family, Type
from biso_tasks.privacy.inventory.drift import column_drift, unused_files
from biso_tasks.privacy.inventory.files import chosen, judge
from biso_tasks.privacy.inventory.match import apply, file_rules
from biso_tasks.privacy.inventory.model import Inventory
from biso_tasks.privacy.inventory.read import find_inventory, parse_inventory
from biso_tasks.privacy.inventory.said import inventory_of
from biso_tasks.privacy.inventory.write import propose, render

WHOLE = """\
[columns]
# of people
"person.vorname" = "given"
"person.status" = { harmless = "codes", type = "varchar" }
"person.angaben" = { mask = "json", paths = { "$.sprachen[*]" = "harmless", "$.**" = "text" } }
"archiv.*" = "text"
"archiv.jahr" = { harmless = "a year" }

[large_objects]
verdict = "personal"

[files]
"dateien/**" = "personal"
"dateien/logo.png" = { harmless = "the logo" }

[schema]
"function public.gruss()" = { harmless = "the office's own address" }
"""


def column(label: str, family: Family = "text", name: str = "text", **more: Any) -> Column:
    table, _, own = label.rpartition(".")
    return Column("public", table, own, Type(name, "pg_catalog", name, family), **more)


def inventory(text: str) -> Inventory:
    return parse_inventory(text.encode(), "privacy.toml")


def judged(*columns: Column, personal: bool = True) -> list[Classified]:
    return [Classified(one, personal, "scan's reason", "text") for one in columns]


def test_every_section_is_read() -> None:
    read = inventory(WHOLE)
    given_, status, told, archive, year = read.columns
    assert (given_.kind, given_.place) == ("given", "privacy.toml:3")
    assert (status.kind, status.reason, status.type) == (None, "codes", "varchar")
    assert dict(told.paths) == {"$.sprachen[*]": "harmless", "$.**": "text"}
    assert (archive.kind, year.kind) == ("text", None)
    assert read.large_objects is not None and read.large_objects.verdict == "personal"
    assert [(one.pattern, one.verdict) for one in file_rules([read])] == [
        ("dateien/logo.png", "harmless"),
        ("dateien/**", "personal"),
    ]
    assert read.schema[0].name == "function public.gruss()"
    assert read.complete and len(read.digest) == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[colums]\n"a.b" = "text"\n',
            'privacy.toml:1: colums: unknown section (did you mean "columns"?)',
        ),
        (
            '[columns]\n\n"a.b" = "nmae"\n',
            'privacy.toml:3: columns."a.b": expected what it holds, got "nmae" '
            '(did you mean "name"?)',
        ),
        (
            '[columns]\n"a.b" = "harmless"\n',
            'privacy.toml:2: columns."a.b": expected what it holds, got "harmless" '
            '(write { harmless = "why" })',
        ),
        (
            '[columns]\nperson.vorname = "given"\n',
            'privacy.toml:2: columns.person: is a table (put the name in quotes: "person.vorname" '
            "= …)",
        ),
        (
            '[columns]\nperson = "given"\n',
            "privacy.toml:2: columns.person: is no column (write table.column, such as "
            '"person.name")',
        ),
        (
            '[columns]\n"a.b" = { harmless = "" }\n',
            'privacy.toml:2: columns."a.b".harmless: expected the reason, got "" '
            '(write { harmless = "why" })',
        ),
        (
            '[columns]\n"a.b" = { harmless = "x", typ = "text" }\n',
            'privacy.toml:2: columns."a.b".typ: unknown key (did you mean "type"?)',
        ),
        (
            '[columns]\n"a.b" = { harmless = "x", mask = "text" }\n',
            'privacy.toml:2: columns."a.b".mask: it is harmless as well (keep one of the two)',
        ),
        (
            '[columns]\n"a.b" = { mask = "json", paths = { "name" = "name" } }\n',
            'privacy.toml:2: columns."a.b".paths.name: is no JSON path (such as '
            '"$.kinder[*].name" or "$.**")',
        ),
        (
            '[columns]\n"a.b" = { mask = "text", paths = { "$.a" = "name" } }\n',
            'privacy.toml:2: columns."a.b".paths: means nothing with "text" (write mask = "json")',
        ),
        (
            '[large_objects]\nverdict = "skip"\n',
            'privacy.toml:2: large_objects.verdict: expected a verdict, got "skip" '
            '(write "personal", or { harmless = "why" })',
        ),
        (
            '[files]\n"x/**" = "copy"\n',
            'privacy.toml:2: files."x/**": expected a verdict, got "copy" (write "personal", or '
            '{ harmless = "why" }; biso.toml says what travels)',
        ),
        (
            '[files]\n"/x/" = "personal"\n',
            'privacy.toml:2: files."/x/": never matches, as paths are relative to the data dir and '
            'name files (write "x/**")',
        ),
        (
            '[schema]\n"person.vorname" = { harmless = "x" }\n',
            'privacy.toml:2: schema."person.vorname": is no place of the schema (write it as the '
            'proof names it, such as "function public.f()"; columns are under [columns])',
        ),
        ('[columns]\n"a.b" = \n', "privacy.toml:2: this is no TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_what_to_write(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        inventory(text)
    assert str(caught.value.findings[0]).startswith(said)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(BadConfig) as caught:
        inventory('[columns]\n"a.b" = "x"\n"a.c" = 1\n[files]\n"y" = 2\n')
    assert [finding.line for finding in caught.value.findings] == [2, 3, 5]


@pytest.mark.parametrize("named", [False, True])
def test_a_file_that_biso_toml_names_must_be_there_and_the_default_need_not(
    named: bool, tmp_path: Path
) -> None:
    text = '[environments.test]\nrole = "test"\nwebroot = "/w"\n'
    text += '[privacy]\ninventory = "privat.toml"\n' if named else ""
    site = parse(text.encode(), tmp_path / "biso.toml")
    assert find_inventory(site, new=True) is None
    if named:
        with pytest.raises(BadConfig, match=r"privat\.toml: there is no such file"):
            find_inventory(site)
    else:
        assert find_inventory(site) is None


def test_an_exact_name_counts_before_a_pattern_and_a_longer_pattern_before_a_shorter() -> None:
    text = '[columns]\n"*" = "text"\n"a.*" = { harmless = "a" }\n"a.c" = "name"\n'
    read = inventory(text)
    found = apply([read], judged(column("a.b"), column("a.c"), column("b.b")))
    assert [(one.personal, one.kind, one.decided) for one in found] == [
        (False, "text", "privacy.toml"),
        (True, "name", "privacy.toml"),
        (True, "text", "privacy.toml"),
    ]


def test_the_file_counts_before_a_plugin_and_a_plugin_before_the_scan() -> None:
    plugin = inventory_of(
        "rooms",
        [
            PersonalColumn("a", "b", "address", "a room"),
            HarmlessColumn("a", "c", "no room"),
            HarmlessColumn("a", "d", "none either"),
            HarmlessFiles("plan/**", "floors"),
            PersonalFiles("rooms.csv"),
        ],
    )
    own = inventory('[columns]\n"a.d" = "mail"\n')
    found = apply([own, plugin], judged(*map(column, ("a.b", "a.c", "a.d", "a.e"))))
    assert [(one.personal, one.kind, one.reason, one.decided) for one in found] == [
        (True, "street", "a room", "plugin"),
        (False, "text", "no room", "plugin"),
        (True, "mail", "declared in privacy.toml:2", "privacy.toml"),
        (True, "text", "scan's reason", "scan"),
    ]
    assert [(one.pattern, one.personal) for one in file_rules([own, plugin])] == [
        ("rooms.csv", True),
        ("plan/**", False),
    ]


def test_a_kind_that_there_is_not_is_the_plugins_mistake() -> None:
    with pytest.raises(ConfigError, match=r"plugin rooms: .*a\.b 'nmae'"):
        inventory_of("rooms", [PersonalColumn("a", "b", "nmae")])


def test_what_a_person_overrules_is_common_and_what_the_scan_found_harmless_is_not() -> None:
    """Else a whole inventory of harmless columns would hide from the proof what stands in them."""
    read = inventory('[columns]\n"a.*" = { harmless = "why" }\n')
    (ours,) = apply([read], judged(column("a.b"), personal=True))
    (theirs,) = apply([read], judged(column("a.b"), personal=False))
    assert (ours.common, theirs.common) == (True, False)


def test_a_partition_is_what_its_table_is() -> None:
    read = inventory('[columns]\n"log.text" = { harmless = "why" }\n')
    parts = {("public", "log_2026_11"): "log"}
    one = column("log_2026_11.text")
    assert not apply([read], judged(one), parts)[0].personal
    assert not column_drift([read], [one], parts)
    assert column_drift([read], [one]).unclassified


def test_what_nothing_is_said_of_is_drift_and_so_is_a_rule_that_matches_nothing() -> None:
    read = inventory('[columns]\n"a.b" = "name"\n"a.weg" = "name"\n"alt.*" = "text"\n')
    drift = column_drift([read], [column("a.b"), column("a.neu"), LARGE_OBJECTS])
    assert drift.as_json() == {
        "unclassified": ["a.neu", "large objects"],
        "unused": ["a.weg", "alt.*"],
        "changed": [],
    }
    assert str(drift.unused[0]) == "a.weg (privacy.toml:3: no column is called so)"
    before = column_drift([read], [column("a.b")], before=[column("a.weg"), column("alt.x")])
    assert not before.unused, "what a migration took away was there"


@pytest.mark.parametrize(
    ("rule", "now", "drifts"),
    [
        ('"given"', column("a.b", "text", "varchar"), False),
        ('"given"', column("a.b", "jsonb", "jsonb"), True),
        ('{ harmless = "x", type = "varchar" }', column("a.b", "text", "citext"), False),
        ('{ harmless = "x", type = "varchar" }', column("a.b", "jsonb", "jsonb"), True),
        ('{ harmless = "x", type = "stimmung" }', column("a.b", "enum", "stimmung"), False),
        ('{ harmless = "x", type = "stimmung" }', column("a.b", "text", "text"), True),
        ('{ harmless = "x" }', column("a.b", "jsonb", "jsonb"), False),
    ],
)
def test_a_column_that_became_something_else_under_its_rule_is_drift(
    rule: str, now: Column, drifts: bool
) -> None:
    read = inventory(f'[columns]\n"a.b" = {rule}\n')
    assert bool(column_drift([read], [now]).changed) is drifts


def entry(path: str, kind: Any = "file", size: int = 10) -> Entry:
    return Entry(path, kind, size, 0, 0o600, "w", "w", 1, 1, 1, "", True)


def test_a_file_rule_matches_a_folder_that_is_empty_today() -> None:
    read = inventory('[files]\n"import/**" = "personal"\n"weg/**" = "personal"\n"x" = "personal"\n')
    unused = unused_files(file_rules([read]), [entry("import", "dir"), entry("y")])
    assert {one.name for one in unused} == {"weg/**", "x"}


# -- writing --


def scan() -> list[Classified]:
    return [
        Classified(column("person.vorname"), True, "name: vorname", "given"),
        Classified(column("person.status"), False, 'content: "codes"', "text"),
        Classified(column("bf_log.text"), True, "type: text", "text"),
        Classified(LARGE_OBJECTS, True, "type: large object", "large object"),
    ]


def test_a_new_file_reads_back_as_what_was_proposed_with_the_reasons_in_it() -> None:
    files = [one.rule for one in judge([entry("dateien/1/a.pdf")], {})]
    text = render(propose(scan(), files, None, {}), None)
    read = inventory(text)
    again = apply([read], scan())
    assert [(o.personal, o.kind) for o in again] == [(o.personal, o.kind) for o in scan()]
    assert '"person.vorname" = "given"  # name: vorname' in text
    assert again[1].reason == 'content: "codes"'
    assert read.files[0].pattern == "dateien/**/*.pdf"
    assert not column_drift([read], [one.column for one in scan()])
    assert propose(scan(), files, read, {}) == ()


def test_writing_again_keeps_every_line_and_puts_what_is_new_beside_its_table() -> None:
    old = (
        "# ours\n[columns]\n"
        '"person.vorname" = { harmless = "all are called Anna" }   # decided in May\n'
        '"weg.text" = "text"\n\n[columns."x.angaben"]\nmask = "json"\n[columns."x.angaben".paths]\n'
        '"$.a" = "name"\n'
    )
    text = render(propose(scan(), [], inventory(old), {}), old)
    assert set(old.splitlines()) <= set(text.splitlines())
    lines = text.splitlines()
    kept = next(n for n, line in enumerate(lines) if line.startswith('"person.vorname"'))
    assert lines[kept + 1].startswith('"person.status" = ')
    read = inventory(text)
    assert apply([read], scan())[0].personal is False
    drift = column_drift([read], [one.column for one in scan()])
    assert drift.as_json() == {
        "unclassified": [], "unused": ["weg.text", "x.angaben"], "changed": []
    }  # fmt: skip


def test_a_file_to_which_nothing_can_be_added_is_left_alone() -> None:
    old = 'columns = { "a.b" = "text" }\n'
    with pytest.raises(ConfigError, match="nothing can be added"):
        render(propose(scan(), [], inventory(old), {}), old)


NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans(), NAMES), max_size=6), st.booleans())
def test_any_name_and_reason_survives_the_way_through_the_file(
    found: list[tuple[str, str, bool, str]], twice: bool
) -> None:
    columns = [
        Classified(column(f"{table}.{name}"), personal, f"why: {reason}", "text")
        for table, name, personal, reason in found
    ]
    half = columns[: len(columns) // 2] if twice else columns
    text = render(propose(half, [], None, {}), None)
    if twice:
        text = render(propose(columns, [], inventory(text), {}), text)
    assert tomllib.loads(text) is not None
    read = inventory(text)
    assert not column_drift([read], [one.column for one in columns]).unclassified


# -- files --


def test_files_are_proposed_by_folder_and_ending_and_no_pattern_names_a_person() -> None:
    entries = [
        entry("fop.xconf"),
        entry("Anna Müller.pdf"),
        entry("Anna Müller/brief.pdf"),
        entry("dateien/1/2/Bericht.Meier"),
        entry("hilfe/start.html"),
        entry("hilfe/kontakt.html"),
        entry("[alt]/x.txt"),
    ]
    contents = {
        "hilfe/start.html": b"<p>So geht es.</p>",
        "hilfe/kontakt.html": b"<p>Frau X: anna@post.example</p>",
        "fop.xconf": b"<fop/>",
    }
    found = {one.rule.pattern: one for one in judge(entries, contents)}
    assert set(found) == {
        "*.xconf", "*.pdf", "*/**/*.pdf", "dateien/**", "hilfe/**/*.html", "[[]alt]/**/*.txt"
    }  # fmt: skip
    assert found["hilfe/**/*.html"].rule.reason == (
        "content: 1 of 2 that were looked into hold mail addresses"
    )
    assert found["*.pdf"].rule.reason == "name: 1 of 1 are called after people"
    assert [pattern for pattern, one in found.items() if not one.rule.personal] == ["*.xconf"]
    rules = [one.rule for one in found.values()]
    assert unused_files(rules, entries) == ()


def test_a_folder_whose_name_is_no_text_can_be_written_down() -> None:
    entries = [entry("sch\udcf6n\udcff/x.bin"), entry("zwei\nzeilen/y.bin")]
    rules = [one.rule for one in judge(entries, {})]
    assert [one.pattern for one in rules] == ["*/**/*.bin"]
    assert unused_files(rules, entries) == ()
    assert '"*/**/*.bin" = "personal"' in render(propose([], rules, None, {}), None)


def test_no_more_than_a_few_files_of_each_kind_are_looked_into() -> None:
    many = [entry(f"dateien/{n}.pdf", size=100) for n in range(1000)]
    large = [entry("dateien/film.mp4", size=50_000_000)]
    assert len(chosen([*many, *large])) == 8
