"""Between two runs nothing of the first one is left to slow the second one down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import settle as module
from benchmarks.settle import settle

pytestmark = pytest.mark.real


def test_whoever_may_not_tell_the_kernel_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module, "_DROP", tmp_path / "missing" / "drop_caches")
    monkeypatch.setattr(module, "sleep", waited.append)  # other threads sleep too
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
