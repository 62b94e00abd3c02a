"""What the pictures in docs/ are drawn with, and that they are all there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from screen import page, record

ROOT = Path(__file__).parents[2]
SAYS = r"""
import sys, time
sys.stdout.write("\x1b[32mgut\x1b[0m \x1b[2mblass\x1b[0m <b>\n")
sys.stdout.write("wird\n"); sys.stdout.flush(); time.sleep(0.3)
sys.stdout.write("\x1b[1A\x1b[2Kwurde\n")
"""


def test_a_screen_is_what_stands_there_after_all_that_was_printed(tmp_path: Path) -> None:
    made = record([sys.executable, "-c", SAYS], cwd=tmp_path, env={}, columns=30, rows=5)
    before = made.until(lambda lines: "wird" in lines)
    assert "wurde" not in page(before, "so", "light")
    drawn = page(made.last(), "<so>", "dark")
    assert "wurde" in drawn and "wird" not in drawn
    assert "&lt;b&gt;" in drawn and "&lt;so&gt;" in drawn
    assert re.search(r'<span style="color:#3fb950">gut</span>', drawn)
    assert re.search(r'<span style="color:#9198a1">blass</span>', drawn)
    with pytest.raises(LookupError):
        made.until(lambda lines: "nie" in lines)


def test_what_fails_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        record([sys.executable, "-c", "exit(3)"], cwd=tmp_path, env={}, columns=30, rows=5)


def test_every_picture_is_shown_and_every_one_that_is_shown_is_there() -> None:
    folder = ROOT / "docs/pictures"
    named = re.findall(
        r'(?:src|srcset)="pictures/([^"]+)"', (ROOT / "docs/pictures.md").read_text()
    )
    assert sorted(named) == sorted(one.name for one in folder.iterdir())
    assert all((folder / one).read_bytes()[1:4] == b"PNG" for one in named)
