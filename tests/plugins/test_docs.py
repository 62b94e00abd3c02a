"""docs/plugins.md: every hook is told of, and every example works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from biso_tasks import testing
from biso_tasks.errors import ConfigError
from biso_tasks.hooks.inspection import inspect_plugin
from biso_tasks.hooks.loader import in_folders
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.specs import POLICY

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/plugins.md").read_text()


GUIDE, _, HOOKS = TEXT.partition("\n## The hooks\n")
PYTEST = 'pytest_plugins = ["biso_tasks.testing"]\n'


def blocks(language: str, text: str = GUIDE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def chapter(hook: str) -> str:
    """What the page says of a hook, below its heading."""
    found = re.search(rf"^### {hook}\n(.*?)^##", HOOKS, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/plugins.md lacks {hook}"
    return found[1]


def example(hook: str) -> tuple[str, str, str]:
    """The example's name, its plugin and its test."""
    found = blocks("python", chapter(hook))
    assert len(found) == 3, f"{hook}: signature, plugin, test"
    _, plugin, test = found
    name = re.match(r'"""plugins/(\w+)\.py: ', plugin)
    assert name is not None, f"{hook}: an example begins with its file's name"
    return name[1], plugin, test


def written(folder: Path) -> Path:
    """All examples and their tests, as they lie in a site."""
    (folder / "plugins/tests").mkdir(parents=True)
    for hook in POLICY:
        name, plugin, test = example(hook)
        (folder / f"plugins/{name}.py").write_text(plugin)
        (folder / f"plugins/tests/test_{name}.py").write_text(f"{PYTEST}\n\n{test}")
    return folder


@dataclass(frozen=True)
class Ran:
    """How the tests of the examples ended, by the plugin's name."""

    passed: dict[str, int]
    output: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All examples and their tests in one site, run by one pytest, as their reader would."""
    folder = written(tmp_path_factory.mktemp("examples"))
    words = ["-p", "no:cacheprovider", "-W", "error", "--junitxml=out.xml", "plugins/tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    passed: dict[str, int] = {}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        name = case.attrib["classname"].rpartition(".test_")[2]
        passed[name] = passed.get(name, 0) + (1 if len(case) == 0 else -100)
    return Ran(passed, done.stdout)


@pytest.mark.parametrize("hook", POLICY)
def test_every_hook_has_an_example_that_implements_it(hook: str, tmp_path: Path) -> None:
    name, plugin, test = example(hook)
    (tmp_path / f"{name}.py").write_text(plugin)
    (found,) = in_folders([tmp_path], tmp_path)
    looked_at = inspect_plugin(found.load(), found.source)
    assert (looked_at.errors, looked_at.warnings) == ((), ())
    assert hook in looked_at.hooks
    assert re.search(rf'"{hook}"|biso_site\.run\("|\.config\b', test), "its test uses the hook"


def test_the_examples_are_written_as_we_write_ourselves(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert len(list(folder.rglob("*.py"))) == 2 * len(POLICY), "two examples have one name"
    words = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml")]
    # A test's imports stand in the page without the line above them.
    ignored = ["--ignore", "E402,I001"]
    done = subprocess.run(
        [*words, *ignored, "."], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
@pytest.mark.parametrize("hook", POLICY)
def test_the_example_of_a_hook_passes_its_test(hook: str, ran: Ran) -> None:
    assert ran.passed.get(example(hook)[0], 0) > 0, ran.output


def test_the_page_tells_of_every_fixture_and_of_no_other() -> None:
    told = set(re.findall(r"^\| `(biso_\w+)` \|", GUIDE, re.MULTILINE))
    assert told == {one for one in testing.__all__ if one.startswith("biso_")}
    for one in told:
        assert len((getattr(testing, one).__doc__ or "").split()) > 15, f"{one} has no docstring"


def test_the_example_loads_with_its_section_and_vetoes(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/quiet_hours.py").write_text(blocks("python")[0])
    sections = tomllib.loads(blocks("toml")[0])["plugins"]
    manager = PluginManager()
    manager.load(["plugins"], root=tmp_path, sections=sections)
    assert manager.config("quiet_hours").last == 18
    sections["quiet_hours"] = {"first": 0, "last": 24}
    manager = PluginManager()
    manager.load(["plugins"], root=tmp_path, sections=sections)
    vetoes = manager.collect("biso_confirm", plan=SimpleNamespace(name="refresh-test"))
    assert [(name, veto.reason) for name, veto in vetoes] == [
        ("quiet_hours", "people test until 24:00")
    ]
    sections["quiet_hours"] = {"first": 18, "last": 8}
    with pytest.raises(ConfigError, match="hours of one day"):
        PluginManager().load(["plugins"], root=tmp_path, sections=sections)


def test_the_test_of_the_example_passes(tmp_path: Path) -> None:
    plugin, test = blocks("python")
    (tmp_path / "plugins/tests").mkdir(parents=True)
    (tmp_path / "plugins/quiet_hours.py").write_text(plugin)
    (tmp_path / "plugins/tests/test_quiet_hours.py").write_text(test)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "plugins/tests"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_every_shipped_plugin_is_in_the_table_with_the_hooks_that_it_has() -> None:
    manager = PluginManager()
    manager.load(["plugins"], root=ROOT)
    rows = dict(re.findall(r"^\| `(\w+)\.py` \| (.*?) \|", TEXT, re.MULTILINE))
    shipped = [one for one in manager.plugins() if one.kind == "folder"]
    assert {one.name for one in shipped} == set(rows)
    for one in shipped:
        assert set(re.findall(r"biso_\w+", rows[one.name])) == set(one.hooks) - {"biso_config"}


@pytest.mark.parametrize("file", sorted(ROOT.glob("plugins/*.py")), ids=lambda file: file.stem)
def test_the_section_at_the_head_of_a_shipped_plugin_is_one_that_it_takes(file: Path) -> None:
    head = file.read_text().split('"""')[1]
    shown = "".join(line for line in head.splitlines(keepends=True) if line.startswith("    "))
    sections = tomllib.loads(re.sub(r"^    ", "", shown, flags=re.MULTILINE))["plugins"]
    manager = PluginManager()
    manager.load(["plugins"], root=ROOT, sections=sections)
    assert manager.config(file.stem) is not None
