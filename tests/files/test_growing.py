"""How large what a host writes has become."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from biso_tasks.files import growing as module
from biso_tasks.files.growing import growing
from biso_tasks.host import LocalHost

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.1)


def test_the_size_is_told_while_it_grows_and_nothing_afterwards(tmp_path: Path) -> None:
    host, told = LocalHost("prod"), list[int]()
    folder = tmp_path / "ein Ordner"
    folder.mkdir()
    try:
        with growing(host, str(folder), told.append):
            for name, size in (("a", 1_000_000), ("b", 3_000_000)):
                (folder / name).write_bytes(b"x" * size)
                time.sleep(0.4)
        count = len(told)
        time.sleep(0.3)
    finally:
        host.close()
    assert 1_000_000 < told[0] < 2_000_000 < told[-1]
    assert len(told) == count


def test_what_is_not_there_is_told_by_nobody(tmp_path: Path) -> None:
    host, told = LocalHost("prod"), list[int]()
    try:
        with growing(host, str(tmp_path / "gone"), told.append):
            time.sleep(0.3)
    finally:
        host.close()
    assert told == []
