"""`restore` where a part of the instance is gone: what is missing is made, what is there stays."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored, fingerprint_of, names_of, tree

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

FAILS = """
[[recipes.restore.insert]]
after = "migrate"
name = "fails"
on = "prod"
run = ["false"]
"""
KILLS = FAILS.replace('["false"]', '["bash", "-c", "kill -9 $PPID"]')
DATABASES = ("biso", "biso_log")


def lose_webroot(world: Restored) -> None:
    shutil.rmtree(world.prod.webroot)


def empty_webroot(world: Restored) -> None:
    shutil.rmtree(world.prod.webroot)
    world.prod.webroot.mkdir()


def lose_code(world: Restored) -> None:
    """All but config.php, as a careless deployment leaves it."""
    for path in world.prod.webroot.iterdir():
        if path.name != "config.php":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def lose_data(world: Restored) -> None:
    shutil.rmtree(world.prod.datadir)


def lose_databases(world: Restored) -> None:
    for dbname in DATABASES:
        world.prod.psql(f"DROP DATABASE {dbname} WITH (FORCE)", dbname="postgres")


def lose_log(world: Restored) -> None:
    world.prod.psql("DROP DATABASE biso_log WITH (FORCE)", dbname="postgres")


def lose_code_and_rows(world: Restored) -> None:
    lose_webroot(world)
    lose_databases(world)


Loss = Callable[[Restored], None]
# What was lost, what is restored, and which areas the previous instance consists of then.
CASES: list[tuple[Loss, str, str]] = [
    (lose_webroot, "", "data database"),
    (lose_webroot, "webroot", ""),
    (empty_webroot, "webroot,data", "data"),
    (lose_code, "webroot", "webroot"),
    (lose_data, "", "webroot database"),
    (lose_data, "data", ""),
    (lose_databases, "", "webroot data"),
    (lose_databases, "database", ""),
    (lose_log, "database", "database"),
    (lose_code_and_rows, "webroot,database", ""),
]
# Each thing that can be missing once.
USUAL = [CASES[number] for number in (0, 5, 7, 8, 9)]


def state(world: Restored) -> dict[str, Any]:
    """Everything that a restore may touch; None for what is not there."""
    prod = world.prod
    databases, roles = names_of(prod)
    return {
        "databases": databases,
        "roles": roles,
        **{one: fingerprint_of(prod, one) if one in databases else None for one in DATABASES},
        "data": tree(prod.datadir) if prod.datadir.exists() else None,
        "webroot": tree(prod.webroot) if prod.webroot.exists() else None,
        "maintenance": (prod.datadir / "maintenance.on").exists(),
        "stage directory": world.stage_dir.exists() and sorted(
            path.name for path in world.stage_dir.iterdir()
        ),
    }  # fmt: skip


def served(world: Restored) -> dict[str, Any]:
    """What users have of it: a folder that a file was put into has another time."""
    found = state(world)
    return {
        **{key: found[key] for key in (*DATABASES, "maintenance")},
        "data": tree(world.prod.datadir, folder_times=False),
        "webroot": tree(world.prod.webroot, folder_times=False),
    }


@pytest.fixture
def whole(world: Restored) -> Iterator[Restored]:
    """Production as its set has it, with nothing beside it; and so again afterwards."""
    yield world
    world.write()
    for path in (world.prod.webroot, world.prod.datadir, world.stage_dir):
        shutil.rmtree(path, ignore_errors=True)
    world.make_bare()
    world.restore()
    shutil.rmtree(world.stage_dir)


@pytest.mark.parametrize(
    ("lose", "only", "previous"),
    [
        pytest.param(
            *case,
            id=f"{case[0].__name__}, restore {case[1] or 'all'}",
            marks=() if case in USUAL else pytest.mark.whole,
        )
        for case in CASES
    ],
)
def test_what_is_gone_comes_back_and_what_is_there_is_kept(
    whole: Restored, lose: Loss, only: str, previous: str
) -> None:
    world = whole
    before = served(world)
    databases, roles = names_of(world.prod)
    lose(world)

    document = world.restore(only=only)

    assert served(world) == before
    assert not before["maintenance"]
    kept = set(previous.split())
    there = json.loads((world.stage_dir / "instance.json").read_text())["previous"]
    assert set(there["areas"] if there else []) == kept
    assert (document["previous"] is None) == (not kept)
    beside = {f"{one}__previous" for one in DATABASES} if "database" in kept else set()
    assert names_of(world.prod) == (databases | beside, roles)
    names = {path.name for path in world.stage_dir.iterdir()}
    files = kept & {"webroot", "data"}
    assert names - {".htaccess"} == {"instance.json"} | ({"previous"} if files else set())
    if files:
        assert {path.name for path in (world.stage_dir / "previous").iterdir()} == files
    assert not list(world.prod.webroot.parent.glob(".biso-tasks-webroot*"))


def test_a_rollback_exchanges_what_was_there_before_and_nothing_else(whole: Restored) -> None:
    world = whole
    letter = world.prod.datadir / "brief_vorlagen/Einladung.txt"
    letter.chmod(0o640)
    letter.write_text("von heute")
    today = served(world)
    lose_webroot(world)

    world.restore()
    assert letter.read_text() != "von heute"
    world.run("rollback", env="prod", confirm="prod")

    assert served(world) == today


@pytest.mark.parametrize(
    "lose",
    [
        lose_databases,
        lose_code,
        pytest.param(lose_webroot, marks=pytest.mark.whole),
        pytest.param(lose_data, marks=pytest.mark.whole),
    ],
)
def test_what_fails_in_the_middle_leaves_all_as_it_was(whole: Restored, lose: Loss) -> None:
    world = whole
    lose(world)
    before = state(world)
    world.write(FAILS)

    document = world.restore(1)

    assert {s["name"]: s["status"] for s in document["steps"]}["furnish"] == "undone"
    assert state(world) == before


@pytest.mark.parametrize(
    "lose",
    [
        lose_databases,
        pytest.param(lose_webroot, marks=pytest.mark.whole),
        pytest.param(lose_data, marks=pytest.mark.whole),
    ],
)
def test_a_killed_one_is_taken_back_by_recover(whole: Restored, lose: Loss) -> None:
    world = whole
    lose(world)
    before = state(world)
    world.write(KILLS)
    words = [sys.executable, "-m", "biso_tasks.cli.main", "restore", world.id]
    done = subprocess.run([*words, "--confirm", "prod", "--yes"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    world.write()
    assert (world.prod.datadir / "maintenance.on").exists()
    assert "run `biso recover --env prod`" in world.refused()

    told = world.run("recover", env="prod")["environments"][0]["done"]

    assert any("what an interrupted restore had made" in line for line in told)
    assert state(world) == before


@pytest.mark.parametrize("how", ["INT", "KILL"])
def test_once_the_set_is_served_an_interruption_does_not_leave_it_closed(
    whole: Restored, how: str
) -> None:
    """Between the swap and the end of the maintenance that the run itself began."""
    world = whole
    before = served(world)
    lose_data(world)
    step = FAILS.replace('"migrate"', '"swap"')
    world.write(step.replace('["false"]', f'["bash", "-c", "kill -{how} $PPID; sleep 5"]'))
    words = [sys.executable, "-m", "biso_tasks.cli.main", "restore", world.id]
    done = subprocess.run([*words, "--confirm", "prod", "--yes"], capture_output=True, check=False)
    world.write()
    if how == "KILL":
        assert done.returncode == -signal.SIGKILL
        assert (world.prod.datadir / "maintenance.on").exists()
        world.run("recover", env="prod")
    else:
        assert done.returncode == 130, done.stderr.decode()
    assert served(world) == before
    assert not (world.stage_dir / "furnished.json").exists()


@pytest.mark.parametrize(
    ("lose", "only", "said"),
    [
        (lose_webroot, "database", "has no webroot"),
        pytest.param(lose_data, "database", "has no data", marks=pytest.mark.whole),
        pytest.param(lose_databases, "webroot,data", "has no database", marks=pytest.mark.whole),
        (lose_code_and_rows, "webroot", "has no webroot and no database"),
    ],
)
def test_areas_that_leave_something_missing_are_refused(
    whole: Restored, lose: Loss, only: str, said: str
) -> None:
    lose(whole)
    assert said in (told := whole.refused(only=only))
    assert "needs all of" in told


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        pytest.param(
            lose_webroot, ("webroot with the config.php of the set",), marks=pytest.mark.whole
        ),
        (lose_data, ("makes {data}, empty", "is its filesystem mounted?")),
        (lose_databases, ("makes the database 'biso', empty", "makes the database 'biso_log'")),
    ],
)
def test_the_plan_says_what_is_made_and_changes_nothing(
    whole: Restored, lose: Loss, said: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    lose(whole)
    before = state(whole)

    whole.capture()
    document = whole.restore(plan=True)

    (furnish,) = [step for step in document["plan"] if step["name"] == "furnish"]
    (swap,) = [step for step in document["plan"] if step["name"] == "swap"]
    told = " ".join(furnish["changes"])
    assert said[0].format(data=whole.prod.datadir) in told
    assert "into maintenance" in told
    assert "is kept as the previous instance" in str(swap["changes"])
    assert state(whole) == before


def test_a_maintenance_that_was_on_before_stays_on(whole: Restored) -> None:
    world = whole
    lose_webroot(world)
    flag = world.prod.datadir / "maintenance.on"
    flag.touch()
    world.write(FAILS)
    world.restore(1)
    assert flag.exists()
    world.write()
    world.restore()
    assert flag.exists()


def test_without_a_config_php_only_what_the_set_knows_is_the_instance_s_own(
    whole: Restored,
) -> None:
    world = whole
    lose_webroot(world)
    lose_data(world)
    world.prod.datadir.mkdir()
    stranger = world.prod.datadir / "Brief.txt"
    stranger.write_text("von jemandem")
    assert "data dir is not bare" in (said := world.refused())
    assert "Brief.txt" in said
    stranger.unlink()
    lose_databases(world)
    world.prod.psql("CREATE DATABASE biso; ", dbname="postgres")
    world.prod.psql("CREATE TABLE von_jemandem ()")
    assert "von_jemandem" in world.refused()
    assert world.prod.psql("SELECT count(*) FROM von_jemandem") == "0"


def test_whoever_may_make_no_database_is_told_who_could(whole: Restored) -> None:
    world = whole
    lose_databases(world)
    world.prod.psql("ALTER ROLE biso NOCREATEDB", dbname="postgres")
    try:
        assert "admin = {" in (said := world.refused())
        assert "no database 'biso'" in said
    finally:
        world.prod.psql("ALTER ROLE biso CREATEDB", dbname="postgres")


def test_an_administrator_makes_the_role_as_well(
    whole: Restored, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = whole
    before = served(world)
    roles = names_of(world.prod)[1]
    lose_databases(world)
    stored = world.prod.psql(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'biso'", dbname="postgres"
    )
    world.prod.psql("DROP ROLE biso, biso_statistik", dbname="postgres")
    # Where psql finds the socket of a server that is not the distribution's.
    monkeypatch.setenv("PGHOST", str(world.prod.cluster.socket_dir))
    world.write('[environments.prod.database]\nadmin = { user = "postgres" }\n')
    try:
        world.restore(only="database")
        assert served(world) == before
        assert names_of(world.prod)[1] == roles
    finally:
        world.write()
        if "biso" not in names_of(world.prod)[1]:
            world.prod.psql(f"CREATE ROLE biso LOGIN PASSWORD '{stored}'", dbname="postgres")
        world.prod.psql("ALTER ROLE biso CREATEDB", dbname="postgres")


def test_other_tasks_say_that_a_restore_makes_what_is_missing(whole: Restored) -> None:
    world = whole
    lose_data(world)
    error = world.run("backup", 3, env="", only="", no_maintenance=False)["error"]
    assert "biso restore" in error["hint"]


@pytest.mark.parametrize(
    ("lose", "area"),
    [
        (lose_databases, "database"),
        pytest.param(lose_webroot, "webroot", marks=pytest.mark.whole),
        pytest.param(lose_data, "data", marks=pytest.mark.whole),
    ],
)
def test_a_set_of_the_missing_area_alone_will_do(whole: Restored, lose: Loss, area: str) -> None:
    world = whole
    before = served(world)
    name = world.run("backup", env="", only=area, no_maintenance=False)["set"]
    lose(world)
    world.restore(set_=name)
    assert served(world) == before


def test_rows_and_files_beside_are_not_exchanged(whole: Restored) -> None:
    """`--only` the missing part: the very database and folder go on being served."""
    world = whole
    oid = "SELECT oid FROM pg_database WHERE datname = 'biso'"
    before = world.prod.psql(oid), world.prod.datadir.stat().st_ino
    lose_webroot(world)
    world.restore(only="webroot")
    assert (world.prod.psql(oid), world.prod.datadir.stat().st_ino) == before


def test_nothing_is_made_while_another_path_may_hide_what_is_there(whole: Restored) -> None:
    """A link that leads nowhere is no folder that is missing."""
    world = whole
    shutil.rmtree(world.prod.datadir)
    world.prod.datadir.symlink_to(world.prod.datadir.parent / "weg")
    try:
        document = world.restore()
        assert document["ok"]
        assert Path(world.prod.datadir).resolve().name == "weg"
    finally:
        shutil.rmtree(world.prod.datadir.parent / "weg", ignore_errors=True)
        world.prod.datadir.unlink()
