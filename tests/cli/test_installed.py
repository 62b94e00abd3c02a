"""An environment that was made from another lock file than the checkout has now."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from biso_tasks.cli import installed
from biso_tasks.cli.call import Call, Options, run_command
from biso_tasks.cli.installed import require_packages
from biso_tasks.errors import ConfigError

LOCK = Path(__file__).parents[2] / "requirements/core.txt"


@pytest.fixture
def made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock file that the environment was made from: an older one, until a test changes it."""
    file = tmp_path / "biso-locks/core.txt"
    file.parent.mkdir()
    file.write_text("invoke==1.0\n", "utf-8")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return file


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "pypdf":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(installed, "version", version)


def test_every_package_of_the_lock_file_is_looked_for() -> None:
    names = installed._LOCKED.findall(LOCK.read_text("utf-8"))
    assert {"fabric", "invoke", "paramiko", "pluggy", "psycopg", "pypdf", "rich"} <= set(names)
    assert "tzdata" not in names, "Windows' alone"


@pytest.mark.usefixtures("made_from")
def test_an_older_one_that_has_all_is_taken() -> None:
    """Whoever has to recover an instance may have no network."""
    require_packages()


@pytest.mark.usefixtures("made_from", "lacking")
def test_one_that_lacks_a_package_is_told_with_what_to_type() -> None:
    with pytest.raises(ConfigError, match="lacks pypdf") as caught:
        require_packages()
    assert caught.value.message.endswith("lacks pypdf"), "that alone"
    assert "biso --list" in caught.value.hint


@pytest.mark.usefixtures("lacking")
def test_one_that_is_current_is_not_looked_into(made_from: Path) -> None:
    made_from.write_bytes(LOCK.read_bytes())
    require_packages()


@pytest.mark.usefixtures("lacking")
def test_one_that_was_made_in_another_way_is_taken(made_from: Path) -> None:
    made_from.unlink()
    require_packages()


@pytest.mark.usefixtures("made_from", "lacking")
def test_no_task_begins_without_a_package(capfd: pytest.CaptureFixture[str]) -> None:
    begun: list[Call] = []
    assert run_command("list", Options(json=True), begun.append) == 2
    assert begun == []
    out, _ = capfd.readouterr()
    assert json.loads(out)["error"]["kind"] == "config"
