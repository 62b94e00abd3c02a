"""Files and rows of one moment: writers at full load while backups are made, and in every set each
row's attachment is there with its content. Without maintenance the same check fails."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from set_world import biso, dumped, forget_sets, site, sums_pass

# Twenty backups beside writers: about a minute where nothing else runs.
pytestmark = pytest.mark.timeout(1200)
RUNS = 20

# A unit of work as BISO has it: whether there is maintenance is asked first; then a row and its
# file, in the one order or the other, or both are replaced, or taken away. One that takes long is
# under way when maintenance comes on: it has to be waited for.
WRITER = r"""
import hashlib, os, sys, time
import psycopg

datadir, conninfo, number, pause = sys.argv[1:]
os.nice(10)  # all that the backup leaves of the machine: it has to be made twenty times
flag = os.path.join(datadir, "maintenance.on")
folder = os.path.join(datadir, "anhang")
done = []

def put(path, content):
    with open(os.path.join(folder, path), "wb") as handle:
        handle.write(content)

with psycopg.connect(conninfo, autocommit=True) as connection:
    run = connection.execute
    print("ready", flush=True)
    turn = 0
    while True:
        if os.path.exists(flag):
            time.sleep(0.002)
            continue
        turn += 1
        content = os.urandom(64) * 40
        digest = hashlib.sha256(content).hexdigest()
        path = f"{number}-{turn}"
        with connection.transaction():
            if turn % 4 == 0 and done:
                path = done[turn % len(done)]
                put(path, content)
                time.sleep(float(pause))
                run("UPDATE anhang SET sha256 = %s WHERE pfad = %s", (digest, path))
            elif turn % 2:
                run("INSERT INTO anhang VALUES (%s, %s)", (path, digest))
                put(path, content)
                done.append(path)
            else:
                put(path, content)
                run("INSERT INTO anhang VALUES (%s, %s)", (path, digest))
                done.append(path)
        if len(done) > 40:
            path = done.pop(0)
            with connection.transaction():
                run("DELETE FROM anhang WHERE pfad = %s", (path,))
                os.unlink(os.path.join(folder, path))
"""


@pytest.fixture
def busy(plain_world: Any) -> Iterator[Any]:
    """Production with two writers that do not pause, and one whose units take a while."""
    world, prod = plain_world, plain_world.prod
    forget_sets(world)
    prod.cluster.rows(
        f"SET ROLE {prod.role}; CREATE TABLE anhang (pfad text PRIMARY KEY, sha256 text)", "biso"
    )
    folder = prod.datadir / "anhang"
    folder.mkdir()
    shutil.chown(folder, prod.owner, prod.owner)
    conninfo = f"host=127.0.0.1 port={prod.cluster.port} dbname=biso user={prod.role}"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(prod.datadir), conninfo, str(number), pause],
            stdout=subprocess.PIPE,
            env={**os.environ, "PGPASSWORD": prod.password},
        )
        for number, pause in enumerate(("0", "0", "0.4"))
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        yield world
        assert [writer.poll() for writer in writers] == [None] * 3, "a writer has failed"
    finally:
        for writer in writers:
            with contextlib.suppress(ProcessLookupError):
                writer.kill()
            writer.communicate()
        forget_sets(world)


def _written(world: Any) -> int:
    (row,) = world.prod.cluster.rows(
        "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database"
        " WHERE datname = 'biso'"
    )
    return int(row[0])


def _wrong(folder: Path) -> list[str]:
    """Rows of the set's dump whose file is not in the set, or has another content."""
    (dump,) = (folder / "db").glob("biso_2*.sql.gz")
    match = re.search(r"^COPY public\.anhang .*?;\n(.*?)^\\\.$", dumped(dump), re.M | re.S)
    assert match is not None
    rows = [line.split("\t") for line in match[1].splitlines()]
    assert len(rows) > 40, "the writers had no time"
    found = []
    for path, digest in rows:
        file = folder / "data/anhang" / path
        if not file.exists():
            found.append(f"{path} is missing")
        elif sha256(file.read_bytes()).hexdigest() != digest:
            found.append(f"{path} has another content")
    return found


def test_every_row_of_every_set_has_its_attachment(busy: Any) -> None:
    site(busy, ssh=False)
    for number in range(RUNS):
        before = _written(busy)
        ran = biso(busy, "backup")
        assert _wrong(Path(ran.json["path"])) == [], f"backup {number + 1}"
        assert _written(busy) - before > 100, "nobody was writing"
        assert 0 < ran.json["maintenance_seconds"] < 3 * busy.patience
        assert "after 10 s" not in ran.err, "the writers were drained"


def test_without_maintenance_the_same_check_fails(busy: Any) -> None:
    """The control: it shows that the test above can fail."""
    site(busy, ssh=False)
    for _ in range(RUNS):
        ran = biso(busy, "backup", "--no-maintenance")
        folder = Path(ran.json["path"])
        assert sums_pass(folder), "a good set all the same"
        if _wrong(folder):
            return
    pytest.fail(f"{RUNS} backups without maintenance were consistent all the same")
