"""The tutorial's transcript is what a newcomer sees: each command is run, from an empty folder, at
a terminal, and what it shows is compared with what is printed there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transcript import REPOSITORY, Command, follow, pattern, transcript, without_services

from biso_tasks.demo import site as demo
from biso_tasks.demo.site import DemoSite

PAGE = REPOSITORY / "docs/tutorial.md"
MINUTES = 5

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "rsync"),
]


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
    without_services(tools)
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
        assert one.words[0] == "biso"
        follow(one, here, folder, env)
    assert time.monotonic() - began < MINUTES * 60


def test_a_transcript_that_says_something_else_is_noticed() -> None:
    (one,) = transcript("```console\n$ biso runs\nstarted  task\n…\nok 6.5 s\n> test\n```\n")
    assert one == Command(("biso", "runs"), ("started  task", "ok 6.5 s"), "test\n")
    assert pattern("took 6.5 s").search("it took\n   12 s")
    assert pattern("took 6.5 s").search("it took 1 min") is None
