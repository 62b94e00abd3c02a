"""Strategy "in-place": the test instance filled where it stands, by a role that cannot stage."""

from __future__ import annotations

import os
import signal
import time
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.demo.data import PLANTED

KEPT = (b"fop.xconf", b"phpdocxconfig.ini")
RECIPE = tomllib.loads(
    files("biso_tasks.actions").joinpath("builtin_recipes/refresh-in-place.toml").read_text("utf-8")
)
STEPS = [
    step["name"]
    for step in RECIPE["steps"]
    if step["name"] not in ("unlock", "close-source", "lock")
]
BEGIN = STEPS.index("begin")
# Nothing of a site's own can come after these: that they fail is tested in tests/faults.
SEALED = {step["name"] for step in RECIPE["steps"] if step.get("sealed")}


USUAL = ("keep-aside", "replace-database", "replace-data", "anonymize", "verify")
"""tests/faults kills a refresh in place at every step; that it fails is tried at these in a usual
run, and at every one in a whole."""


def some(steps: list[str]) -> list[Any]:
    return [
        step if step in USUAL else pytest.param(step, marks=pytest.mark.whole) for step in steps
    ]


def in_place(world: Any, text: str = "", **refresh: Any) -> None:
    """No CREATEDB, no admin: a site that could not stage."""
    world.site(refresh={"strategy": "in-place", **refresh}, test={"database": None}, text=text)


def insert(after: str, *run: str) -> str:
    words = ", ".join(f'"{word}"' for word in run)
    return (
        f'\n[[recipes.refresh-in-place.insert]]\nafter = "{after}"\nname = "fault"\n'
        f'on = "test"\nrun = [{words}]\n'
    )


def same_code(world: Any) -> None:
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


def require_away(world: Any) -> None:
    """Nobody sees it: maintenance on, services stopped, no other role let in."""
    test = world.test
    assert (test.datadir / "maintenance.on").exists()
    for unit in ("biso-web", "biso-cron"):
        assert test.machine.systemctl("is-active", unit) != "active"
    assert "biso_statistik=" not in str(test.cluster.properties(test.dbname)["acl"])
    assert (test.stage_dir.stat().st_mode & 0o777) == 0o700


@pytest.mark.parametrize(
    "way",
    [
        "relay",
        pytest.param("direct", marks=pytest.mark.whole),
        pytest.param("local", marks=pytest.mark.whole),
    ],
)
def test_the_test_instance_becomes_a_copy_without_the_right_to_create_a_database(
    world: Any, way: str
) -> None:
    same_code(world)
    if way == "direct":
        world.give_key()
    route = "auto" if way == "local" else way
    world.site(
        ssh=way != "local",
        refresh={"strategy": "in-place", "route": route},
        test={"database": None},
    )
    prod, test = world.prod, world.test
    theirs, before = prod.state(), test.cluster.properties(test.dbname)
    kept = {path: test.tree()[path] for path in KEPT}
    ran = world.refresh()
    assert test.cluster.fingerprint(test.dbname) == prod.cluster.fingerprint(prod.dbname)
    wanted, found = (one.cluster.catalog(one.dbname) for one in (prod, test))
    for what in set(wanted) - {"database"}:  # its encoding and locale stay test's own
        assert found[what] == wanted[what], what
    assert test.tree() == {**prod.tree(), **kept}
    assert not test.inodes() & prod.inodes()
    assert test.cluster.properties(test.dbname) == before
    assert prod.state() == theirs
    assert ran.json["downtime_seconds"] > 0
    assert ran.json["previous"] is None
    assert 'strategy = "in-place"' in ran.err
    assert f"route {way}" in ran.err
    assert world.leftovers(previous=False) == []
    assert test.get()[0] == 200


def test_no_personal_string_is_left_after_an_anonymised_one(world: Any) -> None:
    in_place(world, keep_tables=["params"])
    own = world.test.cluster.rows("SELECT * FROM params ORDER BY 1", world.test.dbname)
    ran = world.run("refresh-test", "--yes", "--json")
    assert ran.code == 0, str(ran)
    text = world.test.cluster.text(world.test.dbname)
    names = b"\0".join(world.test.tree())
    for value in PLANTED:
        assert value not in text
        assert value.encode() not in names
    assert world.test.cluster.rows("SELECT * FROM params ORDER BY 1", world.test.dbname) == own
    assert ran.json["proof"]["leaks"] in (0, [])
    assert world.leftovers(previous=False) == []


@pytest.mark.parametrize("step", some(STEPS[1:BEGIN]))
def test_a_failure_before_anything_is_lost_leaves_all_as_it_was(world: Any, step: str) -> None:
    in_place(world, insert(step, "false"))
    before = world.test.state()
    ran = world.run("refresh-test", "--yes", "--json")
    assert ran.code == 1, str(ran)
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


@pytest.mark.parametrize("step", some([step for step in STEPS[BEGIN:] if step not in SEALED]))
def test_a_failure_later_keeps_test_away_until_recover_puts_it_back(world: Any, step: str) -> None:
    in_place(world, insert(step, "false"))
    before = world.test.state()
    ran = world.run("refresh-test", "--yes", "--json")
    assert ran.code == 6, str(ran)
    assert "biso recover" in ran.message
    require_away(world)
    again = world.run("refresh-test", "--yes", "--json")
    assert again.code == 3, str(again)
    assert "in-place refresh" in again.message
    away = world.test.state()
    planned = world.run("recover", "--plan", "--json").json["plan"]
    (change,) = next(one["changes"] for one in planned if one["on"] == "test")
    assert change.startswith("takes back the in-place refresh of run")
    assert world.test.state() == away
    recovered = world.run("recover", "--json")
    assert recovered.code == 0, str(recovered)
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []
    assert world.test.get()[0] == 200


def recover(world: Any) -> Any:
    """From any machine; the lock of one who was killed is free within a minute."""
    end = time.monotonic() + 70
    while True:
        ran = world.run("recover", "--json")
        if ran.code != 5 or time.monotonic() > end:
            return ran


def killed(world: Any, step: str, mark: Path) -> None:
    in_place(world, insert(step, "sh", "-c", f"touch {mark}; exec sleep 300"))
    process = world.start("refresh-test", "--yes", "--json")
    end = time.monotonic() + 120
    while not mark.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert mark.exists(), process.communicate()[1].decode()[-3000:]
    mark.unlink()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("step", some(["offline", "dump-target", "replace-database", "anonymize"]))
def test_a_controller_that_is_killed_leaves_what_recover_puts_back(world: Any, step: str) -> None:
    before = world.test.state()
    killed(world, step, Path("/var/tmp") / f"biso-e2e-mark-{os.getpid()}")
    require_away(world)
    in_place(world)
    recovered = recover(world)
    assert recovered.code == 0, str(recovered)
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


def test_a_dump_that_was_cut_is_not_put_back(world: Any) -> None:
    in_place(world, insert("replace-data", "false"))
    before = world.test.state()
    world.refresh(code=6)
    path = world.test.stage_dir / "in-place/database-0.sql.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused = world.run("recover", "--json")
    assert refused.code == 6, str(refused)
    assert "cannot be relied on" in refused.message
    assert "sha256" in refused.message
    require_away(world)
    path.write_bytes(whole)
    # once more, and killed in the middle: putting back can be done again
    process = world.start("recover", "--json")
    emptied = "SELECT 1 WHERE to_regclass('person') IS NULL"
    while process.poll() is None and not world.test.cluster.rows(emptied, world.test.dbname):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    recovered = recover(world)
    assert recovered.code == 0, str(recovered)
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


def test_what_could_not_be_emptied_is_refused_before_anything_is_touched(world: Any) -> None:
    in_place(world)
    world.test.cluster.rows("CREATE TABLE fremd (a int)", world.test.dbname)
    before = world.test.state()
    ran = world.refresh(code=3)
    assert "table public.fremd belongs to another role" in ran.message
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


def test_changes_of_the_staged_recipe_are_not_lost_unnoticed(world: Any) -> None:
    in_place(world, insert("migrate", "true").replace("refresh-in-place", "refresh-test"))
    ran = world.refresh(code=2)
    assert "recipes.refresh-in-place" in ran.message
