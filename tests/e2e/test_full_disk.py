"""A disk that fills up while a stage is made: there was room when it was asked for. Test serves
what it served, nothing is left, and one line says where and what to do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, sh, until
from test_bad_input import fails

LEAVE = 2_000_000


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """While inside, `place` and what it holds are on a filesystem of 100 MB."""
    aside = place.with_name(f"{place.name}.aside")
    sh("rsync", "-aHS", f"{place}/", f"{aside}/")
    if sh("mount", "-t", "tmpfs", "-o", "size=100m", "none", place, check=False).returncode:
        shutil.rmtree(aside)
        message = "a tmpfs cannot be mounted here"
        pytest.skip(message)
    try:
        sh("rsync", "-aHS", f"{aside}/", f"{place}/")
        yield
    finally:
        shutil.rmtree(aside)
        sh("umount", "-l", place)


def fills(place: Path, filler: Path, after: str) -> str:
    """A step that leaves next to nothing of the disk: somebody else's file."""
    script = (
        f"free=$(df --output=avail -B1 {place} | tail -n 1); "
        f"fallocate -l $((free - {LEAVE})) {filler}"
    )
    return (
        f'\n[[recipes.refresh-test.insert]]\nafter = "{after}"\nname = "fill"\non = "test"\n'
        f'run = ["sh", "-c", "{script}"]\n'
    )


def one_line(message: str) -> None:
    assert "No space left on device" in message, message
    assert "free room" in message, "what to do"


def test_no_room_for_files_any_more(world: Any) -> None:
    test = world.test
    big = world.prod.datadir / "dateien/gross.bin"
    big.write_bytes(os.urandom(3 * LEAVE))
    shutil.chown(big, world.prod.owner, world.prod.owner)
    machine = world.hosts["test"]
    machine.systemctl("stop", "biso-web")
    try:
        with small_disk(test.place):
            machine.systemctl("start", "biso-web")
            assert until(lambda: test.get()[0] == 200)
            filler = test.place / "fueller"
            filler.touch()
            shutil.chown(filler, test.owner, test.owner)
            world.site(text=fills(test.place, filler, "open-stage"))
            message = fails(world, code=(1,))
            one_line(message)
            machine.systemctl("stop", "biso-web")
    finally:
        machine.systemctl("start", "biso-web")


def test_no_room_for_rows_any_more(world: Any) -> None:
    """The tables' disk is full, the one of the write-ahead log is not: else any server stops."""
    folder = world.base / "pg/small"
    disk = world.base / "pg/small-disk"
    for path in (folder, disk):
        shutil.rmtree(path, ignore_errors=True)
    disk.mkdir()
    cluster = Cluster.start(folder)
    with small_disk(disk):
        cluster.rows("CHECKPOINT")  # its role may not be on disk yet, and `down` does not wait
        cluster.down()
        sh("rsync", "-a", f"{folder}/data/base", disk)
        shutil.rmtree(folder / "data/base")
        (folder / "data/base").symlink_to(disk / "base")
        cluster.up()
        with world.served_by("test", cluster):
            filler = disk / "filler"
            filler.touch()
            shutil.chown(filler, world.test.owner, world.test.owner)
            world.site(text=fills(disk, filler, "open-stage"))
            message = fails(world, code=(1,))
            one_line(message)
            filler.unlink()
            world.site()
            world.refresh()
            assert world.test.cluster.rows("SELECT count(*) FROM person", "biso_test") == [(60,)]
