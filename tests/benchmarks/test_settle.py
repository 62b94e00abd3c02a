"""Between two runs nothing of the first one is left to slow the second one down."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from benchmarks import settle as module
from benchmarks.settle import settle

pytestmark = pytest.mark.real
FILES = 12_000


def made(folder: Path) -> float:
    """Seconds for that many files."""
    began = time.monotonic()
    for number in range(FILES):
        place = folder / str(number % 50)
        place.mkdir(parents=True, exist_ok=True)
        (place / str(number)).touch()
    return time.monotonic() - began


@pytest.mark.whole
@pytest.mark.needs("root")
def test_what_was_deleted_slows_nobody_down_any_more(tmp_path: Path) -> None:
    """Of ext4, in whose tests this would show; elsewhere both are the same."""
    made(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    after = made(tmp_path / "b")
    shutil.rmtree(tmp_path / "b")
    settle(tmp_path)
    assert made(tmp_path / "c") < after * 1.5


def test_whoever_may_not_tell_the_kernel_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module, "_DROP", tmp_path / "missing" / "drop_caches")
    monkeypatch.setattr(module.time, "sleep", waited.append)
    settle(tmp_path)
    assert waited == [61.0]


def test_everything_below_is_read_and_pipes_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DROP", tmp_path / "drop_caches")
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 3_000_000)
    os.mkfifo(tmp_path / "a/pipe")
    (tmp_path / "a/link").symlink_to("nowhere")
    settle(tmp_path)
    assert (tmp_path / "drop_caches").read_text() == "1\n"
