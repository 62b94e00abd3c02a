"""The compressor of a dump: the smallest result among those that do not hold pg_dump up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from biso_tasks.database.packer import PACKER

BIG = 100_000_000
FAST = "exec cat >/dev/null"
# Two megabytes in that time, where one second is allowed: a busy machine shall not decide.
SLOW = "sleep 1.5; exec cat >/dev/null"
PATIENT = PACKER.replace("floor=100000", "floor=2000")


assert PATIENT != PACKER


@pytest.fixture
def chosen(tmp_path: Path) -> Callable[..., str]:
    """What is taken for a database of so many bytes, of programs with these bodies by name."""
    bins = tmp_path / "bin"
    bins.mkdir()
    for name in ("cat", "sleep", "bash"):
        (bins / name).symlink_to(shutil.which(name) or "")

    def choose(size: int, **programs: str) -> str:
        for name, body in programs.items():
            (bins / name).write_text(f"#!{shutil.which('bash')}\nlevel=$1\n{body}\n")
            (bins / name).chmod(0o755)
        text = f'{PATIENT}\npacker "$1"; echo "${{pack[*]}}"'
        words = ("bash", "--norc", "-euo", "pipefail", "-c", text, "biso", str(size))
        done = subprocess.run(words, check=True, capture_output=True, env={"PATH": str(bins)})
        assert done.stderr == b""
        return done.stdout.decode().strip()

    return choose


@pytest.mark.parametrize(
    ("size", "programs", "pack"),
    [
        (0, {"gzip": FAST}, "gzip -3"),
        (0, {"gzip": FAST, "pigz": SLOW}, "pigz -3"),  # not tried: it would take longer
        (0, {"gzip": FAST, "pigz": FAST, "igzip": SLOW}, "igzip -2"),
        (BIG, {"gzip": FAST, "pigz": FAST, "igzip": FAST}, "pigz -6"),
        (BIG, {"gzip": SLOW, "pigz": SLOW, "igzip": FAST}, "igzip -2"),
        (BIG, {"gzip": SLOW, "pigz": f'[ "$level" != -6 ] || {{ {SLOW}; }}; {FAST}'}, "pigz -3"),
        (BIG, {"gzip": FAST}, "gzip -3"),
        # none keeps up: the fastest
        (BIG, {"gzip": f"case $level in -1) sleep 1.2 ;; *) sleep 2.5 ;; esac; {FAST}"}, "gzip -1"),
    ],
)
def test_the_smallest_that_keeps_up_is_taken(
    chosen: Callable[..., str], size: int, programs: dict[str, str], pack: str
) -> None:
    assert chosen(size, **programs) == pack
