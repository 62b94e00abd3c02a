"""Migrations that production has and test's code does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from stage_world import PASSWORD

from biso_tasks.config.model import Database, Environment
from biso_tasks.database.server import Server
from biso_tasks.demo.postgres import Cluster
from biso_tasks.host import LocalHost
from biso_tasks.instance.app import App
from biso_tasks.stage.migrations import Compared, compare_migrations
from biso_tasks.values import Dsn, Secret

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Ask = Callable[..., Compared]


@pytest.fixture
def ask(postgres: Cluster, tmp_path: Path) -> Iterator[Ask]:
    """Compare prod with test: what each has applied (None: no table), the files of each, what
    test's `migration list` says."""
    host = LocalHost("here")

    def server(name: str, applied: Sequence[str] | None, table: str, kind: str) -> Server:
        postgres.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        postgres.psql(f"CREATE DATABASE {name} OWNER biso")
        if applied is not None:
            postgres.psql(f'SET ROLE biso; CREATE TABLE "{table}" (v {kind})', dbname=name)
            for one in applied:
                postgres.psql(f"""INSERT INTO "{table}" VALUES ('{one}')""", dbname=name)
        dsn = Dsn(str(postgres.socket_dir), postgres.port, name, "biso", Secret(PASSWORD))
        return Server(host, dsn)

    def app(name: str, files: Sequence[str], said: str, wanted: str | None) -> App:
        webroot = tmp_path / name
        folder = webroot / "lib/sql/Migrationen"
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file).touch()
        (webroot / "liste").write_text(said)
        environment = Environment(
            name, "test", str(webroot), biso_cli=("sh", "-c", "cat liste", "biso-cli"),
            database=Database(migrations=wanted),
        )  # fmt: skip
        return App(host, environment, str(webroot), str(webroot))

    def compare(
        prod: Sequence[str] | None,
        test: Sequence[str] | None,
        listed: str = "Keine offenen Migrationen",
        *,
        prod_files: Sequence[str] = (),
        test_files: Sequence[str] = (),
        table: str = "migrations",
        kind: str = "text",
        wanted: str | None = None,
    ) -> Compared:
        return compare_migrations(
            server("vergleich_prod", prod, table, kind),
            server("vergleich_test", test, table, kind),
            app("test", test_files, listed, wanted),
            app("prod", prod_files, "", None),
        )

    yield compare
    host.close()


@pytest.mark.parametrize("table", ["migrations", "schema_version", "migrationen", "Stand"])
def test_one_that_only_production_has_is_named_whatever_the_table_is_called(
    ask: Ask, table: str
) -> None:
    found = ask(
        ["0001_a", "0002_b", "0099_neu"], ["0001_a"], "0002_b", table=table,
        test_files=["0001_a.sql", "0002_b.sql"],
    )  # fmt: skip
    assert found.unknown == ("0099_neu",)
    assert table in found.by


def test_what_is_applied_pending_or_brought_along_is_known(ask: Ask) -> None:
    found = ask(
        ["0001_a", "0002_b", "0003_c"], ["0001_a"], "Offen:\n - 0002_b.sql",
        test_files=["0003_c.sql"],
    )  # fmt: skip
    assert found == Compared((), "public.migrations")


def test_a_sentence_that_holds_a_name_makes_no_other_one_known(ask: Ask) -> None:
    found = ask(["0004_mail"], ["0001_a"], "0004_mail_und_sms\n0040_mail")
    assert found.unknown == ("0004_mail",)


@pytest.mark.parametrize(
    ("applied", "listed"),
    [("20240101", "Version20240101"), ("42", "0042_mail"), ("Version20240101", "20240101 Spalte"),
     (r"App\Migrations\Version20240101", "Version20240101")],
)  # fmt: skip
def test_a_number_is_the_migration_that_begins_with_it(ask: Ask, applied: str, listed: str) -> None:
    assert ask([applied], [], listed).unknown == ()
    assert ask([applied], [], "0007_anders").unknown == (applied,)


@pytest.mark.parametrize(
    ("kind", "prod", "test", "behind"),
    [("int", "41", "42", False), ("int", "42", "41", True), ("text", "8.3.1", "8.4", False),
     ("text", "8.10", "8.9", True)],
)  # fmt: skip
def test_a_table_that_only_says_how_far_the_database_is(
    ask: Ask, kind: str, prod: str, test: str, behind: bool
) -> None:
    found = ask([prod], [test], table="schema_version", kind=kind)
    assert bool(found.unknown) == behind


def test_without_a_table_the_files_of_both_webroots_are_compared(ask: Ask) -> None:
    found = ask(None, None, prod_files=["0001_a.sql", "0002_b.sql"], test_files=["0001_a.sql"])
    assert found == Compared(("0002_b.sql",), "the files of both webroots")
    found = ask(None, None, prod_files=["0002_b.sql"], test_files=["0002_b.sql", "0003_c.sql"])
    assert found.unknown == ()


def test_files_say_nothing_where_the_database_remembers(ask: Ask) -> None:
    """Code that is rolled out and not migrated yet: its rows fit."""
    found = ask(["0001_a"], ["0001_a"], prod_files=["0001_a.sql", "0002_b.sql"],
                test_files=["0001_a.sql"])  # fmt: skip
    assert found.unknown == ()


def test_where_nothing_tells_that_is_said(ask: Ask) -> None:
    assert ask(None, None, prod_files=["0001_a.sql"]) == Compared((), "")


def test_the_table_that_the_site_names_counts(ask: Ask) -> None:
    found = ask(["mail", "sms"], ["mail"], table="was", wanted="was")
    assert found == Compared(("sms",), "public.was")
