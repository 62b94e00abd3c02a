"""The example of docs/plugins.md works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.manager import PluginManager

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/plugins.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


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
    (tmp_path / "quiet_hours.py").write_text(plugin)
    (tmp_path / "test_quiet_hours.py").write_text(test)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    done = subprocess.run(
        [*words, "test_quiet_hours.py"], cwd=tmp_path, capture_output=True, text=True, check=False
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
