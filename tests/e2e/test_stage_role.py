"""Nobody reads a stage before it is proven, from end to end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import until
from tests.e2e.set_world import biso, forget_sets, site

STAGE = "biso_test__stage"


def same_code(world: Any) -> None:
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


class Knocker:
    """Tries to get into the stage all the time, as the application's role and as another one."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.answers: list[tuple[float, str, str]] = []
        self.over = threading.Event()

    def knock(self) -> None:
        test = self.world.test
        who = ((test.role, test.password), ("neugierig", "geheim"))
        while not self.over.is_set():
            for user, word in who:
                began = time.time()
                try:
                    psycopg.connect(
                        host="127.0.0.1",
                        port=test.cluster.port,
                        user=user,
                        password=word,
                        dbname=STAGE,
                        connect_timeout=5,
                    ).close()
                except psycopg.Error as error:
                    self.answers.append((began, user, str(error)))
                else:
                    self.answers.append((began, user, "in"))
            time.sleep(0.01)


@contextmanager
def knocking(world: Any) -> Iterator[Knocker]:
    cluster = world.test.cluster
    cluster.rows("CREATE ROLE neugierig LOGIN PASSWORD 'geheim'")
    knocker = Knocker(world)
    thread = threading.Thread(target=knocker.knock)
    thread.start()
    try:
        yield knocker
    finally:
        knocker.over.set()
        thread.join()
        cluster.rows("DROP ROLE neugierig")


def steps(world: Any, run: str) -> dict[str, tuple[float, float]]:
    """When each step began and ended, by the clock of this machine."""
    found: dict[str, tuple[float, float]] = {}
    for line in (world.site_folder / ".biso/runs" / run / "journal.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "step_started":
            found[entry["name"]] = (_at(entry), 0.0)
        elif entry["event"] == "step_finished" and entry["name"] in found:
            found[entry["name"]] = (found[entry["name"]][0], _at(entry))
    return found


def _at(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["at"]).timestamp()


def roles(world: Any) -> list[tuple[str]]:
    found: list[tuple[str]] = world.test.cluster.rows(
        "SELECT rolname::text FROM pg_roles WHERE rolname ~ '__stage'"
    )
    return found


def test_nobody_else_gets_into_the_stage_between_its_making_and_the_proof(world: Any) -> None:
    same_code(world)
    world.site()
    with knocking(world) as knocker:
        ran = world.refresh("--from", "prod")
    took = steps(world, ran.json["run"])
    began, given = took["stage-database"][0], took["finish-database"][0]
    denied = [(user, said) for at, user, said in knocker.answers if began <= at < given]
    assert {user for user, said in denied if "permission denied for database" in said} == {
        world.test.role, "neugierig",
    }  # fmt: skip
    assert [one for one in denied if one[1] == "in"] == []
    assert [at for at, user, said in knocker.answers if said == "in" and user == "neugierig"] == []
    assert roles(world) == []
    assert world.leftovers(previous=True) == []


class Reader(threading.Thread):
    """Reads a table of the live database all the time, by a privilege that its role was granted."""

    def __init__(self, world: Any) -> None:
        super().__init__()
        self.world = world
        self.answers: list[tuple[float, str]] = []
        self.over = threading.Event()

    def run(self) -> None:
        test = self.world.test
        while not self.over.is_set():
            try:
                with psycopg.connect(
                    host="127.0.0.1", port=test.cluster.port, user="auswerter", password="geheim",
                    dbname=test.dbname, connect_timeout=5,
                ) as connection:  # fmt: skip
                    connection.execute("SELECT count(*) FROM v_offene_faelle")
            except psycopg.Error as error:
                self.answers.append((time.time(), str(error)))
            else:
                self.answers.append((time.time(), "read"))
            time.sleep(0.005)


def test_the_live_database_is_at_no_moment_without_its_privileges(world: Any) -> None:
    """They are given before the swap, those of the database as a whole in its own transaction."""
    same_code(world)
    world.site()
    cluster = world.test.cluster
    cluster.rows(
        "CREATE ROLE auswerter LOGIN PASSWORD 'geheim' IN ROLE biso_statistik;"
        "GRANT SELECT ON v_offene_faelle TO biso_statistik",
        world.test.dbname,
    )
    reader = Reader(world)
    reader.start()
    try:
        ran = world.refresh("--from", "prod")
        swapped = steps(world, ran.json["run"])["swap"]
        assert until(lambda: any(at > swapped[1] and said == "read" for at, said in reader.answers))
    finally:
        reader.over.set()
        reader.join()
        cluster.rows("DROP ROLE auswerter")
    assert any(at < swapped[0] and said == "read" for at, said in reader.answers)
    assert [said for _, said in reader.answers if "permission denied" in said] == []


@pytest.fixture
def kept(world: Any) -> Iterator[Any]:
    """A world with a set of production."""
    same_code(world)
    site(world, refresh={"anonymize": True})
    biso(world, "backup")
    yield world
    forget_sets(world)


@pytest.mark.parametrize(
    "way", ["refresh", "drill", pytest.param("restore", marks=pytest.mark.whole)]
)
def test_a_stage_from_a_set_is_as_closed_and_leaves_no_role(kept: Any, way: str) -> None:
    world = kept
    words = {
        "refresh": ("refresh-test", "--source", "latest"),
        "drill": ("verify", "--drill", "--on", "test"),
        "restore": ("restore", "latest", "--to", "test"),
    }[way]
    with knocking(world) as knocker:
        ran = world.run(*words, "--yes", "--json")
    assert ran.code == 0, str(ran)
    took = steps(world, ran.json["run"])
    began = took["stage-database"][0]
    given = took.get("finish-database", took["close-stage"])[0]
    denied = [(user, said) for at, user, said in knocker.answers if began <= at < given]
    assert [one for one in denied if one[1] == "in"] == []
    assert world.test.role in {u for u, said in denied if "permission denied for database" in said}
    assert roles(world) == []


def test_the_plan_says_whose_the_stage_is(world: Any, plain_world: Any) -> None:
    told = " ".join(world.run("refresh-test", "--plan").out.split())
    assert f"makes the role {STAGE}: until the proof nobody else reads the stage" in told
    assert f"gives {STAGE} to the role {world.test.role}" in told
    told = " ".join(plain_world.run("refresh-test", "--plan").out.split())
    assert "whoever has its password can read it before the proof: no `admin` is set" in told


def test_a_failed_refresh_leaves_no_role_and_a_kept_stage_its_own(world: Any) -> None:
    world.site(recipes={"refresh-test": {"insert": [
        {"name": "boese", "after": "migrate", "on": "test", "run": ["false"]}
    ]}})  # fmt: skip
    world.refresh("--from", "prod", code=1)
    assert roles(world) == []
    assert world.leftovers(previous=False) == []

    ran = world.refresh("--from", "prod", "--keep-stage", code=1)
    assert roles(world) == [(STAGE,)]
    config: Path = world.test.stage_dir / "stage/webroot/config.php"
    text, info = config.read_text(), config.stat()
    assert info.st_mode & 0o777 == 0o600 and config.owner() == world.test.owner
    word = text.partition("'password' => '")[2].partition("'")[0]
    assert len(word) == 64 and word not in ran.err + ran.out
    with psycopg.connect(
        host="127.0.0.1", port=world.test.cluster.port, user=STAGE, password=word, dbname=STAGE
    ) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM person").fetchone() == (True,)
    for path in (world.site_folder / ".biso").rglob("*"):
        assert not path.is_file() or word.encode() not in path.read_bytes(), path

    ran = world.run("recover", "--yes", "--json")
    assert ran.code == 0, str(ran)
    assert f"role {STAGE}" in ran.out
    assert roles(world) == []
    assert world.leftovers(previous=False) == []


def test_a_kept_stage_expires_and_prune_takes_it_with_its_role(kept: Any) -> None:
    world = kept
    broken = {"refresh-test": {"insert": [
        {"name": "boese", "after": "migrate", "on": "test", "run": ["false"]}
    ]}}  # fmt: skip
    site(world, refresh={"anonymize": True}, recipes=broken, privacy={"keep_stage": "1s"})
    ran = world.refresh("--from", "prod", "--keep-stage", code=1)
    assert "`biso recover` removes it at once" in " ".join(ran.err.split())
    assert roles(world) == [(STAGE,)]
    time.sleep(1.1)
    told = biso(world, "doctor", "--for", "refresh-test", code=3).json["checks"]
    (line,) = (one for one in told if one["name"] == "kept stage")
    assert not line["ok"] and "still there" in line["detail"]
    ran = world.run("prune", "--yes")
    assert ran.code == 0, str(ran)
    assert "the stage of test: run " in " ".join((ran.out + ran.err).split())
    assert roles(world) == []
    assert world.leftovers(previous=False) == []


@pytest.mark.parametrize("when", ["given", pytest.param("made", marks=pytest.mark.whole)])
def test_a_run_that_is_killed_around_its_role_is_put_right(world: Any, when: str) -> None:
    """As soon as the role is there; and as soon as it is gone again, when all belongs to the
    application's role and nothing is swapped yet."""
    same_code(world)
    world.site()
    before = world.test.state()
    process = world.start("refresh-test", "--from", "prod", "--yes", "--json")
    assert until(lambda: roles(world), 60)
    if when == "given":
        assert until(lambda: not roles(world), 60)
        assert world.test.cluster.properties(STAGE)["owner"] == world.test.role
    process.kill()
    process.communicate()
    ran = world.run("recover", "--yes", "--json")
    assert ran.code == 0, str(ran)
    assert roles(world) == []
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []
    world.refresh()
    assert world.leftovers(previous=True) == []


@pytest.mark.parametrize("wanted", ["copy", pytest.param("skip", marks=pytest.mark.whole)])
def test_the_log_database_s_stage_has_a_role_of_its_own(world: Any, wanted: str) -> None:
    """A stand-in keeps it to its end; what is swapped in belongs to the application's role."""
    same_code(world)
    world.with_log_database()
    world.site(refresh={"log_database": wanted})
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.update(name for (name,) in roles(world))
            time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        world.refresh("--from", "prod")
    finally:
        over.set()
        thread.join()
    assert seen == {STAGE, "biso_log__stage"}
    assert roles(world) == []
    for name in (world.test.dbname, "biso_log"):
        assert world.test.cluster.properties(name)["owner"] == world.test.role
    assert world.leftovers(previous=True) == []
