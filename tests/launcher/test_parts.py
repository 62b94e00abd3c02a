"""A missing real part: skipped with the reason and the command, failed where CI=true."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

_TEST = """\
import pytest

@pytest.mark.needs("rsync", "zstd")
def test_with_rsync():
    raise AssertionError("ran without its parts")

def test_without():
    pass
"""


def _pytest(folder: Path, text: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "tests").mkdir()
    shutil.copy(REPOSITORY / "tests/conftest.py", folder / "tests/conftest.py")
    shutil.copy(REPOSITORY / "pyproject.toml", folder / "pyproject.toml")
    (folder / "tests/test_it.py").write_text(text, "utf-8")
    (folder / "bin").mkdir()
    base = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_ADDOPTS")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=folder,
        env={**base, "PYTHONPATH": str(REPOSITORY), "PATH": str(folder / "bin"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_skipped_with_the_reason_and_the_install_command(tmp_path):
    done = _pytest(tmp_path, _TEST)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    summary = done.stdout.split("short test summary info")[1]
    assert "not on this machine: rsync, zstd" in summary
    assert "apt install rsync; apt install zstd" in summary


@pytest.mark.parametrize("value", ["true", "1"])
def test_with_ci_true_it_fails(tmp_path, value):
    done = _pytest(tmp_path, _TEST, CI=value)
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "ran without its parts" not in done.stdout
    assert "apt install rsync" in done.stdout


def test_a_part_that_nobody_knows_is_an_error_at_collection(tmp_path):
    done = _pytest(tmp_path, _TEST.replace("zstd", "zsdt"))
    assert done.returncode == 4
    assert "zsdt" in done.stderr + done.stdout
