"""One command for many, as far as no installation is needed: stores that hold nothing yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.cli import commands
from biso_tasks.cli.fleet import command as module

ONE = """\
[environments.{name}]
role = "production"
webroot = "{root}/{name}"
"""

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    text = "".join(ONE.format(name=name, root=tmp_path) for name in ("bern", "uri"))
    (tmp_path / "biso.toml").write_text(f'{text}[backup]\npath = "{tmp_path}/sets"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BISO_CONFIG", raising=False)

    def call(code: int, task: str, **options: Any) -> dict[str, Any]:
        got = commands.run(task, {"json": True, **options})
        out, err = capfd.readouterr()
        document: dict[str, Any] = json.loads(out)
        assert got == code, document["error"]
        return {**document, "stderr": err}

    return call


def test_all_are_told_in_one_document(run: Run) -> None:
    document = run(0, "list", env="*", from_="")
    assert [one["name"] for one in document["installations"]] == ["bern", "uri"]
    assert [one["result"]["sets"] for one in document["installations"]] == [[], []]
    assert "bern          ok" in document["stderr"]
    assert Path(document["report"]).exists()


def test_an_error_keeps_its_kind_and_one_kind_of_all_is_the_command_s(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bern", "uri"):
        (tmp_path / "sites" / name).mkdir(parents=True)
        (tmp_path / "sites" / name / "biso.toml").write_text("[site]\nnme = 1\n")
    monkeypatch.setenv("BISO_CONFIG", str(tmp_path / "sites"))
    document = run(2, "list", env="*", from_="")
    assert [one["error"]["kind"] for one in document["installations"]] == ["config", "config"]
    assert document["error"]["kind"] == "config"
    assert document["error"]["message"].startswith("2 of 2 installations failed: bern: ")


def test_a_report_that_cannot_be_written_hides_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: Path, run: str) -> Path:
        raise OSError(28, "No space left on device", str(state))

    monkeypatch.setattr(module, "write_report", full)
    document = run(75, "list", env="*", from_="")
    assert [one["exit_code"] for one in document["installations"]] == [0, 0]
    assert (
        "list is done everywhere, but not all of its report is written"
        in (document["error"]["message"])
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"jobs": "0"}, "--jobs '0' is no number from 1 to 64"),
        ({"jobs": "many"}, "--jobs 'many' is no number"),
        ({"from_": "nas:/srv"}, "--from is about one installation"),
        ({"env": "x*"}, "'x*' fits nothing"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_begun(
    run: Run, options: dict[str, str], said: str
) -> None:
    document = run(2, "list", **{"env": "*", "from_": "", **options})
    assert said in document["error"]["message"]
    assert document["steps"] == []


def test_without_a_terminal_what_replaces_something_is_refused_before_it_is_planned(
    run: Run,
) -> None:
    document = run(3, "prune", env="*")
    assert "the change of * was not confirmed" in document["error"]["message"]
    assert "uri" in run(3, "prune", env="*", yes=True, confirm="uri")["error"]["message"]
