from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import (
    DatabaseFailed,
    NotConnected,
    connect,
    lost_told,
    unquoted,
)
from biso_tasks.database.snapshot import export
from biso_tasks.host.endable import end_older
from biso_tasks.values import Secret

real = pytest.mark.real


@real
def test_a_connection_is_the_application_s_and_speaks_utf8(one: Any) -> None:
    with connect(one.server()) as connection:
        row = connection.execute(
            "SELECT current_user, current_setting('client_encoding'),"
            " current_setting('application_name')"
        ).fetchone()
    assert row == ("biso_app", "UTF8", "biso-tasks")


def broken(server: Any, how: str) -> Any:
    dsn = server.dsn
    changes = {
        "password": {"password": Secret("s3cret-und-falsch")},
        "database": {"dbname": "gibt's nicht"},
        "unreachable": {"port": 1},
    }
    return replace(server, dsn=replace(dsn, **changes[how]))


@real
@pytest.mark.parametrize("how", ["password", "database", "unreachable"])
def test_a_refused_connection_is_one_clear_line_with_a_remedy_and_no_password(
    one: Any, how: str
) -> None:
    with pytest.raises(NotConnected) as caught, connect(broken(one.server(), how)):
        pass
    assert caught.value.reason == how
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


@real
def test_a_full_server_is_told(one: Any) -> None:
    one.sql("ALTER ROLE biso_other CONNECTION LIMIT 0")
    try:
        with pytest.raises(NotConnected) as caught, connect(one.server(user="biso_other")):
            pass
    finally:
        one.sql("ALTER ROLE biso_other CONNECTION LIMIT -1")
    assert caught.value.reason == "full"


@real
def test_a_failed_statement_says_what_the_server_said(one: Any) -> None:
    with pytest.raises(DatabaseFailed, match='relation "nix" does not exist'):  # noqa: SIM117
        with connect(one.server()) as connection:
            connection.execute("SELECT * FROM nix")


@real
@pytest.mark.parametrize("dbname", ["a=b", "postgresql://x/y", "o'b\\ =ä", " lead"])
def test_a_name_that_looks_like_a_connection_string_stays_a_name(
    one: Any, fresh: Callable[..., str], dbname: str
) -> None:
    fresh(one, dbname)
    with connect(one.server(dbname)) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (dbname,)


@real
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT 'Müller'::int", "invalid input syntax for type integer: …"),
        ("INSERT INTO person VALUES ('Müller'), ('Müller')", "duplicate key"),
        ("INSERT INTO person VALUES (NULL)", 'null value in column "name"'),
        ("SELECT '{\"a\": Müller}'::json", "invalid input syntax for type json"),
        ("SELECT 'Müller'::date", "invalid input syntax for type date: …"),
    ],
)
def test_an_error_never_quotes_a_row(one: Any, statement: str, said: str) -> None:
    table = "CREATE TEMP TABLE person (name text PRIMARY KEY); "
    with pytest.raises(DatabaseFailed) as caught, connect(one.server()) as connection:
        connection.execute((table + statement).encode())
    assert said in caught.value.message
    assert "Müller" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (
            'psql:<stdin>:9: ERROR:  invalid input value for enum art: "Müller"',
            "psql:<stdin>:9: ERROR:  invalid input value for enum art: …",
        ),
        (
            "FEHLER:  ungültige Eingabesyntax für Typ integer: »Müller«",
            "FEHLER:  ungültige Eingabesyntax für Typ integer: …",
        ),
        ('ERROR:  "fall" is a view', 'ERROR:  "fall" is a view'),
        ('FATAL:  role "biso" does not exist', 'FATAL:  role "biso" does not exist'),
    ],
)
def test_a_line_of_a_client_program_loses_the_value_and_keeps_the_names(
    line: str, left: str
) -> None:
    assert unquoted(line) == left


@real
def test_a_socket_directory_is_a_host(one: Any) -> None:
    server = one.server()
    with connect(replace(server, dsn=replace(server.dsn, host=str(one.root)))) as connection:
        assert connection.execute("SELECT inet_client_addr()").fetchone() == (None,)


@real
def test_a_server_without_a_published_port_is_reached_through_stdin_and_stdout(one: Any) -> None:
    before = threading.active_count()
    server = replace(one.server(), prefix=("env", "LANG=C"))
    with connect(server) as connection, connect(server) as second:
        pid = connection.info.backend_pid
        big = connection.execute("SELECT repeat('ä', 3000000)").fetchone()
        assert big is not None
        assert len(big[0]) == 3_000_000
        one.sql(f"SELECT pg_terminate_backend({pid})")
        # the server's end must reach psycopg, or it would wait for ever
        with pytest.raises(Exception, match=r"terminat|closed"):
            connection.execute("SELECT 1")
        assert second.execute("SELECT 2").fetchone() == (2,)
    assert threading.active_count() == before
    left = subprocess.run(
        ["pgrep", "-f", f"/dev/tcp/.*{one.port}"], capture_output=True, text=True, check=False
    ).stdout.split()
    assert [pid for pid in left if int(pid) != os.getpid()] == []


def test_importing_the_package_does_not_import_psycopg() -> None:
    folder = Path(__file__).parents[2] / "biso_tasks" / "database"
    modules = [f"biso_tasks.database.{p.stem}" for p in folder.glob("*.py") if p.stem[0] != "_"]
    code = f"import sys, {', '.join(modules)}; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@real
def test_a_statement_that_takes_long_is_ended_from_another_thread(one: Any) -> None:
    """A Ctrl-C must not wait for an UPDATE of an hour."""
    began = time.monotonic()
    timer = threading.Timer(0.3, lambda: end_older(time.monotonic()))
    timer.start()
    with pytest.raises(DatabaseFailed, match="canceling statement"), connect(one.server()) as found:
        found.execute("SELECT pg_sleep(60)")
    timer.join()
    assert time.monotonic() - began < 20


@real
def test_an_administrator_s_statement_that_takes_long_is_ended_as_well(one: Any) -> None:
    began = time.monotonic()
    timer = threading.Timer(0.5, lambda: end_older(time.monotonic()))
    with admin(one.admin_server()) as role:
        assert role.rows("SELECT 1 AS one") == [(1,)]
        timer.start()
        with pytest.raises(NotConnected):
            role.execute("SELECT pg_sleep(60)")
        timer.join()
        assert role.rows("SELECT 1 AS one") == [(1,)]
    assert time.monotonic() - began < 20


def test_a_server_that_goes_away_is_no_mistake_of_whoever_asks_it() -> None:
    """A snapshot's connection is asked by steps of their own, outside the block that opened it."""
    with pytest.raises(DatabaseFailed, match="prod: PostgreSQL was lost: gone"), lost_told("prod"):
        raise psycopg.errors.AdminShutdown("gone")
    with pytest.raises(psycopg.ProgrammingError), lost_told("prod"):
        raise psycopg.errors.UndefinedTable("a mistake of ours")
    with pytest.raises(ZeroDivisionError), lost_told("prod"):
        raise ZeroDivisionError


@real
def test_a_snapshot_whose_server_went_away_says_so(one: Any) -> None:
    with export(one.server()) as snapshot:
        pid = snapshot.connection.info.backend_pid
        one.sql(f"SELECT pg_terminate_backend({pid})")
        for ask in (snapshot.counts, snapshot.bytes):
            with pytest.raises(DatabaseFailed, match=r"terminating|is closed"):
                ask()
