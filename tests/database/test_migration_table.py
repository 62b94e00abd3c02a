"""Which table remembers applied migrations, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from biso_tasks.database.migration_table import remembered
from biso_tasks.errors import Refused

KNOWN = ("0001_grund", "0002_mail", "version20240101")
MINE = "('0001_grund'), ('0002_mail')"


def is_name(value: str) -> bool:
    return re.fullmatch(r"\d{4}_\w+", value) is not None


def found(
    cluster: Any,
    fresh: Callable[..., str],
    *statements: str,
    wanted: str | None = None,
    known: tuple[str, ...] = KNOWN,
) -> dict[str, set[str]]:
    dbname = fresh(cluster, "merkt", "biso_app", *statements)
    tables = remembered(cluster.server(dbname), wanted, is_name=is_name, known=known)
    return {f"{one.table}.{one.column}": set(one.values) for one in tables}


@pytest.mark.parametrize(
    "table", ["migrations", "schema_version", "migrationen", "biso_migration", "SchemaVersion",
              "Versionen", "phinxlog", "ganz_anders", "Ganz Anders"],
)  # fmt: skip
def test_it_is_found_by_its_name_or_by_what_it_holds(
    one: Any, fresh: Callable[..., str], table: str
) -> None:
    told = found(
        one, fresh,
        f'CREATE TABLE "{table}" (id int, am timestamp DEFAULT now(), name text)',
        f'INSERT INTO "{table}" (name) VALUES {MINE}',
        "CREATE TABLE person (name text)", "INSERT INTO person VALUES ('Muster'), ('0007_bond')",
    )  # fmt: skip
    assert told == {f"{table}.name": {"0001_grund", "0002_mail"}}


def test_what_people_do_is_no_table_of_migrations(one: Any, fresh: Callable[..., str]) -> None:
    told = found(
        one, fresh,
        "CREATE TABLE migration (id int, bezeichnung text)",
        "INSERT INTO migration VALUES (1, 'ja'), (2, 'nein'), (3, 'keine Angabe')",
        "CREATE TABLE versionen (datei text)", f"INSERT INTO versionen VALUES {MINE}",
    )  # fmt: skip
    assert told == {"versionen.datei": {"0001_grund", "0002_mail"}}


def test_a_table_that_is_called_so_counts_where_nothing_tells_more(
    one: Any, fresh: Callable[..., str]
) -> None:
    told = found(
        one, fresh, "CREATE TABLE migrations (name text)",
        "INSERT INTO migrations VALUES ('mail'), ('sms')", known=(),
    )  # fmt: skip
    assert told == {"migrations.name": {"mail", "sms"}}


def test_namespaces_and_extensions_are_no_part_of_a_name(
    one: Any, fresh: Callable[..., str]
) -> None:
    told = found(
        one, fresh, "CREATE TABLE doctrine (v text)",
        r"INSERT INTO doctrine VALUES ('DoctrineMigrations\Version20240101')",
        "CREATE TABLE pfade (v text)", "INSERT INTO pfade VALUES ('db/0002_mail.sql')",
    )  # fmt: skip
    assert set(told) == {"doctrine.v", "pfade.v"}


def test_the_one_that_the_site_names_is_the_one(one: Any, fresh: Callable[..., str]) -> None:
    statements = (
        "CREATE SCHEMA eigen", "CREATE TABLE eigen.stand (nr int, was text)",
        "INSERT INTO eigen.stand VALUES (1, '0001_grund')",
        "CREATE TABLE migrations (name text)", f"INSERT INTO migrations VALUES {MINE}",
    )  # fmt: skip
    for wanted in ("stand", "eigen.stand"):
        told = found(one, fresh, *statements, wanted=wanted)
        assert told == {"stand.was": {"0001_grund"}}
        with one.superuser() as connection:
            connection.execute("DROP DATABASE merkt WITH (FORCE)")
    with pytest.raises(Refused, match="'stannd'"):
        found(one, fresh, *statements, wanted="stannd")


def test_a_table_that_may_not_be_read_is_passed_over(one: Any, fresh: Callable[..., str]) -> None:
    dbname = fresh(one, "merkt", "biso_app", "CREATE TABLE offen (v text)",
                   f"INSERT INTO offen VALUES {MINE}")  # fmt: skip
    one.sql("CREATE SCHEMA zu", "CREATE TABLE zu.migrations (name text)",
            f"INSERT INTO zu.migrations VALUES {MINE}", dbname=dbname)  # fmt: skip
    tables = remembered(one.server(dbname), None, is_name=is_name, known=KNOWN)
    assert [table.table for table in tables] == ["offen"]


def test_small_numbers_are_anybodys_keys(one: Any, fresh: Callable[..., str]) -> None:
    told = found(
        one, fresh, "CREATE TABLE kunde (nr text)", "INSERT INTO kunde VALUES ('1'), ('2')",
        known=("1", "2"),
    )  # fmt: skip
    assert told == {}
