"""While a stage exists: the live instance is unchanged although a scrubber writes in place, and no
file of the stage is to be had by HTTP.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from fault_world import LIVE, World

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

_SCRUBBER = '''\
"""Writes into the files of the stage, in place, and into its database."""
from biso_tasks.api import Change, hookimpl

@hookimpl
def biso_scrub(stage):
    for name in stage.files():
        if name.endswith(".docx"):
            continue  # broken, it could not be searched, and the proof would fail
        # r+b keeps the inode: a hard link to the live tree would be written through
        with open(f"{stage.datadir}/{name}", "r+b") as file:
            file.write(b"X")
    with stage.connect() as connection:
        connection.execute("UPDATE beratungsfall SET id = id")
    return [Change("files written in place", 1)]
'''


@contextmanager
def _paused(world: World) -> Iterator[None]:
    """A run that stands between the scrubbers and the swap."""
    spec = world.spec(step="finish-database", side="before", act="pause")
    Path(spec["resume"]).write_text("wait", "utf-8")
    child = world.start(spec, "refresh-test", "--yes", "--json", "--no-anonymize")
    until = time.monotonic() + 90
    while not Path(spec["reached"]).exists():
        assert child.poll() is None, world._said(child)
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        yield
    finally:
        os.kill(child.pid, signal.SIGTERM)
        Path(spec["resume"]).unlink()
        run = world.finish(child, spec)
    assert run.code == 130, run.err
    assert world.check(run) == "old"


def test_a_scrubber_that_writes_in_place_changes_nothing_that_is_live(world: World) -> None:
    world.reset("again")
    plugins = world.folder / "here-local" / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "scrubber.py").write_text(_SCRUBBER, "utf-8")
    config = plugins.parent / "biso.toml"
    before = config.read_text("utf-8")
    config.write_text(before.replace("[site]", '[site]\nplugins = ["plugins"]'), "utf-8")
    try:
        spec = world.spec(step="prove", side="before", act="pause")
        Path(spec["resume"]).write_text("wait", "utf-8")
        child = world.start(spec, "refresh-test", "--yes", "--json")
        while not Path(spec["reached"]).exists():
            assert child.poll() is None, world._said(child)
            time.sleep(0.02)
        assert (world.picture(LIVE), world.picture("biso_test__previous")) == world.base["again"]
        staged = world.stage_dir / "stage"
        assert any(f.read_bytes().startswith(b"X") for f in staged.rglob("*") if f.is_file())
        live = {one.stat().st_ino for one in world.test.webroot.rglob("*") if one.is_file()}
        assert not live & {one.stat().st_ino for one in staged.rglob("*") if one.is_file()}
        Path(spec["resume"]).unlink()
        run = world.finish(child, spec)
    finally:
        config.write_text(before, "utf-8")
        shutil.rmtree(plugins)  # found there by its place, it would go on scrubbing
    assert run.code == 0, run.err
    assert world.check(run) == "new"


def test_no_file_of_a_stage_is_to_be_had_by_http(world: World) -> None:
    world.reset("again")
    with _paused(world):
        name = world.stage_dir.name
        known = next(one for one in (world.stage_dir / "stage").rglob("*") if one.is_file())
        below = known.relative_to(world.stage_dir).as_posix()
        ups = ("..", "%2e%2e", ".%2e", "%252e%252e", "..%2f..", "..%5c..", "....//....", "/..")
        for up in ups:
            for path in (f"/{up}/{name}/{below}", f"/css/{up}/{up}/{name}/{below}"):
                status, body = _raw(world.url, path)
                assert body != known.read_bytes(), path
                assert status != 200 or b"<!doctype html>" in body, path
        for path in (f"/{name}/{below}", f"/data/{name}/{below}", f"/data/../../{name}/{below}"):
            status, body = _raw(world.url, path)
            assert body != known.read_bytes(), path


def _raw(url: str, path: str) -> tuple[int, bytes]:
    """As a hostile client: the path goes out as it is."""
    host = url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.putrequest("GET", quote(os.fsencode(path), safe="/%.:"))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_web_server_for_the_webroot_s_parent_does_not_hand_out_a_stage(world: World) -> None:
    """Several sites below one document root: the default stage directory then lies in it. What
    stands against it is the directory's mode and what lies in it for the web server."""
    world.reset("again")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # as the web server's user, which is not the one that owns the stage
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "php", "-S",
             f"127.0.0.1:{port}", "-t", str(world.test.webroot.parent)]  # fmt: skip
    for folder in (world.folder, *world.test.webroot.parents):
        if folder.is_relative_to(world.folder):
            folder.chmod(folder.stat().st_mode | 0o055)
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with _paused(world):
            known = [one for one in (world.stage_dir / "stage").rglob("*") if one.is_file()]
            for one in known:
                below = one.relative_to(world.test.webroot.parent).as_posix()
                status, body = _raw(f"http://127.0.0.1:{port}/", f"/{below}")
                assert status != 200 or body != one.read_bytes(), below
    finally:
        server.kill()
        server.wait()
