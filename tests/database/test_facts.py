from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from biso_tasks.database.facts import Client, Extension, ServerFacts, probe
from biso_tasks.database.pair import check_pair, check_whole, pick_dump, pick_load, same_locale


def facts(**changes: Any) -> ServerFacts:
    client = Client("", (15, 18), (15, 18), True)
    start = ServerFacts(
        server="test",
        version=150018,
        dbname="biso",
        encoding="UTF8",
        collate="de_CH.UTF-8",
        ctype="de_CH.UTF-8",
        provider="c",
        icu_locale=None,
        icu_rules=None,
        bytes=1,
        owner="app",
        role="app",
        superuser=False,
        createdb=True,
        has_admin=False,
        extensions=(),
        available=(("pg_trgm", True), ("file_fdw", False)),
        locales=frozenset(["de_CH.utf8"]),
        icu=True,
        databases=frozenset(["biso"]),
        clients=(client,),
        connections_left=20,
        large_objects=0,
        event_triggers=(),
        prepared=0,
    )
    return replace(start, **changes)


def extension(name: str) -> Extension:
    return Extension(name, "1.0", "public", True)


def clients(*versions: tuple[int, int]) -> tuple[Client, ...]:
    return tuple(Client(f"/usr/lib/{v[0]}", v, v, True) for v in versions)


def test_equal_servers_fit() -> None:
    assert check_pair(facts(), facts(), stage="biso__stage") == []


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ({"version": 160004}, {}, "older 15, which cannot load its dumps: update"),
        ({"clients": clients((17, 5))}, {}, "no usable pg_dump"),
        ({"clients": clients((14, 5))}, {}, "no usable pg_dump"),
        ({}, {"clients": clients((15, 10))}, r"does not know \\restrict"),
        ({}, {"clients": ()}, "has no psql"),
        ({"collate": "fr_CH.utf8"}, {}, "does not know the locale 'fr_CH.utf8'"),
        ({"provider": "b", "icu_locale": "C.UTF-8"}, {}, "no builtin locales"),
        ({"provider": "i", "icu_locale": "de"}, {"icu": False}, "has no ICU"),
        ({"extensions": (extension("postgis"),)}, {}, "'postgis' of 'biso' is not installed"),
        (
            {"extensions": (extension("file_fdw"),)},
            {},
            "'file_fdw' can only be created by a super",
        ),
        ({}, {"createdb": False}, "may not create databases"),
        ({}, {"owner": "postgres"}, "may not rename it"),
        ({}, {"databases": frozenset(["biso__stage"])}, "exists already"),
        ({}, {"connections_left": 2}, "2 connections left"),
        ({}, {"prepared": 1}, "prepared transactions"),
    ],
)
def test_what_does_not_fit_is_found_before_and_named_with_a_remedy(
    source: dict[str, Any], target: dict[str, Any], words: str
) -> None:
    found = check_pair(facts(**source), facts(**target), stage="biso__stage")
    assert len(found) == 1
    assert pytest.importorskip("re").search(words, found[0])
    assert ": " in found[0]


def test_tables_whose_rows_are_hidden_from_the_role_are_found_before(
    one: Any, fresh: Callable[..., str]
) -> None:
    name = fresh(one, "hidden", "biso_app", "CREATE TABLE offen (id int)",
                 'CREATE TABLE "Geheim" (id int)',
                 'ALTER TABLE "Geheim" ENABLE ROW LEVEL SECURITY')  # fmt: skip
    server = one.server(name)
    assert probe(server).hidden == (), "the owner sees all"
    one.sql('ALTER TABLE "Geheim" FORCE ROW LEVEL SECURITY', dbname=name)
    found = probe(server)
    assert found.hidden == ('"Geheim"',)
    (why,) = check_whole(found)
    assert "\"Geheim\" from the role 'biso_app'" in why
    assert "NO FORCE ROW LEVEL SECURITY" in why
    assert why in check_pair(found, facts(), stage="biso__stage")


def test_an_admin_makes_up_for_missing_rights() -> None:
    source = facts(extensions=(extension("file_fdw"),))
    target = facts(createdb=False, owner="postgres", has_admin=True)
    assert check_pair(source, target, stage="biso__stage") == []


def test_the_dump_is_made_by_a_client_that_both_servers_understand() -> None:
    source = facts(clients=clients((18, 1), (15, 18), (16, 10)))
    chosen = pick_dump(source, facts())
    assert chosen is not None
    assert chosen.pg_dump == (15, 18)
    loading = pick_load(facts(clients=clients((15, 2), (15, 18))), chosen)
    assert loading is not None
    assert loading.psql == (15, 18)


def test_one_locale_has_two_spellings() -> None:
    assert same_locale("de_CH.UTF-8", frozenset(["de_CH.utf8"]))
    assert not same_locale("de_CH.UTF-8", frozenset(["de_CH"]))


@pytest.mark.real
def test_a_probe_tells_what_is_there_and_changes_nothing(
    one: Any, fresh: Callable[..., str]
) -> None:
    dbname = fresh(one, "biso", "biso_app", "CREATE EXTENSION pg_trgm", "SELECT lo_create(0)")
    found = probe(one.server(dbname))
    assert (found.major, found.encoding, found.collate) == (15, "UTF8", "C.utf8")
    assert (found.role, found.owner, found.createdb, found.superuser) == (
        *("biso_app", "biso_app"),
        *(True, False),
    )
    assert [(e.name, e.trusted) for e in found.extensions] == [("pg_trgm", True)]
    assert [e.commented for e in found.extensions] == [False]
    one.sql("COMMENT ON EXTENSION pg_trgm IS 'unser'", dbname=dbname)
    assert [e.commented for e in probe(one.server(dbname)).extensions] == [True]
    assert dict(found.available)["file_fdw"] is False
    assert found.large_objects == 1
    assert found.bytes > 1_000_000
    assert found.clients[0].bindir == str(one.bindir)
    assert found.clients[0].pg_dump == found.clients[0].psql
    assert found.connections_left > 4
    assert "biso" in found.databases
    assert not probe(one.server(dbname, "biso_poor")).createdb


@pytest.mark.real
def test_a_newer_server_s_facts_have_other_columns(newer: Any) -> None:
    found = probe(newer.server())
    assert (found.major, found.provider) == (18, "c")
    assert check_pair(found, found, stage="x__stage") != []  # postgres belongs to the superuser


@pytest.mark.real
def test_a_newer_database_does_not_fit_an_older_server(one: Any, newer: Any) -> None:
    found = check_pair(probe(newer.server()), probe(one.server()), stage="x__stage")
    assert any("older 15" in line for line in found)
