from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from biso_tasks.hooks.manager import PluginManager

HEAD = """from __future__ import annotations
from biso_tasks.hooks.specs import hookimpl
from biso_tasks.hooks.types import *
from biso_tasks.errors import *
from biso_tasks.values import Secret
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "plugins"
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Write a plugin: its text follows the imports that a plugin has."""

    def write(name: str, text: str) -> Path:
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + text)
        return path

    return write


@pytest.fixture
def load(folder: Path) -> Callable[..., PluginManager]:
    """A manager that has loaded the folder's plugins."""

    def load(**more: object) -> PluginManager:
        said: list[str] = []
        manager = PluginManager(say=said.append)
        manager.load([folder], **more)  # type: ignore[arg-type]
        return manager

    return load


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a distribution with one entry point on sys.path, as an installer would."""
    path = tmp_path / "site-packages"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    modules: list[str] = []

    def install(name: str, text: str, *, point: str = "", value: str = "") -> None:
        (path / f"{name}_module.py").write_text(HEAD + text)
        modules.append(f"{name}_module")
        info = path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[biso_tasks]\n{point or name} = {value or f'{name}_module'}\n"
        )

    yield install
    for module in modules:
        sys.modules.pop(module, None)
