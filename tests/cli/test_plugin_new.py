"""`biso plugin-new`: what it writes works, and it writes over nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.cli import commands
from biso_tasks.cli import plugin_new as module
from biso_tasks.hooks import loader

SITE = """\
[environments.prod]
role = "production"
webroot = "/nowhere"
"""
ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "eine Stelle"
    folder.mkdir()
    (folder / "biso.toml").write_text(SITE)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BISO_CONFIG", raising=False)
    return folder


@pytest.fixture
def run(site: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(name: str, **options: Any) -> tuple[int, str, str]:
        code = commands.run("plugin-new", {"name": name, **options})
        return code, *capfd.readouterr()

    return run


def files(folder: Path) -> dict[str, str]:
    return {
        str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*") if one.is_file()
    }


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_it_writes_in_an_empty_site_passes_its_own_test(site: Path, run: Run) -> None:
    code, out, err = run("quiet-hours")
    assert (code, err) == (0, "")
    assert set(files(site)) == {
        "biso.toml", "plugins/quiet_hours.py", "plugins/tests/test_quiet_hours.py"
    }  # fmt: skip
    assert out.startswith("Written: plugins/quiet_hours.py, plugins/tests/test_quiet_hours.py\n")
    assert f"{sys.executable} -m pytest plugins/tests\n" in out
    done = pytest_in(site, "plugins/tests")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    # its test sees what goes wrong
    plugin = site / "plugins/quiet_hours.py"
    plugin.write_text(plugin.read_text().replace("free >= config.free_gb", "True"))
    assert "1 failed, 2 passed" in pytest_in(site, "plugins/tests").stdout


def test_the_site_loads_it_and_doctor_has_its_line(site: Path, run: Run, capfd: Any) -> None:
    run("quiet_hours")
    with (site / "biso.toml").open("a") as file:
        file.write("[plugins.quiet_hours]\nfree_gb = 0\n")
    assert commands.run("plugins", {"json": True}) == 0
    (found, _) = json.loads(capfd.readouterr().out)["plugins"]
    assert (found["name"], found["status"]) == ("quiet_hours", "loaded")
    assert found["hooks"] == ["biso_checks", "biso_config"]
    commands.run("doctor", {"json": True, "for_": ""})
    checks = {one["name"]: one for one in json.loads(capfd.readouterr().out)["checks"]}
    assert checks["quiet_hours: room for reports"]["ok"]


def test_it_imports_the_api_alone_and_is_as_we_write_ourselves(site: Path, run: Run) -> None:
    run("a" * 40)  # the longest name makes the longest lines
    (plugin, test) = (text for name, text in files(site).items() if name.endswith(".py"))
    for text in (plugin, test):
        nodes = [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.ImportFrom)]
        ours = {one.module for one in nodes if (one.module or "").startswith("biso_tasks")}
        assert ours == {"biso_tasks.api"}
    words = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml")]
    assert subprocess.run([*words, "plugins"], cwd=site, check=False).returncode == 0
    types = [sys.executable, "-m", "mypy", "--strict", "--no-incremental"]
    done = subprocess.run(
        [*types, f"plugins/{'a' * 40}.py"], cwd=site, capture_output=True, text=True, check=False,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_as_json_it_gives_what_was_written_and_with_plan_it_writes_nothing(
    site: Path, run: Run
) -> None:
    names = [str(site / one) for one in ("plugins/rooms.py", "plugins/tests/test_rooms.py")]
    code, out, _ = run("rooms", json=True, plan=True)
    document = json.loads(out)
    assert (code, document["plugin"], document["written"]) == (0, "rooms", [])
    (step,) = document["plan"]
    assert step["changes"] == [f"writes {one}" for one in names]
    assert set(files(site)) == {"biso.toml"}
    code, out, err = run("rooms", json=True)
    document = json.loads(out)
    assert (code, document["ok"], document["plugin"]) == (0, True, "rooms")
    assert document["written"] == names
    assert "Next:" in err


@pytest.mark.parametrize("program", ["biso_tasks.cli.main", "invoke"])
def test_the_name_is_given_as_it_is(site: Path, program: str) -> None:
    (site / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", program, "plugin-new", "rooms", "--json"],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plugin"] == "rooms"


def test_the_first_folder_of_the_site_is_taken_wherever_one_stands(
    site: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "other").mkdir()
    (site / "biso.toml").write_text(f'[site]\nplugins = ["own/hooks", "other"]\n{SITE}')
    below = site / "other"
    monkeypatch.chdir(below)
    _, out, _ = run("rooms")
    assert out.startswith("Written: ../own/hooks/rooms.py, ../own/hooks/tests/test_rooms.py")
    assert (site / "own/hooks/rooms.py").exists()


@pytest.mark.parametrize(
    "name",
    ["", "-", "_x", "9lives", "a.b", "a b", "../up", "/etc/x", "x\n", "x;id", "zähler", "ﬁne",
     "a" * 41, "class", "None", "tests", "test_x", "test-x", "conftest", "\x1b[2Jx", "x\0"],
)  # fmt: skip
def test_a_name_that_cannot_be_one_is_refused_with_what_would(
    site: Path, run: Run, name: str
) -> None:
    code, out, err = run(name)
    assert (code, out) == (2, "")
    assert "biso plugin-new quiet_hours" in err
    assert "\x1b" not in err and "\0" not in err
    assert set(files(site)) == {"biso.toml"}


@pytest.mark.parametrize(
    "there", ["plugins/rooms.py", "plugins/tests/test_rooms.py", "plugins/rooms/__init__.py"]
)
@pytest.mark.parametrize("plan", [False, True])
def test_nothing_that_is_there_is_overwritten(site: Path, run: Run, there: str, plan: bool) -> None:
    (site / there).parent.mkdir(parents=True)
    (site / there).write_text("# mine\n")
    before = files(site)
    code, _, err = run("rooms", plan=plan)
    assert code == 3
    assert there in err and "another name" in err
    assert files(site) == before


def test_a_link_that_leads_nowhere_is_not_written_through(site: Path, run: Run) -> None:
    (site / "plugins/tests").mkdir(parents=True)
    (site / "plugins/tests/test_rooms.py").symlink_to(site / "elsewhere.py")
    assert run("rooms")[0] == 3
    assert set(files(site)) == {"biso.toml"}


def test_what_appears_in_the_meantime_stays_and_nothing_is_left_by_half(
    site: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = site / "plugins/tests/test_rooms.py"
    test.parent.mkdir(parents=True)
    test.write_text("# mine\n")
    monkeypatch.setattr(module.os.path, "lexists", lambda path: False)
    code, _, err = run("rooms")
    assert code == 3 and "overwrites nothing" in err
    assert set(files(site)) == {"biso.toml", "plugins/tests/test_rooms.py"}
    assert test.read_text() == "# mine\n"


@pytest.mark.parametrize("of", ["folder", "installed"])
def test_a_name_that_another_plugin_has_is_refused(
    site: Path, run: Run, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    if of == "folder":
        (site / "more").mkdir()
        (site / "more/Rooms.py").write_text("")
        (site / "biso.toml").write_text(f'[site]\nplugins = ["plugins", "more"]\n{SITE}')
    else:
        found = loader.Candidate("Rooms", "installed", "rooms 1.0", lambda: None)
        monkeypatch.setattr(module, "installed", lambda: [found])
    code, _, err = run("rooms")
    assert code == 3 and 'there is a plugin "Rooms" already' in err
    assert not (site / "plugins").exists()


@pytest.mark.parametrize(
    ("general", "code", "said"),
    [
        ('disable = ["rooms"]', 3, 'site.disable turns the plugin "rooms" off'),
        ("plugins = []", 2, 'set plugins = ["plugins"]'),
        ('plugins = ["biso.toml"]', 1, "cannot be written"),
    ],
)
def test_a_site_that_would_not_load_it_is_told_what_to_change(
    site: Path, run: Run, general: str, code: int, said: str
) -> None:
    (site / "biso.toml").write_text(f"[site]\n{general}\n{SITE}")
    found, _, err = run("rooms")
    assert (found, said in err) == (code, True), err
    assert set(files(site)) == {"biso.toml"}


def test_a_broken_neighbour_keeps_nobody_from_writing_a_plugin(site: Path, run: Run) -> None:
    (site / "plugins").mkdir()
    (site / "plugins/broken.py").write_text("1 / 0\n")
    assert run("rooms")[0] == 0
    assert "3 passed" in pytest_in(site, "plugins/tests").stdout
