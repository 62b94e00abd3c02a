"""An environment that was made from other lock files than the checkout has now."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from biso_tasks.cli.call import Call, Options, run_command
from biso_tasks.cli.installed import require_current
from biso_tasks.errors import ConfigError

LOCKS = Path(__file__).parents[2] / "requirements"


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the environment was made from: as it is here, until a test changes it."""
    folder = tmp_path / "biso-locks"
    folder.mkdir()
    for name in ("core.txt", "demo.txt"):
        shutil.copy(LOCKS / name, folder)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return folder


def test_one_that_is_current_is_taken(locks: Path) -> None:
    require_current()


def test_one_that_was_made_in_another_way_is_taken(locks: Path) -> None:
    shutil.rmtree(locks)
    require_current()


@pytest.mark.parametrize("name", ["core.txt", "demo.txt"])
def test_an_older_one_is_told_with_what_to_type(locks: Path, name: str) -> None:
    (locks / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=f"requirements/{name} has changed") as caught:
        require_current()
    assert "biso --list" in caught.value.hint


def test_no_task_begins_in_an_older_one(locks: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (locks / "core.txt").write_bytes(b"")
    begun: list[Call] = []
    assert run_command("list", Options(json=True), begun.append) == 2
    assert begun == []
    out, _ = capfd.readouterr()
    assert json.loads(out)["error"]["kind"] == "config"
