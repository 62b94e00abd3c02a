from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.names import baseline_name, stage_name
from biso_tasks.database.template import copy_template, drop_unfinished, finish_template
from biso_tasks.errors import Refused

pytestmark = pytest.mark.real

LIVE = "kept"


@pytest.fixture
def baseline(one: Any, fresh: Callable[..., str]) -> str:
    """A filled baseline database beside a live one, both the application's."""
    fresh(one, LIVE, "biso_app")
    dbname = fresh(one, baseline_name(LIVE), "biso_app", "CREATE TABLE fall AS SELECT 7 AS id")
    fresh(one, stage_name(LIVE), "biso_app")
    one.sql(f'DROP DATABASE "{stage_name(LIVE)}"')
    return dbname


def test_a_finished_template_is_copied_by_its_owner_and_nobody_can_connect_to_it(
    one: Any, baseline: str
) -> None:
    server = one.server(LIVE)
    with admin(server) as role:
        finish_template(role, server, "20261120_031500-test")
        stage = stage_name(LIVE)
        assert copy_template(role, server, stage, "20261120_031500-test", version=150000)
    with one.superuser(stage) as connection:
        assert connection.execute("SELECT id FROM fall").fetchone() == (7,)
        owner = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert owner == ("biso_app",)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        one.superuser(baseline)


def test_one_that_is_another_sets_or_was_never_finished_is_not_copied(
    one: Any, baseline: str
) -> None:
    server = one.server(LIVE)
    with admin(server) as role:
        assert not copy_template(role, server, stage_name(LIVE), "a", version=150000)
        finish_template(role, server, "a")
        assert not copy_template(role, server, stage_name(LIVE), "b", version=150000)
        with pytest.raises(Refused):
            copy_template(role, server, "another", "a", version=150000)


def test_an_unfinished_one_is_dropped_and_a_finished_one_stays(one: Any, baseline: str) -> None:
    server = one.server(LIVE)
    with admin(server) as role:
        finish_template(role, server, "a")
        assert drop_unfinished(role, server) == ""
        one.sql(f"COMMENT ON DATABASE \"{baseline}\" IS 'half'")
        assert drop_unfinished(role, server) == baseline
        assert drop_unfinished(role, server) == ""
