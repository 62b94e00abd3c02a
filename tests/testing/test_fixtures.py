"""The fixtures for plugin authors, used as they use them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.api import ConfigError, Report, Secret, Stage
from biso_tasks.errors import StepFailed, UsageError
from biso_tasks.hooks.calls import PluginError
from biso_tasks.testing import ThrowawaySite
from biso_tasks.testing.plugin import load_plugin

pytest_plugins = ["biso_tasks.testing"]
ROOT = Path(__file__).parents[2]
PLUGIN = """
from dataclasses import dataclass
from biso_tasks.api import Change, Check, Veto, hookimpl

@dataclass(frozen=True)
class Settings:
    status: str = "gesperrt"

@hookimpl
def biso_config():
    return Settings

@hookimpl
def biso_neutralize(stage, config):
    with stage.connect() as database:
        done = database.execute("UPDATE mailqueue SET status = %s", [config.status])
    return [Change("queued mails stopped", done.rowcount)]

@hookimpl
def biso_confirm(plan):
    return Veto("no") if plan.name == "prune" else None

@hookimpl
def biso_checks(site):
    raise ValueError("no network")

@hookimpl
def biso_run_finished(report, secret):
    raise ValueError(f"{len(secret('smtp').reveal())} letters")

@hookimpl
def biso_secret(name):
    return None
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """The plugin above, with a broken neighbour and one that lacks a key."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "mails.py").write_text(PLUGIN)
    (folder / "broken.py").write_text("1 / 0\n")
    return lambda **section: load_plugin("mails", section, folders=[tmp_path / "tests", folder])


# -- biso_plugin --


def test_a_plugin_has_its_section_and_its_neighbours_do_not_count(load: Any) -> None:
    assert load().config.status == "gesperrt"
    assert load(status="x").config.status == "x"
    with pytest.raises(ConfigError, match="expected a text, got 7"):
        load(status=7)
    with pytest.raises(ConfigError, match="unknown key"):
        load(state="x")


def test_a_hook_gives_what_a_site_would_get(load: Any) -> None:
    plugin = load()
    assert plugin.call("biso_confirm", plan=SimpleNamespace(name="prune")).reason == "no"
    assert plugin.call("biso_confirm", plan=SimpleNamespace(name="backup")) is None
    (check,) = plugin.call("biso_checks", site=None)
    assert not check.ok and "ValueError: no network" in check.detail
    assert plugin.call("biso_secret", name="smtp") is None


def test_an_observer_that_raises_is_an_error_in_a_test(load: Any, biso_secret: Any) -> None:
    biso_secret("smtp", "hunter2")
    report = Report("backup", "r", True, 0, 1.0)
    with pytest.raises(PluginError, match="ValueError: 7 letters"):
        load().call("biso_run_finished", report=report)


def test_secrets_of_the_user_who_runs_the_tests_are_not_found(
    load: Any, biso_secret: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = load()
    with pytest.raises(ConfigError, match="the secret 'smtp' is not there"):
        plugin.manager.secret("smtp")
    biso_secret("smtp", "hunter2")
    assert plugin.manager.secret("smtp") == Secret("hunter2")


@pytest.mark.parametrize(
    ("hook", "given", "said"),
    [
        ("biso_scrub", {"stage": None}, 'plugin "mails" has no biso_scrub'),
        ("biso_nonsense", {}, 'plugin "mails" has no biso_nonsense'),
        ("biso_confirm", {}, "is called with plan, not with none"),
        ("biso_confirm", {"site": 1}, "is called with plan, not with site"),
    ],
)
def test_a_wrong_call_says_what_is_right(load: Any, hook: str, given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load().call(hook, **given)


def test_a_plugin_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, load: Any) -> None:
    with pytest.raises(UsageError, match='no plugin "mail"') as raised:
        load_plugin("mail", {}, folders=[tmp_path / "plugins"])
    assert "mails" in raised.value.hint


def test_the_fixture_finds_a_plugin_above_the_test(biso_plugin: Any) -> None:
    # tests/plugins is no folder of plugins: this one's neighbours are tests
    with pytest.raises(UsageError, match=r"testing or .*tests"):
        biso_plugin("mails")


def test_an_installed_plugin_is_found_by_the_name_of_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mails_module.py").write_text(PLUGIN)
    info = tmp_path / "mails-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mails\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[biso_tasks]\nmails = mails_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = load_plugin("mails", {"status": "x"}, folders=[tmp_path / "tests"])
    assert (plugin.source, plugin.config.status) == ("mails 1.0", "x")
    assert plugin.call("biso_confirm", plan=SimpleNamespace(name="prune")).reason == "no"
    sys.modules.pop("mails_module")


# -- biso_stage --


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
def test_a_stage_holds_the_rows_and_files_of_production(biso_stage: Stage, load: Any) -> None:
    with biso_stage.connect() as database:
        assert database.execute("SELECT count(*) FROM person").fetchone()[0] > 10
    assert biso_stage.dbname == "biso_test__stage"
    assert any(path.startswith("dateien/") for path in biso_stage.files())
    assert not any(path.startswith("tmp/") for path in biso_stage.files())
    assert biso_stage.host_run(["cat", "brief_vorlagen/Einladung.txt"])
    assert "'dbname'" in Path(biso_stage.webroot, "config.php").read_text()
    (change,) = load(status="weg").call("biso_neutralize", stage=biso_stage)
    assert change.count > 0
    with biso_stage.connect() as database:
        found = database.execute("SELECT DISTINCT status FROM mailqueue").fetchall()
    assert found == [("weg",)]


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
def test_the_next_stage_knows_nothing_of_the_one_before(biso_stage: Stage) -> None:
    with biso_stage.connect() as database:
        found = database.execute("SELECT count(*) FROM mailqueue WHERE status = 'weg'").fetchone()
    assert found == (0,)


# -- biso_site --


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
def test_a_plugin_runs_in_a_task_of_a_site(biso_site: ThrowawaySite, load: Any) -> None:
    biso_site.use(load(status="weg"))
    assert biso_site.config.environment("prod").role == "production"
    refused = biso_site.run("prune", ok=False)
    assert (refused["exit_code"], refused["error"]["message"]) == (3, "mails: no")
    with pytest.raises(StepFailed, match="`biso prune` ended with 3"):
        biso_site.run("prune")
    done = biso_site.run("backup", ok=False)
    assert done["exit_code"] == 75, done["stderr"]  # its observer finds no secret
    assert "the secret 'smtp' is not there" in done["stderr"]
    assert len(biso_site.run("list")["sets"]) == 1
    test = biso_site.test
    test.psql("DROP TABLE mailqueue; CREATE SCHEMA mine")
    test.psql("CREATE DATABASE biso_test__previous TEMPLATE template0", dbname="postgres")
    test.psql("ALTER DATABASE biso_test SET timezone = 'UTC'")
    (test.webroot / "biso-cli").unlink()
    (biso_site.prod.datadir / "mine").write_text("x")


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
def test_what_a_test_changed_in_a_site_is_changed_back(biso_site: ThrowawaySite) -> None:
    test = biso_site.test
    assert int(test.psql("SELECT count(*) FROM mailqueue")) > 0
    assert "biso_test__previous" not in test.psql("SELECT datname FROM pg_database").split()
    assert test.psql("SHOW timezone") == "Europe/Zurich"
    assert test.biso_cli("migration", "list")
    assert not (biso_site.prod.datadir / "mine").exists()
    assert biso_site.run("list")["sets"] == []
    assert [one["kind"] for one in biso_site.run("plugins")["plugins"]] == ["built in"]


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
def test_nothing_is_left_after_the_session(tmp_path: Path) -> None:
    test = f"""
pytest_plugins = ["biso_tasks.testing"]

def test_it(biso_site, biso_stage):
    cluster = biso_site.test.cluster
    open({str(tmp_path / "said")!r}, "w").write(f"{{cluster.private}}")
    assert cluster.running()
"""
    (tmp_path / "test_it.py").write_text(test)
    words = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", "test_it.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
    assert not Path((tmp_path / "said").read_text()).exists()
    assert not list((tmp_path / "base").rglob("demo"))
    running = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()]
    assert not [one for one in running if str(tmp_path / "base").encode() in one]


def test_without_its_parts_a_test_is_skipped_and_says_what_is_missing(tmp_path: Path) -> None:
    test = """
import pytest
from biso_tasks import testing
from biso_tasks.demo.process import DemoError

pytest_plugins = ["biso_tasks.testing"]

@pytest.fixture(scope="session", autouse=True)
def bare():
    def missing():
        raise DemoError("no PostgreSQL", hint="apt install postgresql")
    testing.find_binaries = missing

def test_it(biso_site):
    pass

def test_that(biso_plugin):
    pass
"""
    (tmp_path / "test_it.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed, 1 skipped" in done.stdout, done.stdout
    assert "no PostgreSQL. apt install postgresql" in done.stdout
