"""Writers that were let in before maintenance: waited for, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from biso_tasks.database.drain import drain, watch
from biso_tasks.errors import Interrupted

pytestmark = pytest.mark.real

Connect = Callable[..., psycopg.Connection[Any]]


@pytest.fixture
def dbname(one: Any, fresh: Any) -> str:
    name: str = fresh(one, "drain", "biso_app", "CREATE TABLE t (n int)")
    return name


@pytest.fixture
def session(one: Any, dbname: str) -> Iterator[Connect]:
    """Sessions of BISO's own kind."""
    made: list[psycopg.Connection[Any]] = []

    def connect(user: str = "biso_app", **more: Any) -> psycopg.Connection[Any]:
        dsn = one.server(dbname, user).dsn
        found = psycopg.connect(
            host=dsn.host, port=dsn.port, dbname=dbname, user=user, password=dsn.password.reveal(),
            application_name="biso web", **more,
        )  # fmt: skip
        made.append(found)
        return found

    yield connect
    for connection in made:
        connection.close()


@contextmanager
def later(seconds: float, what: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, what)
    timer.start()
    yield
    timer.join()


def timed(work: Callable[[], tuple[str, ...]]) -> tuple[float, tuple[str, ...]]:
    start = time.monotonic()
    notes = work()
    return time.monotonic() - start, notes


def test_a_quiet_database_is_drained_at_once_and_not_before_the_quiet_time(
    one: Any, dbname: str, cancel: threading.Event
) -> None:
    with watch(one.server(dbname)) as watching:
        seconds, notes = timed(lambda: watching.drain(cancel=cancel, quiet=0.2))
    assert notes == ()
    assert 0.2 <= seconds < 3


def test_an_open_write_transaction_is_waited_for(
    one: Any, dbname: str, session: Connect, cancel: threading.Event
) -> None:
    writer = session()
    writer.execute("INSERT INTO t VALUES (1)")
    with later(0.6, writer.commit):
        seconds, notes = timed(lambda: drain(one.server(dbname), cancel=cancel))
    assert notes == ()
    assert 0.6 + 0.15 <= seconds < 6


def test_an_idle_session_is_not_waited_for(
    one: Any, dbname: str, session: Connect, cancel: threading.Event
) -> None:
    session(autocommit=True).execute("SELECT 1")
    seconds, notes = timed(lambda: drain(one.server(dbname), cancel=cancel))
    assert notes == ()
    assert seconds < 4


def test_a_writer_that_stays_is_named_without_its_query(
    one: Any, dbname: str, session: Connect, cancel: threading.Event
) -> None:
    writer = session()
    writer.execute("INSERT INTO t VALUES (4711)")
    seconds, notes = timed(lambda: drain(one.server(dbname), cancel=cancel, longest=0.5))
    assert 0.5 <= seconds < 4
    (note,) = notes
    for part in (str(writer.info.backend_pid), "biso_app", "biso web", "idle in transaction"):
        assert part in note
    assert "4711" not in note


def test_a_writer_of_another_role_is_waited_for_and_its_reader_is_not(
    one: Any, dbname: str, session: Connect, cancel: threading.Event
) -> None:
    """pg_stat_activity hides what sessions of other roles do."""
    one.sql("GRANT ALL ON t TO biso_other", dbname=dbname)
    other = session("biso_other")
    other.execute("SELECT count(*) FROM t")
    assert drain(one.server(dbname), cancel=cancel, longest=3) == ()
    other.execute("INSERT INTO t VALUES (1)")
    (note,) = drain(one.server(dbname), cancel=cancel, longest=0.4)
    assert "biso_other" in note and "writing" in note
    with later(0.3, other.rollback):
        assert drain(one.server(dbname), cancel=cancel) == ()


def test_our_own_sessions_are_not_waited_for(
    one: Any, dbname: str, cancel: threading.Event
) -> None:
    server = one.server(dbname)
    with watch(server) as other:
        ((_, connection),) = other._connections
        connection.execute("BEGIN")
        connection.execute("SELECT 1")
        assert drain(server, cancel=cancel, longest=3) == ()


@pytest.mark.parametrize("pause", [0.0, 0.08])
def test_sessions_that_come_and_go_are_no_quiet(
    one: Any, dbname: str, session: Connect, cancel: threading.Event, pause: float
) -> None:
    """Each is over between two looks, or nearly so."""
    stop = threading.Event()

    def hammer() -> None:
        while not stop.wait(pause):
            with session() as connection:
                connection.execute("INSERT INTO t VALUES (1)")

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        seconds, notes = timed(lambda: drain(one.server(dbname), cancel=cancel, longest=1.2))
    finally:
        stop.set()
        thread.join()
    assert seconds >= 1.2
    assert notes
    assert drain(one.server(dbname), cancel=cancel) == ()


def test_sessions_of_another_database_do_not_matter(
    one: Any, dbname: str, fresh: Any, session: Connect, cancel: threading.Event
) -> None:
    fresh(one, "drain_two")
    session().execute("INSERT INTO t VALUES (1)")
    assert drain(one.server("drain_two"), cancel=cancel, longest=3) == ()


def test_writers_of_each_watched_database_are_waited_for(
    one: Any, dbname: str, fresh: Any, session: Connect, cancel: threading.Event
) -> None:
    """The log database is to be of the same moment."""
    fresh(one, "drain_two")
    writer = session()
    writer.execute("INSERT INTO t VALUES (1)")
    with watch(one.server("drain_two"), one.server(dbname)) as watching:
        (note,) = watching.drain(cancel=cancel, longest=0.5)
        assert f"in {dbname}: idle in transaction" in note
        with later(0.4, writer.commit):
            seconds, notes = timed(lambda: watching.drain(cancel=cancel))
    assert notes == ()
    assert 0.4 + 0.15 <= seconds < 6


def test_files_alone_are_waited_for_where_no_database_is_watched(cancel: threading.Event) -> None:
    asked: list[float] = []

    def also() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 3

    with watch() as watching:
        assert watching.drain(cancel=cancel, also=also) == ()
    assert len(asked) == 3


def test_what_else_is_busy_is_waited_for_and_the_database_looked_at_again(
    one: Any, dbname: str, session: Connect, cancel: threading.Event
) -> None:
    writer, asked = session(), []

    def also() -> bool:
        asked.append(time.monotonic())
        if len(asked) == 2:  # the file is closed, and its row is written now
            writer.execute("INSERT INTO t VALUES (1)")
            threading.Timer(0.5, writer.commit).start()
        return len(asked) == 1

    notes = drain(one.server(dbname), cancel=cancel, also=also)
    assert notes == ()
    assert len(asked) == 3
    assert asked[2] - asked[1] >= 0.5


def test_files_that_stay_open_are_told(one: Any, dbname: str, cancel: threading.Event) -> None:
    (note,) = drain(one.server(dbname), cancel=cancel, longest=0.5, also=lambda: True)
    assert "files" in note


def test_a_wait_can_be_interrupted(
    one: Any, dbname: str, session: Connect, cancel: threading.Event
) -> None:
    session().execute("INSERT INTO t VALUES (1)")
    with later(0.2, cancel.set), pytest.raises(Interrupted):
        drain(one.server(dbname), cancel=cancel)
