"""[neutralize] from end to end: it is applied, it cannot be left out, and it is checked."""

from __future__ import annotations

from typing import Any

import pytest

from biso_tasks.demo.data import PLANTED


def same_code(world: Any) -> None:
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


def test_the_demos_own_params_are_set_in_the_copy_and_the_stage_has_the_config(world: Any) -> None:
    same_code(world)
    world.site(
        neutralize={
            "params": {"erinnerung.tage": 0},
            "sql": ["TRUNCATE sessions"],
            "config": {"mail.versand": False, "upload.max": 5 << 20},
        }
    )
    world.refresh()
    rows = "SELECT wert FROM params WHERE name = 'erinnerung.tage'"
    assert world.test.cluster.rows(rows, world.test.dbname) == [("0",)]
    assert world.prod.cluster.rows(rows, "biso") == [("2",)]
    assert world.test.cluster.rows("SELECT count(*) FROM sessions", world.test.dbname) == [(0,)]


@pytest.mark.parametrize("strategy", ["swap", pytest.param("in-place", marks=pytest.mark.whole)])
def test_a_config_php_that_says_otherwise_is_refused_while_planning(
    strategy: str, world: Any
) -> None:
    same_code(world)
    world.site(
        refresh={"strategy": strategy},
        neutralize={"config": {"mail.versand": True, "sms.aktiv": False}},
    )
    before = world.test.state()
    ran = world.run("refresh-test", "--no-anonymize", "--plan")
    assert ran.code == 3
    assert "mail.versand (says something else), sms.aktiv (is not set)" in ran.err
    assert "Config::set('sms.aktiv', false);" in ran.err
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"skip": ["neutralize"]}, '"neutralize" cannot be skipped'),
        (
            {"insert": [{"name": "x", "after": "prove", "on": "test", "run": ["true"]}]},
            '"x" would come after "prove"',
        ),
    ],
)
def test_a_site_can_neither_leave_it_out_nor_change_the_stage_after_its_proof(
    change: dict[str, Any], said: str, world: Any
) -> None:
    world.site(recipes={"refresh-test": change})
    ran = world.run("refresh-test", "--plan")
    assert ran.code == 2 and said in ran.err


def test_a_database_setting_of_production_that_names_somebody_does_not_come_along(
    world: Any,
) -> None:
    same_code(world)
    world.site()
    _, mail, *_ = PLANTED
    world.prod.cluster.rows(f"ALTER DATABASE biso SET app.kontakt = 'an {mail}'")
    try:
        ran = world.refresh("--from", "prod", code=4)
    finally:
        world.prod.cluster.rows("ALTER DATABASE biso RESET app.kontakt")
    assert "database setting app.kontakt (mail)" in ran.json["error"]["message"]
    assert mail not in ran.err + ran.out
    assert world.leftovers(previous=False) == []
