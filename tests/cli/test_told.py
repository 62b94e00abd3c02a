"""Observers learn of a command that failed before its run began."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.cli import commands

UNPLANNABLE = """
[recipes.unplannable]
help = "names what does not exist"
[[recipes.unplannable.step]]
name = "one"
on = "test"
uses = "nothing-of-this-name"
"""

TELLS = """
import dataclasses, json
from pathlib import Path
from biso_tasks.api import hookimpl

@hookimpl
def biso_run_finished(report):
    with open(Path(__file__).parent / "told.jsonl", "a") as handle:
        handle.write(json.dumps(dataclasses.asdict(report), default=str) + "\\n")
"""

VETOES = """
from biso_tasks.api import Veto, hookimpl

@hookimpl
def biso_confirm(plan):
    return Veto("not on a Friday")
"""

LOCKED = """
from biso_tasks.api import BisoError, hookimpl

class Held(BisoError):
    kind, exit_code = "locked", 5

@hookimpl
def biso_steps(recipe):
    raise Held("test is held by anna@laptop", hint="wait for it")
"""

Run = Callable[..., int]


@pytest.fixture
def site(two_recipes: Path) -> Path:
    (two_recipes / "plugins/tells.py").write_text(TELLS)
    return two_recipes


def add(site: Path, text: str) -> None:
    with (site / "biso.toml").open("a") as file:
        file.write(text)


def recipe(name: str, **options: Any) -> int:
    return commands.run("recipe", {"recipe": name, "yes": True, **options})


def told(site: Path) -> list[dict[str, Any]]:
    file = site / "plugins/told.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize(
    ("plugin", "name", "code", "kind", "message", "hint"),
    [
        (VETOES, "good", 3, "refused", "vetoes: not on a Friday", "a plugin of this site"),
        (LOCKED, "good", 5, "locked", "test is held by anna@laptop", "wait for it"),
        ("", "unplannable", 2, "config", "nothing-of-this-name", ""),
    ],
)
def test_a_command_that_fails_before_its_run_is_told_with_its_error_and_no_steps(
    site: Path,
    capfd: pytest.CaptureFixture[str],
    plugin: str,
    name: str,
    code: int,
    kind: str,
    message: str,
    hint: str,
) -> None:
    (site / "plugins/vetoes.py").write_text(plugin)
    if name == "unplannable":
        add(site, UNPLANNABLE)
    assert recipe(name, json=True) == code
    document = json.loads(capfd.readouterr().out)
    (report,) = told(site)
    assert (report["task"], report["run"]) == (name, document["run"])
    assert (report["ok"], report["exit_code"]) == (False, code)
    assert report["error"] == document["error"]
    assert report["error"]["kind"] == kind
    assert message in report["error"]["message"]
    assert hint in report["error"]["hint"]
    assert (report["steps"], report["environments"], report["html"]) == ([], [], None)
    assert 0 <= report["seconds"] < 60
    assert not (site / ".biso/runs").exists()


@pytest.mark.parametrize(("name", "code", "status"), [("good", 0, "ok"), ("bad", 1, "failed")])
def test_a_run_is_told_once_with_its_steps(site: Path, name: str, code: int, status: str) -> None:
    assert recipe(name) == code
    (report,) = told(site)
    assert (report["ok"], report["exit_code"]) == (code == 0, code)
    assert [(one["name"], one["status"]) for one in report["steps"]] == [("one", status)]
    assert report["html"]


def test_looking_at_a_plan_tells_nobody(site: Path) -> None:
    add(site, UNPLANNABLE)
    assert recipe("unplannable", plan=True) == 2
    assert told(site) == []


def test_doctor_tells_nobody_of_what_it_finds(site: Path) -> None:
    assert commands.run("doctor", {"for_": ""}) != 0
    assert told(site) == []


WRONG = '[backup]\nkeep = { last = "seven" }\n[ssh]\nzzz = 1\n'


def test_a_wrong_config_is_told_as_well(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A timer's run that cannot begin: nobody looks at its terminal."""
    add(site, WRONG)
    assert recipe("good", json=True) == 2
    document = json.loads(capfd.readouterr().out)
    (report,) = told(site)
    assert (report["task"], report["exit_code"]) == ("good", 2)
    assert report["error"] == document["error"]
    assert "ssh.zzz" in report["error"]["message"]
    assert recipe("good", plan=True) == 2
    assert len(told(site)) == 1, "who only looks is at the terminal"


def test_of_a_config_that_is_no_toml_nobody_can_be_told(site: Path) -> None:
    add(site, "[backup\n")
    assert recipe("good") == 2
    assert told(site) == []


def test_nobody_is_there_to_be_told_where_plugins_cannot_be_loaded(site: Path) -> None:
    (site / "plugins/broken.py").write_text("1 / 0\n")
    assert recipe("good") == 2
    assert told(site) == []


@pytest.mark.parametrize(
    ("name", "code", "kind"), [("unplannable", 2, "config"), ("bad", 1, "failed")]
)
def test_an_observer_that_raises_is_said_and_does_not_hide_why_the_command_failed(
    site: Path, capfd: pytest.CaptureFixture[str], name: str, code: int, kind: str
) -> None:
    if name == "unplannable":
        add(site, UNPLANNABLE)
    (site / "plugins/a_broken.py").write_text(TELLS.split("    with")[0] + "    1 / 0\n")
    assert recipe(name, json=True) == code
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["kind"] == kind
    assert 'plugin "a_broken"' in err
    assert "ZeroDivisionError" in err
    assert len(told(site)) == 1  # the others are told all the same
