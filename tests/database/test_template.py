from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.facts import probe
from biso_tasks.database.names import baseline_name, stage_name
from biso_tasks.database.template import (
    begin_template,
    copy_template,
    drop_template,
    finish_template,
    unfinished_template,
)
from biso_tasks.errors import Refused, StepFailed

pytestmark = pytest.mark.real

LIVE = "kept"
BASELINE = baseline_name(LIVE)
STAGE = stage_name(LIVE)


@pytest.fixture
def server(one: Any, fresh: Callable[..., str]) -> Any:
    fresh(one, LIVE, "biso_app")
    return one.server(LIVE)


def fill(one: Any, server: Any) -> None:
    """As the application's role fills it."""
    with admin(server) as role:
        begin_template(role, server, probe(server))
    one.sql("SET ROLE biso_app", "CREATE TABLE fall AS SELECT 7 AS id", dbname=BASELINE)


def databases(one: Any) -> set[str]:
    with one.superuser() as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


def test_a_finished_template_is_copied_by_its_owner_and_nobody_can_connect_to_it(
    one: Any, server: Any
) -> None:
    fill(one, server)
    with admin(server) as role:
        finish_template(role, server, "20261120_031500-test")
        assert copy_template(role, server, STAGE, "20261120_031500-test", version=150000)
    with one.superuser(STAGE) as connection:
        assert connection.execute("SELECT id FROM fall").fetchone() == (7,)
        owner = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert owner == ("biso_app",)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        one.superuser(BASELINE)


def test_one_that_is_another_sets_or_was_never_finished_is_not_copied(
    one: Any, server: Any
) -> None:
    fill(one, server)
    with admin(server) as role:
        assert not copy_template(role, server, STAGE, "a", version=150000)
        finish_template(role, server, "a")
        assert not copy_template(role, server, STAGE, "b", version=150000)
        with pytest.raises(Refused):
            copy_template(role, server, "another", "a", version=150000)


def test_what_a_killed_run_left_is_dropped_and_a_finished_one_stays(one: Any, server: Any) -> None:
    fill(one, server)
    with admin(server) as role:
        assert drop_template(role, server, unfinished=True) == BASELINE
        fill(one, server)
        finish_template(role, server, "a")
        assert drop_template(role, server, unfinished=True) == ""
        assert drop_template(role, server) == BASELINE
        assert drop_template(role, server) == ""


def test_one_whose_dropping_a_crash_cut_off_is_dropped_as_one_never_finished(
    one: Any, server: Any
) -> None:
    fill(one, server)
    with admin(server) as role:
        finish_template(role, server, "a")
        one.sql(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{BASELINE}'")
        assert not copy_template(role, server, STAGE, "a", version=150000)
        assert unfinished_template(role, server) == BASELINE
        assert drop_template(role, server, unfinished=True) == BASELINE
        assert unfinished_template(role, server) == ""


def test_a_database_of_that_name_that_is_somebody_elses_is_left_alone(
    one: Any, server: Any, fresh: Callable[..., str]
) -> None:
    fresh(one, BASELINE, "biso_app", "CREATE TABLE wertvoll (id int)")
    with admin(server) as role:
        assert drop_template(role, server) == ""
        assert drop_template(role, server, unfinished=True) == ""
        assert not copy_template(role, server, STAGE, "a", version=150000)
        with pytest.raises(StepFailed, match="not of this tool"):
            begin_template(role, server, probe(server))
    assert BASELINE in databases(one)
