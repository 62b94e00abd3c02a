"""What a refresh leaves of production's persons, and of its secrets: nothing, anywhere."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.demo.data import PLANTED
from biso_tasks.ui.report import load

LOGGED = {"log_statement": "'all'", "log_min_duration_statement": "0", "log_duration": "on"}


class Watcher:
    """Looks at every process of the world all the time, and at the stage's own password. Another
    test of this machine has the same persons."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.wanted = {one.encode() for one in PLANTED}
        self.wanted |= {world.prod.password.encode(), world.test.password.encode()}
        self.own = ""
        self.seen: set[str] = set()
        self.limits: set[str] = set()
        self.rounds = 0
        self.over = threading.Event()

    def watch(self) -> None:
        while not self.over.is_set():
            self.rounds += 1
            self._password()
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self._look(process)
            time.sleep(0.005)

    def _password(self) -> None:
        if self.own:
            return
        try:
            text = (self.world.test.stage_dir / "stage/webroot/config.php").read_text()
        except OSError:
            return
        self.own = text.partition("__stage', 'user' => ")[2].partition("'password' => '")[2][:64]
        if self.own:
            self.wanted.add(self.own.encode())

    def _ours(self, process: Path) -> bool:
        """Whether we, or a server of the world, started it."""
        pid, mark = process.name, str(self.world.base).encode()
        while pid not in ("0", "1"):
            if pid == str(os.getpid()):
                return True
            try:
                if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return True
                pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                return False
        return False

    def _look(self, process: Path) -> None:
        for what in ("cmdline", "environ"):
            try:
                text = (process / what).read_bytes()
            except OSError:
                return
            found = [one for one in self.wanted if one in text]
            if found and self._ours(process):
                self.seen.add(f"{what} with {found}: {text!r}")
            if what == "cmdline" and b"biso_tasks.cli.main" in text:
                self._limit(process)

    def _limit(self, process: Path) -> None:
        try:
            lines = (process / "limits").read_text().splitlines()
        except OSError:
            return
        self.limits |= {" ".join(one.split()[4:5]) for one in lines if "core file" in one}


@contextmanager
def watching(world: Any) -> Iterator[Watcher]:
    watcher = Watcher(world)
    thread = threading.Thread(target=watcher.watch)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.over.set()
        thread.join()


@contextmanager
def logging_all(world: Any) -> Iterator[list[str]]:
    """Both servers log whatever is said to them; what they logged."""
    said: list[str] = []
    clusters = (world.prod.cluster, world.test.cluster)
    for cluster in clusters:
        for key, value in LOGGED.items():
            cluster.rows(f"ALTER SYSTEM SET {key} = {value}")
        cluster.rows("SELECT pg_reload_conf()")
    starts = [(one.folder / "log").stat().st_size for one in clusters]
    try:
        yield said
    finally:
        for cluster, start in zip(clusters, starts, strict=True):
            for key in LOGGED:
                cluster.rows(f"ALTER SYSTEM RESET {key}")
            cluster.rows("SELECT pg_reload_conf()")
            said.append((cluster.folder / "log").read_bytes()[start:].decode("utf-8", "replace"))


@pytest.mark.parametrize("way", ["done", "failed"])
def test_a_refresh_leaves_no_person_and_no_secret_anywhere(world: Any, way: str) -> None:
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()
    broken = {"insert": [{"name": "boese", "after": "neutralize", "on": "test", "run": ["false"]}]}
    world.site(recipes={"refresh-test": broken if way == "failed" else {}})
    with logging_all(world) as logs, watching(world) as watcher:
        ran = world.refresh("--from", "prod", code=1 if way == "failed" else 0)
    assert watcher.rounds > 20
    assert len(watcher.own) == 64, "the stage's own password was seen in its config.php"
    assert watcher.seen == set()
    assert "0" in watcher.limits, watcher.limits

    secret = [one.decode() for one in watcher.wanted]
    for one in secret:
        assert one not in ran.out + ran.err
    for file in world.site_folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.name != "biso.toml":
            content = file.read_bytes()
            assert not [one for one in watcher.wanted if one in content], file
    for log, where in zip(logs, ("prod", "test"), strict=True):
        assert "statement: " in log
        found = [line for line in log.splitlines() for one in secret if one in line]
        assert not found, (where, len(found), found[:3])
    assert world.leftovers(previous=way == "done") == []
    _require_told(world, ran.json["run"], way)


def _require_told(world: Any, run: str, way: str) -> None:
    """The report's part on personal data, of a real run, in all its forms."""
    folder = world.site_folder / ".biso/runs" / run
    personal = load(folder / "journal.jsonl").personal
    assert personal is not None and personal.anonymised == (way == "done")
    said = dict(personal.said)
    assert {"Result", "Classified", "Changed", "Files"} <= said.keys()
    assert "this run judged every column" in said["Classified"]
    assert "made for this run" in said["Who could read the copy meanwhile"]
    assert sum(count for _, count in personal.columns) > 100
    if way == "done":
        assert "planted test values were all seen" in said["Searched"]
        assert "0 values" not in said["Searched"]
    document = world.run("report", "--run", run, "--json").json["report"]
    assert document["personal_data"] == json.loads(json.dumps(personal.as_json()))
    assert "Personal data" in (folder / "report.html").read_text()
    assert "## Personal data" in (folder / "report.md").read_text()
