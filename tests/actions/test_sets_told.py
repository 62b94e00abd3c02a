"""What a script reads of sets that knows CONTRACT alone: `list`, `show`, `pin`; and `runs`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from restore_site import Restored

from biso_tasks.cli import commands

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

DRILL = {"set_": "", "all_": False, "drill": True, "on": "", "from_": ""}
LISTED = {"id", "state", "created", "bytes", "areas", "verified", "drilled", "pinned"}


def show(world: Restored) -> dict[str, Any]:
    return world.run("show", set_="latest", from_="")


def listed(world: Restored) -> dict[str, Any]:
    (found,) = world.run("list", env="", from_="")["sets"]
    return dict(found)


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    assert found.tzinfo is not None, text
    return found


def test_a_set_is_listed_and_shown_with_the_same_facts(world: Restored) -> None:
    one, shown = listed(world), show(world)
    assert set(one) >= LISTED and {key: shown[key] for key in one} == one
    assert (shown["set"], shown["path"]) == (world.id, str(world.set_folder))
    assert abs(moment(one["created"]) - datetime.now(UTC)) < timedelta(hours=1)
    assert one["areas"] == ["webroot", "data", "database"] and one["pinned"] is False
    files = sum(path.stat().st_size for path in (world.set_folder / "data").rglob("*")
                if path.is_file() and not path.is_symlink())  # fmt: skip
    assert files < one["bytes"] < files + 10**6
    assert shown["manifest"]["id"] == world.id

    world.run("verify", **DRILL)
    one = listed(world)
    assert one["state"] == "drilled" and moment(one["verified"]) == moment(one["drilled"])


def test_counts_and_versions_of_a_set_are_shown(
    world: Restored, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = show(world)
    persons = int(world.prod.psql("SELECT count(*) FROM person"))
    assert shown["counts"]["gaia.db"]['"public"."person"'] == persons > 0
    assert set(shown["counts"]) == {"gaia.db", "log.db"}
    version = world.prod.psql("SHOW server_version").split()[0]
    assert shown["versions"]["postgresql"]["gaia.db"] == version
    assert (
        shown["versions"]["pg_dump"]["log.db"].startswith("1") and shown["versions"]["biso-tasks"]
    )
    capfd.readouterr()
    assert commands.run("show", {"set_": "latest", "from_": "", "verbose": True}) == 0
    text = capfd.readouterr().out
    assert f"PostgreSQL {version}" in text and f'"public"."person": {persons} rows' in text


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("", None),
        ("2099-01-31", "2099-01-31T23:59:59+00:00"),
        ("2099-01-31T12:00", "2099-01-31T12:00:00+00:00"),
        ("2099-01-31T12:00:00+02:00", "2099-01-31T10:00:00+00:00"),
    ],
)
def test_a_pin_holds_until_the_end_of_the_day_or_the_moment(
    world: Restored, until: str, said: str | None
) -> None:
    pinned = world.run("pin", set_=world.id, reason="Prüfung", until=until)
    assert (pinned["pinned"], pinned["until"], pinned["reason"]) == (True, said, "Prüfung")
    for one in (listed(world), show(world)):
        assert (one["pinned"], one["pin"]) == (True, {"reason": "Prüfung", "until": said})
    assert world.run("unpin", set_=world.id)["pinned"] is False
    assert (listed(world)["pinned"], listed(world)["pin"]) == (False, None)


def test_a_pin_until_today_holds_and_one_for_some_days_says_when_it_ends(world: Restored) -> None:
    now = datetime.now(UTC)
    today = world.run("pin", set_=world.id, reason="", until=f"{now:%Y-%m-%d}")
    assert moment(today["until"]).date() == now.date()
    days = world.run("pin", set_=world.id, reason="", until="30d")
    assert timedelta(days=29, hours=23) < moment(days["until"]) - now < timedelta(days=30, hours=1)
    world.run("unpin", set_=world.id)


@pytest.mark.parametrize(
    "until",
    ["31.1.2099", "tomorrow", "2020-01-01", "0d", "999999999w", "9999-12-31T23:59-12:00", "-1d"],
)
def test_what_no_pin_can_end_at_is_a_mistake_of_the_command_line(
    world: Restored, until: str
) -> None:
    error = world.run("pin", 2, set_=world.id, reason="", until=until)["error"]
    assert error["kind"] == "usage" and until in error["message"] and error["hint"]
    assert listed(world)["pinned"] is False


@pytest.mark.parametrize("number", ["0", "-1", "x", ""])
def test_a_number_of_runs_that_is_none_is_a_mistake_of_the_command_line(
    world: Restored, number: str
) -> None:
    assert world.run("runs", 2, number=number)["error"]["kind"] == "usage"
