"""What becomes of a set's config.php on a bare host, by running it with PHP."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from biso_tasks.config.model import Database, Environment
from biso_tasks.demo.php import install_php
from biso_tasks.errors import Refused
from biso_tasks.host import LocalHost
from biso_tasks.stage.bare_config import BareConfig, plan_config

pytestmark = [pytest.mark.real, pytest.mark.needs("php")]

SET = """<?php
Config::set('env', 'PROD');
Config::set('datadir', dirname(__DIR__) . '/data');
Config::set('vorlagen', dirname(__DIR__) . '/data/brief_vorlagen');
Config::set('gaia.db', ['host' => 'alt', 'port' => '5433', 'dbname' => 'bi so', 'user' => "b's",
    'password' => 'geheim\\\\\\'', 'zusatz' => 1]);
Config::set('log.db', ['host' => 'alt', 'port' => 5433, 'dbname' => 'log', 'user' => "b's"]);
Config::set('fern.db', ['host' => 'anderswo', 'dbname' => 'fern', 'user' => 'x']);
"""


@pytest.fixture(scope="module")
def php(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("php")
    return str(install_php(place / "lib", place / "bin"))


@pytest.fixture(autouse=True)
def _php(php: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(php).parent), prepend=":")


def plan(tmp_path: Path, text: str = SET, **changes: object) -> BareConfig:
    given = {"webroot": str(tmp_path / "www"), **changes}
    environment = Environment(name="neu", role="production", **given)  # type: ignore[arg-type]
    host = LocalHost("neu")
    try:
        return plan_config(
            host,
            environment,
            environment.webroot,
            text.encode(),
            beside=str(tmp_path / "data"),
            keys=["fern.db"],
        )
    finally:
        host.close()


def left(tmp_path: Path) -> list[str]:
    """What stays: a test beside this one has its own there for a moment."""
    there = list(Path("/dev/shm").glob(".biso.*"))
    deadline = time.monotonic() + 10
    while there and time.monotonic() < deadline:
        time.sleep(0.05)
        there = [path for path in there if path.exists()]
    return [path.name for path in (*there, *tmp_path.iterdir())]


def test_it_says_what_it_would_say_there_and_nothing_stays(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert found.changed == ()
    assert found.texts == {"config.php": SET.encode()}
    assert found.facts.datadir == str(tmp_path / "data")
    assert found.facts.values["vorlagen"] == str(tmp_path / "data/brief_vorlagen")
    assert found.facts.database.password.reveal() == "geheim\\'"
    assert left(tmp_path) == []


def test_what_biso_toml_says_wins_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    found = plan(tmp_path, database=Database(host="/run/neu", port=6000, user="n'eu"))
    facts = found.facts
    main = facts.database
    assert (main.host, main.port, main.dbname, main.user) == ("/run/neu", 6000, "bi so", "n'eu")
    assert main.password.reveal() == "geheim\\'"
    assert facts.values["gaia.db"]["zusatz"] == 1  # type: ignore[index,call-overload]
    # The log database is the same server's: it moves along. The one elsewhere does not.
    assert facts.log is not None
    assert (facts.log.host, facts.log.port, facts.log.user) == ("/run/neu", 6000, "n'eu")
    assert facts.values["fern.db"]["host"] == "anderswo"  # type: ignore[index,call-overload]
    assert found.changed == ("gaia.db", "log.db")
    assert found.texts["config.biso-set.php"] == SET.encode()


def test_another_data_dir_wins_as_well(tmp_path: Path) -> None:
    found = plan(tmp_path, datadir=f"{tmp_path}/an'derswo")
    assert found.facts.datadir == f"{tmp_path}/an'derswo"
    assert found.changed == ("datadir",)


def test_a_data_dir_that_is_asked_for_by_realpath_is_found(tmp_path: Path) -> None:
    text = SET.replace("dirname(__DIR__) . '/data')", "realpath(__DIR__ . '/../data'))", 1)
    assert plan(tmp_path, text).facts.datadir == str(tmp_path / "data")


def test_a_config_whose_first_word_counts_cannot_be_led_elsewhere(tmp_path: Path) -> None:
    own = (
        "<?php class Config { static $all = [];"
        " static function set($key, $value) { self::$all[$key] ??= $value; }"
        " static function get($key) { return self::$all[$key] ?? null; } }"
    )
    text = SET.replace("<?php", own)
    assert plan(tmp_path, text).facts.database.host == "alt"
    with pytest.raises(Refused, match="cannot be led"):
        plan(tmp_path, text, database=Database(port=6000))


def test_a_config_that_ends_by_itself_cannot_be_led_elsewhere(tmp_path: Path) -> None:
    assert plan(tmp_path, SET + "exit;").facts.database.host == "alt"
    with pytest.raises(Refused, match="cannot be led"):
        plan(tmp_path, SET + "exit;", database=Database(port=6000))


def test_a_config_that_needs_other_files_is_refused_without_a_temporary_path(
    tmp_path: Path,
) -> None:
    with pytest.raises(Refused) as caught:
        plan(tmp_path, SET + "require __DIR__ . '/fehlt.php';")
    assert "fehlt.php" in caught.value.message
    assert "/dev/shm" not in str(caught.value)
    assert "an existing target keeps its own" in caught.value.hint
    assert left(tmp_path) == []
