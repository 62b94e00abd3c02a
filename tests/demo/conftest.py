"""Demo sites and clusters in temporary folders, and what is left of them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from biso_tasks.demo import site
from biso_tasks.demo.site import DemoSite


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A site's folder with a name that is easily got wrong; its demo is removed afterwards."""
    folder = tmp_path / "Prüfung mit 'Leerraum'"
    folder.mkdir()
    yield folder
    site.clean(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSite]:
    """A small local site that the tests of one module share."""
    folder = tmp_path_factory.mktemp("demo") / "eine Stelle"
    folder.mkdir()
    yield site.build(folder, ssh=False, scale=0.02, log_database=True)
    site.clean(folder)
