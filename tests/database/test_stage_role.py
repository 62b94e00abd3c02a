"""The role that owns a stage: who is kept out, and what is left of it once it was given over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import DatabaseFailed, NotConnected, connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create, drop
from biso_tasks.database.facts import probe
from biso_tasks.database.measure import fingerprint
from biso_tasks.database.names import stage_name
from biso_tasks.database.pair import untrusted_extensions
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import export
from biso_tasks.database.stage_role import (
    StageRole,
    drop_role,
    extend_role,
    give_over,
    left_role,
    make_role,
    stage_role,
    why_none,
)
from biso_tasks.errors import Refused
from biso_tasks.values import Secret
from tests.database.conftest import PASSWORD
from tests.database.test_copy import RICH

pytestmark = pytest.mark.real

MIGRATED = (
    "CREATE TABLE neu (id serial PRIMARY KEY, wer text DEFAULT 'x')",
    "GRANT SELECT ON neu TO biso_report",
    "GRANT USAGE ON SEQUENCE neu_id_seq TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO biso_report",
    "CREATE SERVER fern FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE TEXT SEARCH CONFIGURATION deutsch (COPY = german)",
    "CREATE STATISTICS st (dependencies) ON id, wer FROM neu",
    "CREATE AGGREGATE summe(int) (SFUNC = int4pl, STYPE = int)",
)


@pytest.fixture
def target(two: Any, fresh: Callable[..., str]) -> Iterator[Server]:
    server = two.admin_server(fresh(two, "test"), "biso_app")
    yield server
    with admin(server) as role:
        drop(role, server, stage_name("test"))
        drop_role(role, server)


def as_role(server: Server, role: StageRole) -> Server:
    return replace(server, dsn=replace(server.dsn, user=role.name, password=role.password))


def staged(server: Server, *, seconds: float = 3600) -> StageRole:
    """An empty stage that belongs to a role of its own."""
    own = stage_role(server)
    with admin(server) as role:
        make_role(role, server, own, seconds=seconds)
        create(role, server, stage_name(server.dsn.dbname), probe(server), owner=own.name)
    return own


def fill(source: Server, target: Server, cancel: threading.Event) -> tuple[str, ...]:
    made = untrusted_extensions(probe(source), probe(target.at("test")))
    with export(source) as snapshot:
        copy(source, snapshot, target, stage_name("test"), cancel=cancel, untrusted=made)
    with connect(target, stage_name("test")) as connection:
        for statement in MIGRATED:
            connection.execute(statement.encode())
    return made


def owned(cluster: Any, dbname: str) -> dict[str, Any]:
    """Who owns what and may do what in a database, as the server's own books have it."""
    queries = {
        "objects": """SELECT pg_describe_object(classid, objid, objsubid), refobjid::regrole::text,
                             deptype::text
                        FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database
                                                        WHERE datname = current_database())""",
        "relations": "SELECT oid::regclass::text, relacl::text FROM pg_class WHERE oid >= 16384"
        " AND relnamespace <> 'pg_toast'::regnamespace",
        "defaults": "SELECT defaclrole::regrole::text, defaclobjtype::text, defaclacl::text"
        " FROM pg_default_acl",
        "extensions": "SELECT extname, extowner::regrole::text FROM pg_extension",
        "wrappers": "SELECT fdwname, fdwacl::text FROM pg_foreign_data_wrapper",
        "database": "SELECT datdba::regrole::text, datacl::text, datallowconn FROM pg_database"
        " WHERE datname = current_database()",
    }
    with cluster.superuser(dbname) as connection:
        return {
            what: sorted(connection.execute(query.encode()).fetchall(), key=repr)
            for what, query in queries.items()
        }


def test_given_over_everything_is_as_if_the_application_s_role_had_made_it(
    one: Any,
    two: Any,
    fresh: Callable[..., str],
    target: Server,
    cancel: threading.Event,
) -> None:
    prod = fresh(one, "prod", "biso_app", *RICH)
    one.sql("CREATE EXTENSION postgres_fdw", "CREATE EXTENSION hstore", dbname=prod)
    source = one.server(prod, name="prod")
    stage = stage_name("test")
    with admin(target) as role:
        create(role, target, stage, probe(source))
    fill(source, target, cancel)
    wanted = owned(two, stage)
    with connect(target, stage) as connection:
        before = fingerprint(connection)
    with admin(target) as role:
        drop(role, target, stage)

    own = stage_role(target)
    with admin(target) as role:
        make_role(role, target, own, seconds=3600)
        create(role, target, stage, probe(source), owner=own.name)
    made = fill(source, as_role(target, own), cancel)
    assert "postgres_fdw" in made, "what only an admin may make is among it"
    assert owned(two, stage) != wanted
    give_over(target, stage, own, made)

    found = owned(two, stage)
    for what in wanted:
        assert found[what] == wanted[what], what
    with connect(target, stage) as connection:
        assert fingerprint(connection) == before
    with two.superuser() as connection:
        role_left = "SELECT count(*) FROM pg_roles WHERE rolname = %s"
        assert connection.execute(role_left, (own.name,)).fetchone() == (0,)
        live = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'test'"
        assert connection.execute(live).fetchone() == ("biso_app",), "the live one is untouched"


@pytest.mark.parametrize("user", ["biso_app", "biso_other"])
def test_nobody_but_its_role_gets_at_a_stage(two: Any, target: Server, user: str) -> None:
    own = staged(target)
    stage = stage_name("test")
    with connect(as_role(target, own), stage) as connection:
        connection.execute("CREATE TABLE geheim AS SELECT 'Grosskopf'::text AS name")
    outside = replace(two.server("test", user), admin_user=None)
    with pytest.raises(NotConnected) as caught, connect(outside, stage):
        pass
    assert caught.value.reason == "denied"
    two.sql(f"ALTER ROLE {user} CREATEDB")
    try:
        with connect(outside, "postgres", autocommit=True) as connection:
            for way in (
                f'CREATE DATABASE klon TEMPLATE "{stage}"',
                f'ALTER DATABASE "{stage}" OWNER TO {user}',
                f'ALTER DATABASE "{stage}" RENAME TO meine',
                f'GRANT CONNECT ON DATABASE "{stage}" TO {user}',
                f'SET ROLE "{own.name}"',
                f"ALTER ROLE \"{own.name}\" PASSWORD 'x'",
                f'GRANT "{own.name}" TO {user}',
            ):
                try:
                    connection.execute(way.encode())
                except psycopg.Error:
                    continue
                # A GRANT that gives nothing is a warning.
                assert way.startswith("GRANT CONNECT"), way
        with pytest.raises(NotConnected), connect(outside, stage):
            pass
    finally:
        two.sql(f"ALTER ROLE {user} {'CREATEDB' if user == 'biso_app' else 'NOCREATEDB'}")


def test_who_waits_for_a_stage_to_be_made_does_not_get_in(two: Any, target: Server) -> None:
    """Several statements make it; whoever came in between two of them would stay in."""
    stage, own = stage_name("test"), stage_role(target)
    seen: list[str] = []

    class Peeking:
        """An admin that lets somebody knock after each statement."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def execute(self, *statements: str, atomic: bool = False) -> None:
            for statement in statements:
                self.inner.execute(statement)
                seen.append(_knock(two, stage))

    with admin(target) as role:
        make_role(role, target, own, seconds=60)
        create(Peeking(role), target, stage, probe(target), owner=own.name)
    assert len(seen) == 3 and "in" not in seen, seen
    assert "permission denied" in seen[-1]


def _knock(cluster: Any, dbname: str) -> str:
    try:
        psycopg.connect(
            host="127.0.0.1", port=cluster.port, user="biso_other", password=PASSWORD, dbname=dbname
        ).close()
    except psycopg.Error as error:
        return str(error)
    return "in"


@contextmanager
def logging_all(cluster: Any) -> Iterator[list[str]]:
    wanted = {"log_statement": "'all'", "log_min_duration_statement": "0"}
    log = cluster.root / "log"
    cluster.sql(*(f"ALTER SYSTEM SET {k} = {v}" for k, v in wanted.items()),
                "SELECT pg_reload_conf()")  # fmt: skip
    start, said = log.stat().st_size, []
    try:
        yield said
    finally:
        cluster.sql(*(f"ALTER SYSTEM RESET {key}" for key in wanted), "SELECT pg_reload_conf()")
        said.append(log.read_bytes()[start:].decode())


def test_the_server_s_log_never_holds_the_password_whatever_it_logs(
    two: Any, target: Server
) -> None:
    with logging_all(two) as said:
        own = staged(target)
        with connect(as_role(target, own), stage_name("test")) as connection:
            connection.execute("SELECT 1")
        give_over(target, stage_name("test"), own)
    assert f'CREATE ROLE "{own.name}"' in said[0] and "SCRAM-SHA-256$" in said[0]
    assert own.password.reveal() not in said[0]


def test_it_finds_tables_as_the_application_s_role_does(two: Any, target: Server) -> None:
    two.sql("ALTER ROLE biso_app SET DateStyle = 'German'")
    try:
        own = staged(target)
        with connect(as_role(target, own), stage_name("test")) as connection:
            connection.execute("CREATE SCHEMA biso_app")
            connection.execute("CREATE TABLE biso_app.fall AS SELECT 1 AS n")
            connection.execute("CREATE TABLE public.fall AS SELECT 2 AS n")
            assert connection.execute("SELECT n FROM fall").fetchone() == (1,)
            assert connection.execute("SELECT DATE '2026-02-01'::text").fetchone() == (
                "01.02.2026",
            )
            path = connection.execute("SHOW search_path").fetchone()
        assert path == ("biso_app, public",)
    finally:
        two.sql("ALTER ROLE biso_app RESET ALL")


def test_what_the_application_s_role_was_granted_migrations_may_use(
    two: Any, target: Server
) -> None:
    two.sql("GRANT pg_read_all_settings TO biso_app")
    try:
        with connect(as_role(target, staged(target)), stage_name("test")) as connection:
            assert connection.execute("SHOW data_directory").fetchone()
    finally:
        two.sql("REVOKE pg_read_all_settings FROM biso_app")


def test_it_may_log_in_for_a_time_only(target: Server) -> None:
    own = staged(target, seconds=-1)
    inside = as_role(target, own)
    with pytest.raises(NotConnected), connect(inside, stage_name("test")):
        pass
    with admin(target) as role:
        extend_role(role, own, seconds=60)
    with connect(inside, stage_name("test")):
        pass


def test_what_cannot_be_given_over_is_left_whole(two: Any, target: Server) -> None:
    own, stage = staged(target), stage_name("test")
    with connect(as_role(target, own), stage) as connection:
        connection.execute("CREATE TABLE t ()")
    two.sql("CREATE EXTENSION postgres_fdw", dbname=stage)
    before = owned(two, stage)
    gone = replace(target, dsn=replace(target.dsn, user="niemand"))
    with pytest.raises(DatabaseFailed):
        give_over(gone, stage, own, ["postgres_fdw"])
    assert owned(two, stage) == before
    with admin(target) as role:
        assert left_role(role, target) == own.name


def test_it_goes_with_its_database_and_only_if_it_is_ours(two: Any, target: Server) -> None:
    own, stage = staged(target), stage_name("test")
    with admin(target) as role:
        with pytest.raises(DatabaseFailed):
            drop_role(role, target)
        drop(role, target, stage)
        # A run that was killed left it: the next one makes its own.
        make_role(role, target, stage_role(target), seconds=60)
        assert drop_role(role, target) == own.name
        assert drop_role(role, target) == ""
        two.sql(sql.SQL("CREATE ROLE {}").format(sql.Identifier(own.name)))
        try:
            assert drop_role(role, target) == ""
            with pytest.raises(Refused, match="not of this tool"):
                make_role(role, target, own, seconds=60)
        finally:
            two.sql(sql.SQL("DROP ROLE {}").format(sql.Identifier(own.name)))


def test_a_long_name_is_shortened_and_never_the_application_s(two: Any) -> None:
    live = "ü" * 31
    own = stage_role(two.admin_server(live, live))
    assert len(own.name.encode()) <= 63 and own.name != live
    assert len(own.password.reveal()) >= 32
    assert own.password != stage_role(two.admin_server(live, live)).password


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", ""),
        ("ALTER ROLE biso_app SUPERUSER", "superuser"),
        ("ALTER ROLE biso_app CREATEROLE", "change any role"),
        ("CREATE ROLE chef SUPERUSER; GRANT chef TO biso_app", "chef"),
    ],
)
def test_where_the_application_s_role_reads_everything_there_is_none(
    two: Any, target: Server, change: str, said: str
) -> None:
    if change:
        two.sql(*change.split("; "))
    try:
        why = why_none(target)
    finally:
        two.sql("ALTER ROLE biso_app NOSUPERUSER NOCREATEROLE", "DROP ROLE IF EXISTS chef")
    assert (said in why) if said else not why


def test_where_pg_hba_conf_names_each_role_there_is_none(two: Any, target: Server) -> None:
    with two.superuser() as connection:
        (file,) = connection.execute("SELECT current_setting('hba_file')").fetchone() or ("",)
    hba = Path(file)
    before = hba.read_text()
    try:
        # Seen in the file; what the server goes by stays what it was.
        hba.write_text("local all postgres peer\nhost all biso_app 127.0.0.1/32 scram-sha-256\n")
        assert "pg_hba.conf" in why_none(target)
        hba.write_text("host test all 127.0.0.1/32 scram-sha-256\n")
        assert "pg_hba.conf" in why_none(target)
    finally:
        hba.write_text(before)
    assert why_none(target) == ""


def test_without_an_admin_or_a_password_there_is_none(two: Any, target: Server) -> None:
    assert "admin" in why_none(replace(target, admin_user=None))
    bare = replace(target, dsn=replace(target.dsn, password=Secret("")))
    assert "no password" in why_none(bare)
    poor = replace(target, admin_user="biso_maker")
    two.sql("CREATE ROLE biso_maker LOGIN CREATEDB CREATEROLE")
    try:
        assert "no superuser" in why_none(poor)
    finally:
        two.sql("DROP ROLE biso_maker")


def test_more_tables_are_given_over_than_one_transaction_can_lock(two: Any, target: Server) -> None:
    own, stage = staged(target), stage_name("test")
    with connect(as_role(target, own), stage, autocommit=True) as connection:
        for number in range(1500):
            connection.execute(f"CREATE TABLE t{number} (id serial PRIMARY KEY, a text)".encode())
    give_over(target, stage, own)
    with two.superuser(stage) as connection:
        found = connection.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE oid >= 16384"
        ).fetchall()
    assert found == [("biso_app",)]
