from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from biso_tasks.database.connect import connect
from biso_tasks.database.identity import same_cluster, same_database

pytestmark = pytest.mark.real


def test_two_databases_of_one_cluster_are_told_apart_by_any_role(
    one: Any, fresh: Callable[..., str]
) -> None:
    a, b = fresh(one, "a"), fresh(one, "b")
    with connect(one.server(a)) as first, connect(one.server(b, "biso_other")) as second:
        assert same_cluster(first, second)
        assert same_cluster(second, first)
        assert not same_database(first, second)


def test_one_database_is_known_whatever_road_leads_there(
    one: Any, fresh: Callable[..., str]
) -> None:
    server = one.server(fresh(one, "a"))
    alias = replace(server, dsn=replace(server.dsn, host=str(one.root), user="biso_other"))
    with connect(server) as first, connect(alias) as second:
        assert same_database(first, second)


def test_a_clone_with_the_same_identifier_is_another_cluster(one: Any, twin: Any) -> None:
    with one.superuser() as a, twin.superuser() as b:
        identifiers = [
            c.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
            for c in (a, b)
        ]
    assert identifiers[0] == identifiers[1]  # the trap
    with connect(one.server()) as first, connect(twin.server()) as second:
        assert not same_cluster(first, second)
        assert not same_database(first, second)


def test_nothing_stays_locked(one: Any) -> None:
    with connect(one.server()) as first, connect(one.server()) as second:
        assert same_database(first, second)
        left = second.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert left.fetchone() == (0,)
