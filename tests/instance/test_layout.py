from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from biso_tasks.config.model import Environment
from biso_tasks.host.local import LocalHost
from biso_tasks.host.protocol import CommandFailed
from biso_tasks.instance.layout import read_layout


def test_a_host_without_realpath_is_told_so_and_gets_no_path_that_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sh", "bash", "tr", "stat", "mountpoint", "dirname", "cat", "id", "hostname"):
        found = shutil.which(name)
        if found:
            (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    host = LocalHost("here")
    environment = Environment(name="test", role="test", webroot="/tmp")
    try:
        with pytest.raises(CommandFailed, match="the program `realpath` was not found"):
            read_layout(host, environment, "/var")
    finally:
        host.close()
