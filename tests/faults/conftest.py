"""One site a worker, in which everything goes wrong."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fault_hosts
import fault_world

from biso_tasks.demo import site


@pytest.fixture(scope="session")
def built() -> Iterator[fault_world.World]:
    # /tmp itself: sockets of ssh and PostgreSQL have about a hundred bytes for their path
    folder = Path(tempfile.mkdtemp(prefix="bf-", dir="/tmp"))
    world = None
    try:
        world = fault_world.build(folder)
        yield world
    finally:
        site.stop(folder)
        fault_hosts.take_disks(folder)
        site.clean(folder)
        shutil.rmtree(folder)
        if world is not None:
            shutil.rmtree(world.temp, ignore_errors=True)


@pytest.fixture
def world(built: fault_world.World) -> Iterator[fault_world.World]:
    """The site, never refreshed or refreshed before, as `world.reset(...)` says."""
    built.over = "local"
    yield built
    built.over = "local"
