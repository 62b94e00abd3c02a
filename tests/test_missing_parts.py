"""What a machine lacks: skipped with what to install; where CI=true, nothing is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_TESTS = """
import pytest

@pytest.mark.needs("part")
def test_marked(): pass

def test_by_itself(): pytest.skip("no part here: apt install part")

@pytest.fixture
def part(): pytest.skip("no part here: apt install part")

def test_by_a_fixture(part): pass

def test_here(): pass
"""


def ran(place: Path, *words: str, **given: str) -> list[str]:
    """The summary that pytest gives of `_TESTS` on a machine without the part."""
    conftest = Path(__file__).with_name("conftest.py")
    text = conftest.read_text("utf-8").replace(
        "PARTS = {", 'PARTS = {"part": Part(lambda: False, "apt install part"),'
    )
    (place / "conftest.py").write_text(text, "utf-8")
    (place / "test_it.py").write_text(_TESTS, "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    shutil.rmtree(place / "__pycache__", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", *words],
        cwd=place, env=environment | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_it_is_skipped_with_what_to_install(tmp_path: Path) -> None:
    *lines, last = ran(tmp_path)
    assert "1 passed, 3 skipped" in last
    assert sum("apt install part" in line for line in lines) == 3


def test_where_nothing_may_be_missing_it_fails(tmp_path: Path) -> None:
    *lines, last = ran(tmp_path, CI="true")
    assert "skipped" not in last and "1 passed" in last
    assert sum("nothing may be missing" in line for line in lines) >= 3


def test_what_is_of_the_whole_matrix_runs_with_it_alone(tmp_path: Path) -> None:
    assert "deselected" not in ran(tmp_path)[-1]
    global_mark = "import pytest\npytestmark = pytest.mark.whole\n"
    (tmp_path / "test_slow.py").write_text(f"{global_mark}def test_slow(): pass\n", "utf-8")
    assert "1 deselected" in ran(tmp_path, BISO_FAULTS="")[-1]
    assert "2 passed" in ran(tmp_path, BISO_FAULTS="all")[-1]


def test_what_starts_nothing_is_the_quick_part(tmp_path: Path) -> None:
    """Whoever works on a function need not wait for servers."""
    for folder in ("cli", "flow"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{folder}.py").write_text("def test_it(): pass\n", "utf-8")
    given = "import hypothesis\n@hypothesis.given(hypothesis.strategies.none())\n"
    generated = f"{given}def test_generated(x): pass\n"
    (tmp_path / "test_generated.py").write_text(generated, "utf-8")
    found = [line for line in ran(tmp_path, "-m", "quick", "--collect-only") if "::" in line]
    assert {line.rpartition("::")[2] for line in found} == {
        "test_it", "test_here", "test_by_itself", "test_by_a_fixture"
    }  # fmt: skip
    assert "flow/test_flow.py::test_it" in found
    assert "cli/test_cli.py::test_it" not in found
