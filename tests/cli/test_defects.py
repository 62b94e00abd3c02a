"""What nobody foresaw is told like any other error, and never hides how a run ended."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.cli import commands, reporting
from biso_tasks.cli.call import Call
from biso_tasks.flow.journal import Journal
from biso_tasks.values import Dsn, Secret

TELLS = """
import json
from pathlib import Path
from biso_tasks.api import hookimpl

@hookimpl
def biso_run_finished(report):
    (Path(__file__).parent / "told.json").write_text(json.dumps([report.ok, report.error.kind]))
"""


def wrong(call: Call, number: int) -> None:
    session = call.session()
    session.keep_secret(Dsn("h", 1, "d", "u", Secret("geheim-123")))
    raise LookupError(f"nobody\nforesaw {'geheim-' + '123'} in row {number}")


@pytest.mark.parametrize("verbose", [False, True])
def test_an_unforeseen_exception_is_one_line_and_a_document_and_no_secret(
    two_recipes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verbose: bool,
) -> None:
    (two_recipes / "plugins/tells.py").write_text(TELLS)
    monkeypatch.setitem(commands._COMMANDS, "runs", wrong)
    assert commands.run("runs", {"number": "7", "json": True, "verbose": verbose}) == 1
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert (document["ok"], document["exit_code"]) == (False, 1)
    error = document["error"]
    assert error["kind"] == "defect"
    assert "LookupError: nobody foresaw … in row 7" in error["message"]
    assert "this is a defect of biso-tasks" in error["message"]
    assert "\n" not in error["message"] and "-v" in error["hint"]
    assert ("Traceback" in err) is verbose
    assert "geheim-123" not in out + err
    assert json.loads((two_recipes / "plugins/told.json").read_text()) == [False, "defect"]


Broken = Callable[..., Any]


def full(*given: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "report.html")


def crash(*given: Any) -> None:
    raise ZeroDivisionError("a page")


@pytest.mark.parametrize(
    ("fails", "said"), [(full, "No space left on device"), (crash, "a defect of biso-tasks")]
)
@pytest.mark.parametrize(("name", "code"), [("good", 75), ("bad", 1)])
def test_a_report_that_cannot_be_written_changes_nothing_about_how_the_run_ended(
    two_recipes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fails: Broken,
    said: str,
    name: str,
    code: int,
) -> None:
    monkeypatch.setattr(reporting, "html", fails)
    assert commands.run("recipe", {"recipe": name, "yes": True, "json": True}) == code
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert [one["status"] for one in document["steps"]] == ["ok" if name == "good" else "failed"]
    assert said in err
    if name == "good":
        assert "good is done" in document["error"]["message"] and document["error"]["hint"]
    else:
        assert said not in document["error"]["message"]


def test_a_journal_that_is_full_at_the_end_does_not_unmake_the_run(
    two_recipes: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = Journal.write

    def write(journal: Any, event: str, **fields: Any) -> None:
        if event == "result":
            full()
        real(journal, event, **fields)

    monkeypatch.setattr(Journal, "write", write)
    assert commands.run("recipe", {"recipe": "good", "yes": True, "json": True}) == 75
    assert "good is done" in json.loads(capfd.readouterr().out)["error"]["message"]
