"""The moment of maintenance: who is waited for in it, and what it costs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from set_world import biso, dumped, site

# Both were let in before maintenance, and take a while: an upload whose row comes later, or in no
# database that is backed up, and a transaction.
UPLOAD = r"""
import os, sys, time
path, flag = sys.argv[1:]
with open(path, "wb") as file:
    file.write(b"a" * 1000)
    file.flush()
    print("ready", flush=True)
    while not os.path.exists(flag):
        time.sleep(0.002)
    time.sleep(1.5)
    file.write(b"b" * 1000)
"""
WRITER = r"""
import os, sys, time
import psycopg
conninfo, flag = sys.argv[1:]
with psycopg.connect(conninfo) as connection:
    connection.execute("INSERT INTO spur VALUES (1)")
    print("ready", flush=True)
    while not os.path.exists(flag):
        time.sleep(0.002)
    time.sleep(1.5)
    connection.execute("INSERT INTO spur VALUES (2)")
"""


@contextlib.contextmanager
def under_way(text: str, *words: str, **environ: str) -> Iterator[None]:
    """A program of the application that is in the middle of something."""
    process = subprocess.Popen(
        [sys.executable, "-c", text, *words], stdout=subprocess.PIPE, env={**os.environ, **environ}
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("only", "reached"),
    [
        ("", True),
        ("data", False),
        pytest.param("data", True, marks=pytest.mark.whole),
        pytest.param("webroot,data", True, marks=pytest.mark.whole),
    ],
)
def test_an_upload_that_is_under_way_is_whole_in_every_set_with_the_data_dir(
    local: Any, only: str, reached: bool
) -> None:
    """Also where the database cannot say who is at work."""
    site(local, ssh=False)
    if not reached:
        text = local.prod.config.read_text()
        local.prod.config.write_text(text.replace("'password' =>", "'password' => 'x' ."))
    path = local.prod.datadir / "hochgeladen.pdf"
    with under_way(UPLOAD, str(path), str(local.prod.datadir / "maintenance.on")):
        ran = biso(local, "backup", *(("--only", only) if only else ()))
    assert (Path(ran.json["path"]) / "data" / path.name).read_bytes() == b"a" * 1000 + b"b" * 1000
    assert ("by their open files alone" in ran.err) != reached
    assert ran.json["maintenance_seconds"] > 1.5


def test_writers_of_the_log_database_are_waited_for_like_those_of_the_main_one(local: Any) -> None:
    local.with_log_database()
    prod = local.prod
    prod.cluster.rows(f"SET ROLE {prod.role}; CREATE TABLE spur (n int)", "biso_log")
    plugins = str(Path(__file__).parents[2] / "plugins")
    site(local, ssh=False, site={"plugins": [plugins]})
    conninfo = f"host=127.0.0.1 port={prod.cluster.port} dbname=biso_log user={prod.role}"
    flag = str(prod.datadir / "maintenance.on")
    with under_way(WRITER, conninfo, flag, PGPASSWORD=prod.password):
        ran = biso(local, "backup")
    (dump,) = (Path(ran.json["path"]) / "db").glob("biso_log_*.sql.gz")
    assert "COPY public.spur (n) FROM stdin;\n1\n2\n" in dumped(dump)


MOVERS = ("rsync", "cp", "tar", "sha256sum", "gzip", "pigz", "pg_dump")


@pytest.fixture
def movers(local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where each program that reads files or rows says that it was started in maintenance."""
    said = tmp_path / "said"
    flag = local.prod.datadir / "maintenance.on"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in MOVERS:
        real = shutil.which(name)
        if real is not None:
            program = folder / name
            program.write_text(
                f'#!/bin/bash\ncase "$*" in *--version*) exec {real} "$@";; esac\n'
                f'[ ! -e {flag} ] || echo {name} >>{said}\nexec {real} "$@"\n'
            )
            program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return said


def window(local: Any) -> tuple[dict[str, Any], float]:
    """What a backup's window did, and the seconds that users were kept out, as they saw it too."""
    with type(local.visitor())(local.prod) as visitor:
        ran = biso(local, "backup")
    journal = local.site_folder / ".biso/runs" / ran.json["run"] / "journal.jsonl"
    lines = map(json.loads, journal.read_text().splitlines())
    facts = {one["name"]: one["facts"] for one in lines if one["event"] == "step_finished"}
    reported: float = ran.json["maintenance_seconds"]
    assert abs(reported - visitor.away) < 0.5 * local.patience
    return facts, reported


def test_the_window_does_not_grow_with_the_bytes_that_stay_as_they_are(
    local: Any, movers: Path
) -> None:
    """No program that reads any of them is started in it: neither for what every set has already,
    nor for what the copy before it has just brought."""
    site(local, ssh=False)
    small = [window(local)[1] for _ in range(2)]
    folder = local.prod.datadir / "scans"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.tif").write_bytes(os.urandom(10 << 20))
    subprocess.run(["chown", "-R", local.prod.owner, folder], check=True)
    facts, new = window(local)
    assert facts["copy-files"]["copied"] >= 300 << 20
    assert facts["window"]["changed"] == 0
    facts, known = window(local)
    assert facts["copy-files"]["copied"] == 0
    assert facts["window"]["changed"] == 0
    assert not movers.exists(), movers.read_text()
    # A copy, or a look at the bytes, is what must not be in it; seconds are this machine's.
    assert min(new, known) < 3 * max(small) + local.patience


def test_the_window_brings_what_changed_since_the_copy_and_no_more(
    local: Any, movers: Path
) -> None:
    """The control: it shows that the programs are seen."""
    late = local.prod.datadir / "spaet.pdf"
    text = (
        '\n[[recipes.backup.insert]]\nafter = "copy-files"\nname = "meanwhile"\non = "prod"\n'
        f"run = ['cp', '/etc/hostname', '{late}']\n"
    )
    site(local, ssh=False, text=text)
    facts, _ = window(local)
    assert facts["window"]["changed"] == 1
    assert movers.read_text() == "rsync\n"
