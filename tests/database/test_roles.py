"""The roles that a database uses, made on a server that lacks them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.roles import block, globals_sql

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql (machine)")]

GROUP = "Lesen $biso$ \"und\" 'mehr' \\ ; --\nneu"
LOGIN = "Anna Ö"
OUTSIDER = "nichts damit zu tun"
ALL = (GROUP, LOGIN, OUTSIDER, "oben")


def quoted(role: str) -> str:
    return sql.Identifier(role).as_string(None)


def forget(cluster: Any) -> None:
    with cluster.superuser() as connection:
        there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
        for role in ALL:
            if role in there:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def source(one: Any, fresh: Callable[..., str]) -> Iterator[Any]:
    one.sql(
        f"CREATE ROLE {quoted(GROUP)}",
        "CREATE ROLE oben NOINHERIT CREATEDB",
        f"CREATE ROLE {quoted(LOGIN)} LOGIN CONNECTION LIMIT 3 VALID UNTIL '2031-02-03 04:05+06'"
        " PASSWORD 'streng $biso$ geheim'",
        f"CREATE ROLE {quoted(OUTSIDER)} LOGIN",
        f"GRANT {quoted(GROUP)} TO {quoted(LOGIN)}",
        f"GRANT oben TO {quoted(GROUP)} WITH ADMIN OPTION",
        f"GRANT pg_monitor TO {quoted(GROUP)}",
        f"ALTER ROLE {quoted(LOGIN)} SET search_path TO '$user', 'Ä b', public",
        f"ALTER ROLE {quoted(LOGIN)} SET work_mem TO '9MB'",
    )
    dbname = fresh(
        one,
        "Prod ä",
        "biso_app",
        "CREATE TABLE t (a int)",
        f"GRANT SELECT ON t TO {quoted(GROUP)}",
    )
    yield one.server(dbname, name="prod")
    one.sql(f"REVOKE ALL ON t FROM {quoted(GROUP)}", dbname=dbname)
    forget(one)


@pytest.fixture
def bare(two: Any) -> Iterator[Any]:
    forget(two)
    yield two
    forget(two)


def roles(cluster: Any) -> list[Any]:
    with cluster.superuser() as connection:
        found: list[Any] = connection.execute(
            """SELECT a.rolname, a.rolsuper, a.rolinherit, a.rolcreatedb, a.rolcanlogin,
                      a.rolconnlimit, a.rolvaliduntil, a.rolpassword, s.setconfig,
                      ARRAY(SELECT m.roleid::regrole::text || m.admin_option
                              FROM pg_auth_members m WHERE m.member = a.oid ORDER BY 1)
                 FROM pg_authid a LEFT JOIN pg_db_role_setting s
                   ON s.setrole = a.oid AND s.setdatabase = 0
                WHERE rolname = ANY(%s) ORDER BY 1""",
            (list(ALL),),
        ).fetchall()
        return found


def load(cluster: Any, text: str) -> None:
    """With psql, as the text itself says."""
    done = subprocess.run(
        [
            *(f"{cluster.bindir}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"),
            *("-h", str(cluster.root), "-p", str(cluster.port), "-U", "postgres", "-d", "postgres"),
        ],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def superuser(cluster: Any, server: Any) -> Any:
    return replace(server, admin_user="postgres", admin_socket=str(cluster.root))


def test_roles_come_back_with_passwords_settings_and_memberships(
    one: Any, source: Any, bare: Any
) -> None:
    with connect(source) as connection, admin(superuser(one, source)) as role:
        text, missing = globals_sql(connection, role)
    assert missing == ()
    assert OUTSIDER not in text
    assert "postgres" not in text.replace("-d postgres", "")
    load(bare, text)
    load(bare, text)
    assert roles(bare) == [row for row in roles(one) if row[0] != OUTSIDER]


def test_a_role_that_exists_is_left_as_it_is(one: Any, source: Any, bare: Any) -> None:
    bare.sql(f"CREATE ROLE {quoted(LOGIN)} NOLOGIN PASSWORD 'eigenes'")
    before = next(row for row in roles(bare) if row[0] == LOGIN)[:9]
    with connect(source) as connection, admin(superuser(one, source)) as role:
        text, _ = globals_sql(connection, role)
    load(bare, text)
    assert next(row for row in roles(bare) if row[0] == LOGIN)[:9] == before


def test_without_a_superuser_it_says_whose_passwords_are_missing(source: Any, bare: Any) -> None:
    with connect(source) as connection, admin(source) as role:
        text, missing = globals_sql(connection, role)
    assert missing == (
        "passwords of the roles 'Anna Ö', 'biso_app': only a superuser may read them (set `admin`)",
    )
    assert "SCRAM" not in text
    load(bare, text)
    assert [row[7] for row in roles(bare)] == [None] * 3


def test_a_newer_servers_memberships_keep_their_options(
    newer: Any, fresh: Callable[..., str]
) -> None:
    forget(newer)
    newer.sql(
        "CREATE ROLE oben",
        f"CREATE ROLE {quoted(LOGIN)} LOGIN",
        f"GRANT oben TO {quoted(LOGIN)} WITH INHERIT FALSE, SET TRUE",
    )
    server = newer.server(
        fresh(newer, "prod", "biso_app", "CREATE TABLE t (a int)", "GRANT SELECT ON t TO oben")
    )
    try:
        with connect(server) as connection:
            text, _ = globals_sql(connection)
        assert f'GRANT "oben" TO {quoted(LOGIN)} WITH INHERIT FALSE, SET TRUE;' in text
        load(newer, text)
    finally:
        newer.sql("REVOKE ALL ON t FROM oben", dbname="prod")
        forget(newer)


def test_a_block_holds_any_text(one: Any) -> None:
    lure = "a $biso$ b $biso_$ ; END"
    one.sql(block(f"PERFORM '{lure}'"))
