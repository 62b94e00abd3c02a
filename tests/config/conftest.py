"""A site in two environments, and a way to read it with something wrong in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from biso_tasks.config.findings import BadConfig
from biso_tasks.config.load import load
from biso_tasks.config.model import Site

# A busy machine is no reason to fail.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Six lines; what a test appends begins at line 7, inside [environments.test].
BASE = """\
[environments.prod]
role = "production"
webroot = "/srv/prod"
[environments.test]
role = "test"
webroot = "/srv/test"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that findings name the files without a path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def read(folder: Path) -> Callable[..., Site]:
    """`read(more, base=BASE, local=None)`: the site of base + more, with local as its overlay."""

    def run(more: str = "", *, base: str = BASE, local: str | None = None) -> Site:
        file = folder / "biso.toml"
        file.write_text(base + more, encoding="utf-8")
        if local is not None:
            (folder / "biso.local.toml").write_text(local, encoding="utf-8")
        return load(file)

    return run


@pytest.fixture
def wrong(read: Callable[..., Site]) -> Callable[..., list[str]]:
    """The findings, as printed, for what `read` would take; empty where nothing is wrong."""

    def run(more: str = "", **other: str) -> list[str]:
        try:
            read(more, **other)
        except BadConfig as error:
            caught = error
        else:
            return []
        assert str(caught).splitlines() == [str(finding) for finding in caught.findings]
        assert all(finding.cause and finding.remedy for finding in caught.findings)
        return str(caught).splitlines()

    return run
