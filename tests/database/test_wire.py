"""A dump is packed where the link is what a load would wait for, and nowhere else."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create
from biso_tasks.database.facts import probe
from biso_tasks.database.names import stage_name
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.database.transfer import Leg, transfer
from biso_tasks.database.wire import PLAIN, Wire, choose, measured, packed, unpacked
from biso_tasks.demo.sshd import remove, start_servers
from biso_tasks.errors import StepFailed
from biso_tasks.host import LocalHost, SshHost
from biso_tasks.host.command import script

ALL = {"zstd": 200e6, "lz4": 250e6, "gzip": 40e6}
BIG = 1 << 30

# Joins stdin and stdout to a port, no faster than so many bytes a second each way, and counts.
SLOW = """
import os, socket, sys, threading, time
host, port, rate, log = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
peer = socket.create_connection((host, port))
def move(read, write):
    total, start = 0, time.monotonic()
    while data := read():
        write(data)
        total += len(data)
        time.sleep(max(0.0, start + total / rate - time.monotonic()))
        if start + total / rate < time.monotonic() - 0.2:
            start = time.monotonic() - total / rate  # idle: no credit for later
def up():
    move(lambda: os.read(0, 16384), peer.sendall)
    peer.shutdown(socket.SHUT_WR)
def down(data):
    os.write(1, data)
    file.write(f"{len(data)}\\n")
threading.Thread(target=up, daemon=True).start()
with open(log, "a", buffering=1) as file:
    move(lambda: peer.recv(16384), down)
"""


@pytest.mark.parametrize(
    ("link", "packers", "unpackers", "tool", "level"),
    [
        (1e9, ALL, ALL, "", 0),  # the load is slower than the link
        (40e6, ALL, ALL, "", 0),
        (12e6, ALL, ALL, "zstd", 3),
        (1e6, ALL, ALL, "zstd", 9),  # there is time for a better level
        (12e6, {"zstd": 30e6, "lz4": 60e6}, ALL, "lz4", 1),  # a slow processor
        (6.2e6, {"zstd": 35e6, "lz4": 60e6}, ALL, "zstd", 1),  # and a slow link: fewer bytes win
        (12e6, ALL, {"gzip"}, "gzip", 1),  # what both have
        (1e6, {"gzip": 3e6}, ALL, "gzip", 1),  # not fast enough for the load, but for the link
        (12e6, {"gzip": 3e6}, ALL, "", 0),  # slower than the link itself
        (1e6, ALL, (), "", 0),
        (1e6, {}, ALL, "", 0),
    ],
)
def test_link_and_processor_are_weighed_against_each_other(
    link: float, packers: Mapping[str, float], unpackers: Collection[str], tool: str, level: int
) -> None:
    found = choose(link, packers, unpackers)
    assert (found.tool, found.level, found.link) == (tool, level, link)


def test_it_says_how_and_why() -> None:
    assert str(Wire("zstd", 3, 6.24e6)) == "zstd -3 (the link carries 6.24 MB/s)"
    assert str(PLAIN) == "not compressed"


@pytest.fixture
def local() -> Iterator[LocalHost]:
    host = LocalHost("here")
    yield host
    host.close()


@pytest.mark.real
def test_nothing_is_asked_within_one_host_nor_for_a_small_database(local: Any) -> None:
    class Never(LocalHost):
        def start(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("asked")

    here, there = Never("a"), Never("b")
    try:
        for ends, size, route in (((here, here), BIG, "relay"), ((here, there), 1000, "relay"),
                                  ((here, there), BIG, "local")):  # fmt: skip
            assert measured(*ends, size, route=route, cancel=threading.Event()) == PLAIN  # type: ignore[arg-type]
    finally:
        here.close()
        there.close()


@pytest.mark.real
def test_where_the_link_cannot_be_measured_nothing_is_packed(monkeypatch: Any) -> None:
    """A host without what it takes can still be refreshed from."""
    here, there = LocalHost("a"), LocalHost("b")
    monkeypatch.setattr(f"{measured.__module__}._SEND", "exit 3")
    try:
        assert measured(here, there, BIG, route="relay", cancel=threading.Event()) == PLAIN
    finally:
        here.close()
        there.close()


@pytest.mark.real
@pytest.mark.parametrize("tool", ["zstd", "lz4", "gzip"])
def test_a_source_that_fails_is_named_though_it_is_packed(local: Any, tool: str) -> None:
    wire = Wire(tool, 1)
    source = Leg(
        local, script('read -r x; echo rows; echo "error: no such table" >&2; exit 3'), b"\n"
    )
    target = Leg(local, script("read -r x; cat >/dev/null"), b"\n")
    with pytest.raises(StepFailed, match="copying: error: no such table"):
        transfer(
            packed(source, wire), unpacked(target, wire), "copying",
            route="relay", cancel=threading.Event(),
        )  # fmt: skip


@dataclass
class Link:
    """A host behind a slow line; `passed` are the bytes that came over it."""

    host: SshHost
    log: Path

    @property
    def passed(self) -> int:
        return sum(map(int, self.log.read_text().split()))


@pytest.fixture
def slow() -> Iterator[Callable[[float], Link]]:
    folder = Path(tempfile.mkdtemp(prefix="bw", dir="/tmp"))
    hosts: list[SshHost] = []

    def make(rate: float) -> Link:
        (folder / "slow.py").write_text(SLOW)
        start_servers(folder, ("far",), path="/usr/bin:/bin")
        config = folder / "config"
        words = f"{sys.executable} -S {folder}/slow.py %h %p {rate} {folder}/passed"
        config.write_text(config.read_text() + f"    ProxyCommand {words}\n")
        hosts.append(SshHost("far", "far", config, folder / "known_hosts"))
        return Link(hosts[0], folder / "passed")

    try:
        yield make
    finally:
        for host in hosts:
            host.close()
        remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.real
@pytest.mark.needs("sshd")
def test_over_a_slow_line_a_database_comes_packed(
    one: Any, two: Any, fresh: Callable[..., str], cancel: threading.Event, local: Any, slow: Any
) -> None:
    link = slow(4e6)
    wire = measured(link.host, local, BIG, route="relay", cancel=cancel)
    assert wire.tool in ("zstd", "lz4", "gzip")
    assert 1e6 < wire.link < 8e6, "measured with 4 MB/s"
    dbname = fresh(
        one, "prod", "biso_app",
        "CREATE TABLE notiz AS SELECT g AS id, repeat('Sie rief gestern an. ', 20) || g AS text "
        "FROM generate_series(1, 20000) g",
        "ALTER TABLE notiz OWNER TO biso_app",
    )  # fmt: skip
    target = two.server(fresh(two, "test"))
    source = replace(one.server(dbname, name="prod"), host=link.host)
    stage = stage_name("test")
    with admin(target) as role:
        create(role, target, stage, probe(source))
    with export(source) as snapshot:
        noise = link.passed
        copy(source, snapshot, target, stage, route="relay", wire=wire, cancel=cancel)
        assert 10_000 < link.passed - noise < 20_000 * 420 / 4, "8.4 MB of text"
        before = snapshot.counts()
    with connect(target, stage) as connection:
        assert differences(before, count(connection)) == []


@pytest.mark.parametrize(
    ("seen", "packs", "asked"),
    [
        ((100e6,), False, 1),
        ((5e6, 100e6), False, 2),  # a connection that is new grows its windows yet
        ((5e6, 6e6), True, 2),
        ((0.0,), False, 1),
    ],
)
def test_a_link_that_looks_slow_is_measured_once_more(
    monkeypatch: Any, seen: tuple[float, ...], packs: bool, asked: int
) -> None:
    rates = list(seen)
    monkeypatch.setattr(f"{measured.__module__}._carried", lambda *_: rates.pop(0))
    with contextlib.closing(LocalHost("here")) as here, contextlib.closing(LocalHost("on")) as on:
        wire = measured(here, on, BIG, route="relay", cancel=threading.Event())
    assert bool(wire.tool) is packs, wire
    assert wire.link == max(seen)
    assert len(rates) == len(seen) - asked
