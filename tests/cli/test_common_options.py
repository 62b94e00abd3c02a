"""Every task takes the common options, and with --plan nothing is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.backup.gate import GATE
from biso_tasks.cli import commands, main
from biso_tasks.cli.tasks import namespace

SITE = """\
[environments.prod]
role = "production"
webroot = "{root}/prod"
[environments.test]
role = "test"
webroot = "{root}/test"
[backup]
path = "{root}/sets"
"""
OPTIONS = ("--plan", "--yes", "--json", "--verbose", "-v", "--confirm")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "biso.toml").write_text(SITE.format(root=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BISO_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def planned(site: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run with --plan --json; nothing of the site's folder has changed then."""

    def plan(command: str, code: int = 0, **options: Any) -> dict[str, Any]:
        before = listing(site)
        assert commands.run(command, {"plan": True, "json": True, "yes": True, **options}) == code
        assert listing(site) == before
        document: dict[str, Any] = json.loads(capfd.readouterr().out)
        return document

    return plan


def listing(folder: Path) -> dict[str, Any]:
    found = {}
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = (Path(here) / name).lstat()
            found[os.path.join(here, name)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def test_every_task_takes_every_common_option(site: Path) -> None:
    contexts = namespace().to_contexts()
    assert len(contexts) > 20
    for context in contexts:
        missing = [option for option in OPTIONS if option not in context.flags]
        assert not missing, context.name


@pytest.mark.parametrize("task", ["runs", "plugins", "hooks"])
def test_a_task_that_only_reads_has_an_empty_plan(
    planned: Callable[..., dict[str, Any]], task: str
) -> None:
    options = {"number": "5"} if task == "runs" else {}
    assert planned(task, **options)["plan"] == []


@pytest.mark.needs("php (machine)")
def test_init_shows_what_it_would_write(
    site: Path, planned: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    webroot = site / "biso"
    (webroot / "data").mkdir(parents=True)
    (webroot / "biso-cli").write_text("<?php")
    (webroot / "config.php").write_text(
        "<?php Config::set('env', 'PROD'); Config::set('datadir', __DIR__ . '/data');"
        "Config::set('gaia.db', ['dbname' => 'x', 'user' => 'x', 'host' => 'h']);"
    )
    folder = site / "new"
    folder.mkdir()
    (folder / "tasks.py").write_text("mine")
    monkeypatch.chdir(folder)
    document = planned("init", webroot=str(webroot))
    (step,) = document["plan"]
    assert f"writes {folder}/biso.toml" in step["changes"]
    assert not any("tasks.py" in one for one in step["changes"]), "it is there and stays"
    assert f'webroot = "{webroot}"' in document["text"]


def test_demo_and_test_and_schedule_say_what_they_would_do(
    site: Path, planned: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (site / "biso.toml").open("a") as file:
        file.write("# .biso/demo/\n")
    wanted = {"stop": False, "clean": False, "no_ssh": True}
    assert planned("demo", **wanted)["plan"][0]["changes"][0].startswith("builds two instances")
    assert planned("demo", **{**wanted, "clean": True})["plan"][0]["destroys"]
    assert "-m pytest" in planned("test", args="tests/ui -x")["plan"][0]["changes"][0]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(site))
    monkeypatch.setenv("HOME", str(site))
    (step,) = planned("schedule", kind="systemd", user=True)["plan"]
    assert any("backup" in one for one in step["changes"])


def test_the_programs_own_words_for_test_are_kept_apart_from_pytests() -> None:
    arguments = main._arguments
    assert arguments(["test", "tests/ui", "-x"]) == ["test", "--args", "tests/ui -x"]
    assert arguments(["test", "--json", "-v", "a b"]) == ["test", "--json", "--args", "-v 'a b'"]
    assert arguments(["test", "--plan"]) == ["test", "--plan"]
    assert arguments(["test", "--args", "-x"]) == ["test", "--args", "-x"]
    assert arguments([]) == ["--list"]


# -- doctor and a biso.toml that is wrong --


BROKEN = """\
[environments.prod]
role = "prodction"
webroot = "/x"
[refrsh]
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (BROKEN, ["biso.toml:2: environments.prod.role", "biso.toml:4: refrsh"]),
        ("[environments", ["biso.toml:1: this is no TOML"]),
        (None, ["there is no biso.toml here or above"]),
    ],
)
def test_doctor_gives_what_is_wrong_in_biso_toml_as_checks(
    site: Path, capfd: pytest.CaptureFixture[str], text: str | None, found: list[str]
) -> None:
    (site / "biso.toml").unlink()
    if text is not None:
        (site / "biso.toml").write_text(text)
    assert commands.run("doctor", {"for_": "", "json": True}) == 2
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert document["error"]["kind"] == "config"
    assert len(document["checks"]) == len(found)
    for check, begin in zip(document["checks"], found, strict=True):
        assert (check["host"], check["name"], check["ok"]) == ("", "biso.toml", False)
        assert check["detail"].startswith(begin)
        assert check["remedy"]
        assert err.count(check["detail"]) == 1, "told once"


def test_doctor_gives_mistakes_in_recipes_beside_what_the_hosts_say(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (site / "biso.toml").open("a") as file:
        file.write('[recipes.refresh-test]\nskip = ["scrib"]\n')
    assert commands.run("doctor", {"for_": "", "json": True}) == 2
    checks = json.loads(capfd.readouterr().out)["checks"]
    assert checks[0]["detail"].startswith("biso.toml:10: recipes.refresh-test.skip[0]")
    assert {one["host"] for one in checks} >= {"", "prod", "test"}


def test_doctor_gives_broken_plugins_as_checks(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (site / "plugins").mkdir()
    (site / "plugins/bad.py").write_text("1 / 0\n")
    assert commands.run("doctor", {"for_": "", "json": True}) == 2
    (check,) = json.loads(capfd.readouterr().out)["checks"]
    assert check["name"] == "plugins" and "bad.py:1" in check["detail"] and check["remedy"]


# -- refresh-test from what --


def test_an_environment_is_not_refreshed_from_itself(
    planned: Callable[..., dict[str, Any]],
) -> None:
    error = planned("refresh-test", 3, from_="test")["error"]
    assert "test would be refreshed from itself" in error["message"]
    assert "--from names production" in error["hint"]


def test_a_source_that_counts_for_nothing_is_not_taken(
    planned: Callable[..., dict[str, Any]],
) -> None:
    error = planned("refresh-test", 2, from_="test", source="latest")["error"]
    assert "backup sets are those of prod" in error["message"]
    assert planned("refresh-test", 2, from_="prood")["error"]["kind"] == "usage"


def test_a_release_says_itself_whose_data_it_is(planned: Callable[..., dict[str, Any]]) -> None:
    error = planned("refresh-test", 2, from_="prod", source="released")["error"]
    assert "a release says itself whose data it is" in error["message"]


# -- release --


def test_a_release_is_of_another_environment_than_it_is_made_in(
    planned: Callable[..., dict[str, Any]],
) -> None:
    error = planned("release", 3, env="test", gate=False)["error"]
    assert "from its own stage" in error["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('allowed_signers = "signers"\n', "names no key to make it with"),
        ('sign = "nowhere"\n', "there is no file"),
    ],
)
def test_a_release_that_could_not_be_signed_is_not_begun(
    site: Path, planned: Callable[..., dict[str, Any]], text: str, said: str
) -> None:
    with (site / "biso.toml").open("a") as file:
        file.write(f"[release]\n{text}")
    error = planned("release", 2, env="", gate=False)["error"]
    assert said in error["message"]
    assert error["hint"]


def test_a_site_that_takes_releases_alone_refuses_every_other_source(
    site: Path, planned: Callable[..., dict[str, Any]]
) -> None:
    with (site / "biso.toml").open("a") as file:
        file.write('[refresh]\nsource = "released"\nsources_allowed = ["released"]\n')
    for source in ("live", "latest", "20261120_031500-prod"):
        error = planned("refresh-test", 3, source=source)["error"]
        assert "does not allow a refresh" in error["message"]


def test_the_gate_needs_no_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.run("release", {"env": "", "gate": True, "json": True}) == 0
    assert json.loads(capfd.readouterr().out)["gate"] == GATE
