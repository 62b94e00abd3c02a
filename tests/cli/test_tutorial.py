"""The tutorial's transcript is what a newcomer sees: each command is run, from an empty folder, at
a terminal, and what it shows is compared with what is printed there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from biso_tasks.demo import site as demo
from biso_tasks.demo.site import DemoSite

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs/tutorial.md"
MINUTES = 5
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "rsync"),
]


@dataclass(frozen=True)
class Command:
    """`shown`: the lines that must come, in this order; `typed`: what is answered."""

    words: tuple[str, ...]
    shown: tuple[str, ...]
    typed: str


def transcript(text: str) -> list[Command]:
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            first, *lines = part.splitlines()
            typed = "".join(f"{line[2:]}\n" for line in lines if line.startswith("> "))
            shown = [line for line in lines if line != "…" and not line.startswith("> ")]
            found.append(Command(tuple(first.split()), tuple(shown), typed))
    return found


def pattern(line: str) -> re.Pattern[str]:
    """The line with any numbers, however it was wrapped. What stands behind its end is not
    told."""
    words = [
        re.sub(r"\\?\d(?:\d|\\?[.,])*", lambda _: r"[0-9.,]+", re.escape(word))
        for word in line.split()
    ]
    return re.compile(r"\s+".join(words))


def at_a_terminal(words: list[str], typed: str, cwd: Path, env: Mapping[str, str]) -> str:
    """What it prints; it ends with 0."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
                if typed and b"To go on, type" in said:
                    os.write(ours, typed.encode())
                    typed = ""
        except OSError:  # what Linux says of a terminal that nobody holds any more
            pass
        finally:
            os.close(ours)
    text = _ESCAPES.sub("", said.decode()).replace("\r", "\n")
    assert run.returncode == 0, text
    return text


@pytest.fixture
def built() -> Iterator[DemoSite]:
    """In a folder of a short name: a long one would be broken where a line ends."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield demo.build(Path(folder), scale=0.01, ssh=False)
        demo.clean(Path(folder))


def test_the_tutorial_is_what_happens(built: DemoSite, tmp_path: Path) -> None:
    places = {"/var/www/biso-test": built.test.webroot, "/var/www/biso": built.prod.webroot}

    def here(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    folder, tools = tmp_path / "site", tmp_path / "tools"
    folder.mkdir()
    tools.mkdir()
    for name in ("systemctl", "docker"):  # this machine's own services are nobody's business
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    env = {k: v for k, v in built.environ().items() if k != "BISO_CONFIG"}
    env |= {"PATH": f"{tools}:{env['PATH']}", "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"}
    began = time.monotonic()
    commands = transcript(PAGE.read_text("utf-8"))
    assert [one.words[1] for one in commands[:4]] == [
        "init",
        "doctor",
        "refresh-test",
        "refresh-test",
    ]
    for one in commands:
        program, *rest = one.words
        assert program == "biso"
        words = [sys.executable, "-P", "-m", "biso_tasks.cli.main", *map(here, rest)]
        said = at_a_terminal(words, one.typed, folder, env)
        at = 0
        for line in one.shown:
            wanted = here(line)
            if os.geteuid() != 0:
                wanted = wanted.replace("as root", "as")
            found = pattern(wanted).search(said, at)
            assert found, f"{' '.join(one.words)}: not shown: {wanted!r}\n{said}"
            at = found.end()
    assert time.monotonic() - began < MINUTES * 60


def test_a_transcript_that_says_something_else_is_noticed() -> None:
    (one,) = transcript("```console\n$ biso runs\nstarted  task\n…\nok 6.5 s\n> test\n```\n")
    assert one == Command(("biso", "runs"), ("started  task", "ok 6.5 s"), "test\n")
    assert pattern("took 6.5 s").search("it took\n   12 s")
    assert pattern("took 6.5 s").search("it took 1 min") is None
