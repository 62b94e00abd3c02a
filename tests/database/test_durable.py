"""A server that may lose its last commits when it crashes (synchronous_commit = off) loses none of
ours: directories are renamed and intents forgotten on the strength of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from biso_tasks.database.admin import admin, flush
from biso_tasks.database.connect import connect
from biso_tasks.database.names import previous_name, stage_name
from biso_tasks.database.one_table import bring_table
from biso_tasks.database.sqltext import compose, name
from biso_tasks.database.swap import Rename, allow, exchange, intent

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql (machine)")]

each_road = pytest.mark.parametrize("road", ["psycopg", "psql"])


@pytest.fixture
def careless(one: Any) -> Iterator[Any]:
    """The cluster, so set that a commit may lie in its memory for ten seconds."""
    settings = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": 0}
    one.sql(*(compose("ALTER SYSTEM SET {} = {}", name(key), value)
              for key, value in settings.items()), "SELECT pg_reload_conf()")  # fmt: skip
    yield one
    one.sql("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


def crash(cluster: Any) -> None:
    cluster.stop()  # pg_ctl's "immediate": it comes back by replaying its log
    cluster.start()


def server(cluster: Any, road: str) -> Any:
    return cluster.server() if road == "psycopg" else cluster.admin_server()


def names(cluster: Any) -> set[str]:
    with cluster.superuser() as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}


@pytest.fixture
def pair(careless: Any, fresh: Callable[..., str]) -> Rename:
    """A live database and a stage of it."""
    one = Rename("dur", stage_name("dur"), previous_name("dur"))
    fresh(careless, one.live)
    fresh(careless, one.stage)
    return one


@each_road
def test_a_swap_that_was_committed_is_so_after_a_crash(
    careless: Any, pair: Rename, road: str
) -> None:
    with admin(server(careless, road)) as role:
        exchange(role, [pair])
    crash(careless)
    assert {pair.live, pair.previous} == names(careless) & {pair.live, pair.stage, pair.previous}


@each_road
def test_who_was_let_in_again_is_so_after_a_crash(careless: Any, pair: Rename, road: str) -> None:
    with admin(server(careless, road)) as role:
        intents = intent(role, [pair])
        careless.sql("ALTER DATABASE dur ALLOW_CONNECTIONS false", "CHECKPOINT")
        allow(role, intents)
    crash(careless)
    with careless.superuser("dur"):
        pass


@each_road
@pytest.mark.parametrize("flushed", [True, False])
def test_what_others_committed_is_there_once_it_was_flushed(
    careless: Any, fresh: Callable[..., str], road: str, flushed: bool
) -> None:
    """The other case shows that this server does lose what nobody has waited for."""
    fresh(careless, "dur", "biso_app", "CREATE TABLE mark (what text)")
    careless.sql("CHECKPOINT")
    careless.sql("INSERT INTO mark VALUES ('a person')", dbname="dur")
    if flushed:
        with admin(server(careless, road)) as role:
            flush(role)
    crash(careless)
    with careless.superuser("dur") as connection:
        rows = connection.execute("SELECT what FROM mark").fetchall()
    assert rows == ([("a person",)] if flushed else [])


@each_road
@pytest.mark.parametrize(("asked", "used"), [("off", "local"), ("on", "on"), ("local", "local"),
                                             ("remote_apply", "remote_apply")])  # fmt: skip
def test_a_server_that_waits_for_more_goes_on_to(
    one: Any, road: str, asked: str, used: str
) -> None:
    one.sql(compose("ALTER DATABASE postgres SET synchronous_commit = {}", asked))
    try:
        with admin(server(one, road), "postgres") as role:
            role.execute("SELECT 1")
            found = role.rows("SELECT current_setting('synchronous_commit') AS it")
        assert found == [(used,)]
    finally:
        one.sql("ALTER DATABASE postgres RESET synchronous_commit")


def test_a_table_that_was_brought_is_there_after_a_crash(
    careless: Any, fresh: Callable[..., str]
) -> None:
    fresh(careless, "dur", "biso_app")
    it = careless.server("dur")
    with connect(it) as connection:
        connection.execute("CREATE TABLE fall AS SELECT generate_series(1, 9) AS id")
    careless.sql("CHECKPOINT")
    place = name("gerettet", "fall")
    bring_table(it, it, name("public", "fall"), place, 9, cancel=threading.Event())
    crash(careless)
    with connect(it) as connection:
        rows = connection.execute("SELECT count(*) FROM gerettet.fall").fetchone()
    assert rows == (9,)
