from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.create import drop
from biso_tasks.database.names import previous_name, stage_name
from biso_tasks.database.sqltext import compose, name
from biso_tasks.database.swap import Rename, allow, back, committed, exchange, intent, revert
from biso_tasks.errors import NeedsPerson, StepFailed

pytestmark = pytest.mark.real


def rename(live: str, *statements: str) -> Rename:
    return Rename(live, stage_name(live), previous_name(live), statements)


def triple(cluster: Any, fresh: Callable[..., str], live: str, owner: str = "biso_app") -> Rename:
    one = rename(live)
    for dbname, mark in ((one.live, "old"), (one.stage, "new")):
        fresh(cluster, dbname, owner, "CREATE TABLE mark (what text)")
        cluster.sql(compose("INSERT INTO mark VALUES ({})", mark), dbname=dbname)
    return one


def mark(cluster: Any, dbname: str) -> str:
    with cluster.superuser(dbname) as connection:
        return str(connection.execute("SELECT what FROM mark").fetchone()[0])


def closed(cluster: Any) -> list[str]:
    with cluster.superuser() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'"
        ).fetchall()
    return [row[0] for row in rows]


@contextlib.contextmanager
def clients(cluster: Any, dbname: str, many: int = 8) -> Iterator[list[str]]:
    """Clients that reconnect at once whenever they are thrown out, as a web application's do."""
    stop, seen = threading.Event(), [""]
    dsn = cluster.server().dsn

    def visit() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(
                    host="127.0.0.1",
                    port=cluster.port,
                    user=dsn.user,
                    password=dsn.password.reveal(),
                    dbname=dbname,
                    autocommit=True,
                ) as connection:
                    while not stop.is_set():
                        row = connection.execute("SELECT current_database()").fetchone()
                        seen[0] = str(row)
                        time.sleep(0.002)
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=visit) for _ in range(many)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_who_is_let_in_again_is_none_of_half_a_database(
    one: Any, fresh: Callable[..., str]
) -> None:
    it = triple(one, fresh, "halved")
    with admin(one.server()) as role:
        intents = intent(role, [it])
    for dbname in (it.live, it.stage):
        one.sql(compose("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(dbname)))
    one.sql(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{it.stage}'")
    with admin(one.server()) as role:
        allow(role, intents, [it.stage, it.previous])
    assert closed(one) == [it.stage]


@pytest.mark.parametrize("by", ["owner", "psql"])
def test_the_swap_wins_five_of_five_against_reconnecting_clients(
    one: Any, fresh: Callable[..., str], by: str
) -> None:
    two = triple(one, fresh, "Bisö 'test'")
    server = one.server(two.live) if by == "owner" else one.admin_server(two.live, "biso_app")
    took = []
    with clients(one, two.live), admin(server) as role:
        took.append(exchange(role, [two]).seconds)
        for _ in range(4):
            took.append(back(role, [two]).seconds)
    assert max(took) < 3
    print(f"{by}: {[round(t * 1000) for t in took]} ms")
    assert (mark(one, two.live), mark(one, two.previous)) == ("new", "old")
    assert closed(one) == []


@pytest.mark.parametrize("by", ["owner", "psql"])
def test_a_client_that_slipped_in_while_the_door_was_closed_is_ended(
    one: Any, fresh: Callable[..., str], by: str
) -> None:
    """On a busy machine it is connected and not yet among the sessions when these are ended."""
    two = triple(one, fresh, "biso")
    server = one.server(two.live) if by == "owner" else one.admin_server(two.live, "biso_app")
    dsn = one.server(two.live).dsn
    with contextlib.ExitStack() as stack, one.superuser() as connection, admin(server) as role:

        def slip_in() -> None:
            connection.execute(b"ALTER DATABASE biso ALLOW_CONNECTIONS true")
            client = psycopg.connect(
                host=dsn.host, port=dsn.port, dbname="biso", user=dsn.user,
                password=dsn.password.reveal(),
            )  # fmt: skip
            stack.callback(client.close)
            connection.execute(b"ALTER DATABASE biso ALLOW_CONNECTIONS false")

        took = exchange(role, [two], before_commit=slip_in).seconds
    assert took < 4, "RENAME alone waits for five seconds"
    assert (mark(one, two.live), mark(one, two.previous)) == ("new", "old")
    assert closed(one) == []


def test_terminate_then_rename_loses(one: Any, fresh: Callable[..., str]) -> None:
    """The trap that ALLOW_CONNECTIONS false answers."""
    two = triple(one, fresh, "biso")
    lost = False
    with clients(one, two.live), one.superuser() as connection:
        for _ in range(3):
            if lost:  # RENAME waits five seconds each time
                break
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'biso'"
            )
            time.sleep(0.05)
            try:
                connection.execute(
                    compose("ALTER DATABASE {} RENAME TO {}", name("biso"), name("x")).encode()
                )
                connection.execute(b"ALTER DATABASE x RENAME TO biso")
            except psycopg.errors.ObjectInUse:
                lost = True
    assert lost


def test_all_databases_are_exchanged_or_none(one: Any, fresh: Callable[..., str]) -> None:
    first = triple(one, fresh, "biso")
    second = triple(one, fresh, "biso_log")
    broken = Rename(second.live, second.stage, second.previous, ("SELECT 1/0",))
    with admin(one.server("biso")) as role:
        meant = intent(role, [first, second])
        with pytest.raises(StepFailed, match="division by zero"):
            exchange(role, [first, broken])
        assert not committed(role, meant)
        assert (mark(one, "biso"), mark(one, "biso_log")) == ("old", "old")
        assert closed(one) == []
        exchange(role, [first, second])
        assert committed(role, meant)
        assert (mark(one, "biso"), mark(one, "biso_log")) == ("new", "new")


def test_rollback_is_the_same_exchange_again_and_twice_is_as_before(
    one: Any, fresh: Callable[..., str]
) -> None:
    two = triple(one, fresh, "x" * 63)
    with admin(one.server(two.live)) as role:
        exchange(role, [two])
        back(role, [two])
        assert (mark(one, two.live), mark(one, two.previous)) == ("old", "new")
        back(role, [two])
        assert (mark(one, two.live), mark(one, two.previous)) == ("new", "old")


def test_the_previous_of_last_time_is_left_over_under_the_stage_s_name(
    one: Any, fresh: Callable[..., str]
) -> None:
    two = triple(one, fresh, "biso")
    fresh(one, two.previous, "biso_app", "CREATE TABLE mark AS SELECT 'ancient' AS what")
    server = one.server("biso")
    with admin(server) as role:
        done = exchange(role, [two])
        assert done.leftover == (two.stage,)
        assert mark(one, two.stage) == "ancient"
        assert (mark(one, "biso"), mark(one, two.previous)) == ("new", "old")
        assert drop(role, server, two.stage)


def test_a_swap_taken_back_puts_all_three_in_their_old_places(
    one: Any, fresh: Callable[..., str]
) -> None:
    two = triple(one, fresh, "biso")
    fresh(one, two.previous, "biso_app", "CREATE TABLE mark AS SELECT 'ancient' AS what")
    with admin(one.server("biso")) as role:
        exchange(role, [two])
        revert(role, [two])
    names = (two.live, two.stage, two.previous)
    assert tuple(mark(one, dbname) for dbname in names) == ("old", "new", "ancient")


def test_what_is_done_while_nobody_is_connected_can_still_stop_the_swap(
    one: Any, fresh: Callable[..., str]
) -> None:
    two = triple(one, fresh, "biso")

    def fail() -> None:
        assert set(closed(one)) == {two.live, two.stage}
        raise StepFailed("directories could not be renamed")

    with admin(one.server("biso")) as role, pytest.raises(StepFailed, match="directories"):
        exchange(role, [two], before_commit=fail)
    assert closed(one) == []
    assert mark(one, "biso") == "old"


def test_a_bare_target_just_gets_the_name(one: Any, fresh: Callable[..., str]) -> None:
    two = rename("biso")
    fresh(one, two.stage, "biso_app", "CREATE TABLE mark AS SELECT 'new' AS what")
    with admin(one.server("biso")) as role:
        assert exchange(role, [two]).leftover == ()
    assert mark(one, "biso") == "new"


def test_a_superuser_s_session_is_named_before_anything_is_blocked(
    one: Any, fresh: Callable[..., str]
) -> None:
    two = triple(one, fresh, "biso")
    with one.superuser("biso"), admin(one.server("biso")) as role:
        started = time.monotonic()
        with pytest.raises(StepFailed, match="postgres in biso"):
            exchange(role, [two])
        assert time.monotonic() - started < 2
        assert closed(one) == []
        with admin(one.admin_server("biso")) as superuser:
            exchange(superuser, [two])
    assert mark(one, "biso") == "new"


def test_a_prepared_transaction_is_named(one: Any, fresh: Callable[..., str]) -> None:
    two = triple(one, fresh, "biso")
    one.sql("BEGIN", "CREATE TABLE x (a int)", "PREPARE TRANSACTION 'p1'", dbname="biso")
    try:
        with admin(one.server("biso")) as role, pytest.raises(StepFailed, match="'p1' in biso"):
            exchange(role, [two])
    finally:
        one.sql("ROLLBACK PREPARED 'p1'", dbname="biso")


def test_access_changes_in_the_same_transaction(one: Any, fresh: Callable[..., str]) -> None:
    two = triple(one, fresh, "biso")
    opened = Rename(
        two.live,
        two.stage,
        two.previous,
        (compose("GRANT CONNECT ON DATABASE {} TO {}", name("biso"), name("biso_report")),),
    )
    one.sql('REVOKE ALL ON DATABASE "biso__stage" FROM PUBLIC')
    with admin(one.server("biso")) as role:
        exchange(role, [opened])
    with connect(one.server("biso", "biso_report")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


KILLED = """
import os, signal, sys
from biso_tasks.database import swap
from biso_tasks.database.admin import _ByConnection, admin
from biso_tasks.database.names import previous_name, stage_name
from biso_tasks.database.server import Server
from biso_tasks.host.local import LocalHost
from biso_tasks.values import Dsn, Secret
port, bindir, moment = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
password = Secret(sys.stdin.read())
server = Server(LocalHost("test"), Dsn("127.0.0.1", port, "biso", "biso_app", password))
real, calls = _ByConnection.execute, [0]
def execute(self, *statements, atomic=False):
    calls[0] += 1
    if calls[0] * 2 - 1 == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    if calls[0] == 2 and moment == 5:   # inside the transaction: before its COMMIT
        import psycopg
        transaction = self._connection.transaction()
        transaction.__enter__()
        for statement in statements:
            self._connection.execute(statement.encode())
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *statements, atomic=atomic)
    if calls[0] * 2 == moment:
        os.kill(os.getpid(), signal.SIGKILL)
_ByConnection.execute = execute
with admin(server) as role:
    swap.exchange(role, [swap.Rename("biso", stage_name("biso"), previous_name("biso"))])
"""


# 1 2 before and after blocking and ending sessions, 3 4 the transaction, 5 inside it
@pytest.mark.parametrize("moment", range(1, 6))
def test_killed_at_any_moment_it_can_be_told_and_put_right(
    one: Any, fresh: Callable[..., str], moment: int
) -> None:
    two = triple(one, fresh, "biso")
    server = one.server("biso")
    with admin(server) as role:
        meant = intent(role, [two])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(KILLED),
            str(one.port),
            str(one.bindir),
            str(moment),
        ],
        input=server.dsn.password.reveal().encode(),
        stderr=subprocess.PIPE,
        env={**os.environ},
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    time.sleep(0.1)
    with admin(server) as role:
        happened = committed(role, meant)
        assert happened == (moment == 4)
        assert bool(closed(one)) == (moment in (2, 3, 5))
        allow(role, meant)
        assert closed(one) == []
        assert mark(one, "biso") == ("new" if happened else "old")
        if not happened:
            exchange(role, [two])
    assert mark(one, "biso") == "new"


def test_neither_before_nor_after_is_for_a_person(one: Any, fresh: Callable[..., str]) -> None:
    two = triple(one, fresh, "biso")
    with admin(one.server("biso")) as role:
        meant = intent(role, [two])
        role.execute(compose("ALTER DATABASE {} RENAME TO {}", name("biso"), name("weg")))
        with pytest.raises(NeedsPerson):
            committed(role, meant)
