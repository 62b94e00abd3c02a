from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import DatabaseFailed, NotConnected
from biso_tasks.database.create import create, drop, exists, oid
from biso_tasks.database.facts import probe
from biso_tasks.database.names import previous_name, stage_name
from biso_tasks.database.psql import Psql
from biso_tasks.database.sessions import end_sessions
from biso_tasks.database.sqltext import compose, name
from biso_tasks.errors import Refused
from biso_tasks.host.command import Command
from biso_tasks.host.local import LocalHost
from biso_tasks.host.protocol import HostError

pytestmark = pytest.mark.real

HOSTILE = [
    "it's",
    'a"b',
    "back\\slash\\'",
    ":var :'var'",
    "$(id) `id`",
    "Ärger €",
    "a\nb",
    "%s {}",
    "",
]


def roads(cluster: Any) -> dict[str, Any]:
    return {"psycopg": cluster.server(), "psql": cluster.admin_server()}


@pytest.mark.parametrize("road", ["psycopg", "psql"])
@pytest.mark.parametrize("conforming", ["on", "off"])
def test_any_value_arrives_unchanged_on_either_road(one: Any, road: str, conforming: str) -> None:
    one.sql(f"ALTER DATABASE postgres SET standard_conforming_strings = {conforming}")
    try:
        with admin(roads(one)[road]) as role:
            for value in HOSTILE:
                assert role.rows("SELECT {} AS v, {} AS n", value, 1) == [(value, 1)]
            assert role.rows("SELECT 1 AS {}", name(HOSTILE[2])) == [(1,)]
    finally:
        one.sql("ALTER DATABASE postgres RESET standard_conforming_strings")


@pytest.mark.parametrize("road", ["psycopg", "psql"])
def test_an_error_stops_and_an_atomic_group_leaves_nothing(one: Any, road: str) -> None:
    with admin(roads(one)[road]) as role:
        marked = "COMMENT ON ROLE {} IS {}" if road == "psql" else "SELECT {}::text, {}::text"
        first = compose(marked, name("biso_app") if road == "psql" else "a", "changed")
        with pytest.raises(DatabaseFailed, match="division by zero"):
            role.execute(first, "SELECT 1/0", atomic=True)
        rows = role.rows(
            "SELECT shobj_description(oid, 'pg_authid') AS c FROM pg_roles"
            " WHERE rolname = 'biso_app'"
        )
        assert rows == [(None,)]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("sudo") is None,
    reason="needs root and sudo: apt install sudo",
)
def test_psql_runs_as_another_login_by_sudo(one: Any) -> None:
    server = replace(one.admin_server(), admin_run_as="postgres")
    with admin(server) as role:
        assert role.rows("SELECT session_user::text AS u") == [("postgres",)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that a LocalHost starts to be talked with."""
    found: list[subprocess.Popen[bytes]] = []
    start = LocalHost.start

    def noted(host: Any, command: Any, **given: Any) -> subprocess.Popen[bytes]:
        child = start(host, command, **given)
        found.append(child)
        return child

    monkeypatch.setattr(LocalHost, "start", noted)
    return found


def test_one_psql_serves_a_whole_block_and_is_gone_after_it(
    one: Any, started: list[subprocess.Popen[bytes]]
) -> None:
    with admin(one.admin_server()) as role:
        pids = {role.rows("SELECT pg_backend_pid() AS pid")[0] for _ in range(3)}
        assert len(pids) == 1
        assert role.rows("SELECT n FROM generate_series(1, 3) n") == [(1,), (2,), (3,)]
    assert [child.returncode for child in started] == [0]


def test_after_an_error_a_new_psql_is_asked(
    one: Any, started: list[subprocess.Popen[bytes]]
) -> None:
    with admin(one.admin_server()) as role:
        with pytest.raises(DatabaseFailed, match="division by zero"):
            role.execute("SELECT 1/0", "COMMENT ON ROLE biso_app IS 'after an error'")
        comment = "SELECT shobj_description(oid, 'pg_authid') AS c FROM pg_roles WHERE rolname = {}"
        assert role.rows(comment, "biso_app") == [(None,)]
    assert [child.returncode for child in started] == [3, 0]


def test_a_psql_that_ended_while_nobody_asked_is_started_anew(
    one: Any, started: list[subprocess.Popen[bytes]]
) -> None:
    with admin(one.admin_server()) as role:
        started[0].kill()
        started[0].wait()
        assert role.rows("SELECT 1 AS one") == [(1,)]
    assert len(started) == 2


def test_a_psql_that_ends_under_a_statement_is_an_error(
    one: Any, started: list[subprocess.Popen[bytes]]
) -> None:
    with admin(one.admin_server()) as role:
        threading.Timer(0.3, started[0].kill).start()
        with pytest.raises(NotConnected):
            role.execute("SELECT pg_sleep(20)")


@pytest.mark.parametrize("road", ["psycopg", "psql"])
def test_a_database_that_a_crash_left_half_dropped_is_dropped(
    one: Any, fresh: Callable[..., str], road: str
) -> None:
    """So the server marks it before it removes its files; to alter it then ends the session."""
    stage = fresh(one, stage_name("gaia"))
    one.sql(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{stage}'")
    server = replace(roads(one)[road], dsn=replace(roads(one)[road].dsn, dbname="gaia"))
    alter = compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(stage))
    refused = pytest.raises((DatabaseFailed, NotConnected), match="cannot alter invalid database")
    with admin(server) as role, refused:
        role.execute(alter)
    with admin(server) as role:
        assert exists(role, stage)
        assert drop(role, server, stage)
        assert not exists(role, stage)


def test_what_ended_the_connection_is_what_is_told(one: Any, fresh: Callable[..., str]) -> None:
    half = fresh(one, stage_name("gaia"))
    one.sql(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{half}'")
    with admin(one.server()) as role:
        number = oid(role, half)
        assert number is not None
        alter = compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(half))
        with pytest.raises(DatabaseFailed, match="invalid database"):
            end_sessions(role, {half: number}, 1.0, first=[alter])


@pytest.mark.parametrize("unasked", [False, True])
def test_a_host_whose_psql_prints_without_end_fills_no_memory(unasked: bool) -> None:
    """One line that never ends, as an answer, or while nobody asks; it is given up and gone."""
    lines = "yes | tr -d '\\n'" if unasked else "read -r _; yes | tr -d '\\n'"
    host = LocalHost("here")
    psql = Psql(host, Command(("bash", "-c", lines)))
    before = resident()
    if unasked:
        psql._start()
        until = time.monotonic() + 3
        while not psql._said.full() and time.monotonic() < until:
            time.sleep(0.02)
    else:
        with pytest.raises(HostError, match="printed more than 64 MiB"):
            psql.ask("SELECT 1;\n")
    assert resident() - before < 200 * 1024**2
    reader = psql._reader
    psql.close()
    host.close()
    assert reader is not None and not reader.is_alive()


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_an_interrupted_question_s_answer_is_nobody_else_s(
    one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with admin(one.admin_server()) as role:
        with monkeypatch.context() as patch:
            patch.setattr(Psql, "_printed", interrupt)
            with pytest.raises(KeyboardInterrupt):
                role.rows("SELECT 'first' AS said")
        assert role.rows("SELECT 'second' AS said") == [("second",)]


def interrupt(psql: Psql) -> bytes:
    raise KeyboardInterrupt


def test_an_admin_that_cannot_connect_is_told_with_a_remedy(one: Any) -> None:
    server = replace(one.admin_server(), admin_user="nobody_here")
    with pytest.raises(NotConnected) as caught, admin(server):
        pass
    assert "nobody_here" in caught.value.message
    assert caught.value.hint
    missing = replace(one.admin_server(), bindir="/nowhere")
    with pytest.raises(NotConnected, match=r"psql as 'postgres' on test: .*not found"):
        admin(missing).__enter__()


@pytest.mark.parametrize("road", ["psycopg", "psql"])
def test_a_stage_has_the_source_s_locale_the_application_s_owner_and_a_closed_door(
    one: Any, fresh: Callable[..., str], road: str
) -> None:
    live = fresh(one, "biso", "biso_app")
    one.sql(
        "CREATE DATABASE \"quelle\" OWNER biso_app TEMPLATE template0 ENCODING 'LATIN1'"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    server = one.server(live) if road == "psycopg" else one.admin_server(live, "biso_app")
    stage = stage_name(live)
    with admin(server) as role:
        create(role, server, stage, probe(one.server("quelle")))
        assert exists(role, stage)
        rows = role.rows(
            """SELECT pg_encoding_to_char(encoding)::text AS e, datcollate::text AS c,
                      pg_get_userbyid(datdba)::text AS o FROM pg_database WHERE datname = {}""",
            stage,
        )
        assert rows == [("LATIN1", "C", "biso_app")]
        with pytest.raises(NotConnected), admin(one.server(live, "biso_other"), stage):
            pass
        before = oid(role, stage)
        assert before is not None
        assert drop(role, server, stage)
        assert not drop(role, server, stage)


def test_a_database_is_dropped_while_autovacuum_works_in_it(
    one: Any, fresh: Callable[..., str]
) -> None:
    """By a role that may not end it: WITH (FORCE) refuses that."""
    live = fresh(one, "biso")
    server = one.server(live)
    stage = stage_name(live)
    one.sql("ALTER SYSTEM SET autovacuum_naptime = '1s'", "SELECT pg_reload_conf()")
    try:
        with admin(server) as role:
            create(role, server, stage, probe(server))
            one.sql(
                "CREATE TABLE t WITH (autovacuum_vacuum_threshold = 0, "
                "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, "
                "autovacuum_vacuum_cost_limit = 1) AS SELECT n FROM generate_series(1, 200000) n",
                "DELETE FROM t",
                dbname=stage,
            )
            wait_for_worker(one, stage)
            assert drop(role, server, stage)
    finally:
        one.sql("ALTER SYSTEM RESET autovacuum_naptime", "SELECT pg_reload_conf()")


def wait_for_worker(cluster: Any, dbname: str) -> None:
    """Statistics tell autovacuum what to do, a moment after the session has ended."""
    once = threading.Event()
    with cluster.superuser() as connection:
        for _ in range(1200):
            found = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query LIKE 'autovacuum%%'",
                [dbname],
            ).fetchall()
            if found:
                return
            once.wait(0.05)
    raise AssertionError("no autovacuum in a minute")


def test_a_locale_can_be_given_instead_of_the_source_s(
    one: Any, newer: Any, fresh: Callable[..., str]
) -> None:
    live = fresh(newer, "biso")
    server = newer.server(live)
    facts = probe(one.server())
    with admin(server) as role:
        create(role, server, stage_name(live), facts, locale="C", version=180000)
        assert probe(server.at(stage_name(live))).collate == "C"


def test_an_icu_source_gives_an_icu_stage(one: Any, newer: Any, fresh: Callable[..., str]) -> None:
    fresh(one, "biso")
    one.sql(
        "CREATE DATABASE quelle OWNER biso_app TEMPLATE template0 LOCALE_PROVIDER icu"
        " ICU_LOCALE 'de-CH'"
    )
    server = one.server("biso")
    facts = probe(one.server("quelle"))
    with admin(server) as role:
        create(role, server, stage_name("biso"), facts)
    made = probe(server.at(stage_name("biso")))
    assert (made.provider, made.icu_locale) == ("i", "de-CH")


@pytest.mark.parametrize("dbname", ["biso", "postgres", "other__stage", "biso__Stage"])
def test_nothing_but_the_stage_and_the_previous_is_ever_dropped(one: Any, dbname: str) -> None:
    server = one.server("biso")
    assert dbname not in (stage_name("biso"), previous_name("biso"))
    with admin(server) as role, pytest.raises(Refused):
        drop(role, server, dbname)
