"""Where a stage cannot stand, or the data dir not be exchanged: found before anything is staged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import fails


def refused(world: Any, *words: str, previous: bool = False) -> str:
    """Exit 3, all as it was, and no step was begun."""
    message = fails(world, *words, code=(3,), previous=previous)
    assert not list((world.site_folder / ".biso/runs").glob("*/journal.jsonl")), "a run began"
    return message


@pytest.mark.parametrize(
    "task", ["refresh-test", pytest.param("anonymize", marks=pytest.mark.whole)]
)
def test_a_folder_in_which_no_stage_directory_can_be_made(plain_world: Any, task: str) -> None:
    world = plain_world
    shutil.chown(world.test.place, "root", "root")
    message = refused(world, task)
    assert f"may not make {world.test.stage_dir}" in message
    for remedy in ("install -d -m 0700", "stage_dir", "sudo = true", "NOPASSWD: "):
        assert remedy in message


def test_the_readmes_ten_line_site_says_what_it_still_needs(world: Any) -> None:
    """run_as without sudo, below a folder that is root's."""
    shutil.chown(world.test.place, "root", "root")
    world.site(test={"sudo": None, "owner": None, "services": None})
    message = refused(world)
    assert f"may not make {world.test.stage_dir}" in message
    assert f"{world.hosts['test'].user} ALL=(root) NOPASSWD: " in message


def test_the_directory_that_an_administrator_made_will_do(plain_world: Any) -> None:
    world = plain_world
    test = world.test
    shutil.chown(test.place, "root", "root")
    test.stage_dir.mkdir(mode=0o700)
    shutil.chown(test.stage_dir, test.owner, test.owner)
    world.refresh()
    assert test.get()[0] == 200
    assert world.leftovers(previous=True) == []


def test_a_stage_directory_of_somebody_else(plain_world: Any) -> None:
    world = plain_world
    world.test.stage_dir.mkdir(mode=0o777)
    world.test.stage_dir.chmod(0o777)
    before = world.test.state()
    ran = world.run("refresh-test", "--yes", "--json")
    assert ran.code == 3, str(ran)
    assert "belongs to somebody else" in ran.message and "chown" in ran.message
    assert world.test.state() == before


def test_a_data_dir_that_may_not_be_renamed(plain_world: Any) -> None:
    world = plain_world
    stage = world.base / "www/stage"
    stage.mkdir()
    try:
        shutil.chown(stage, world.test.owner, world.test.owner)
        world.site(test={"stage_dir": str(stage)})
        shutil.chown(world.test.webroot, "root", "root")
        message = refused(world)
        assert f"may not write into {world.test.webroot}" in message
        assert "sudo = true" in message
        assert world.hosts["test"].calls() == [], "the site was not even in maintenance"
    finally:
        shutil.rmtree(stage)


@pytest.mark.parametrize("way", ["swap", pytest.param("in-place", marks=pytest.mark.whole)])
def test_a_stage_directory_on_another_filesystem(world: Any, way: str) -> None:
    shared = Path("/dev/shm")
    if os.stat(shared).st_dev == os.stat(world.base).st_dev:
        pytest.fail("the data dir is on the filesystem of /dev/shm")
    stage = shared / f"biso-e2e-{os.getpid()}"
    world.site(test={"stage_dir": str(stage)}, refresh={"strategy": way})
    try:
        if way == "swap":
            message = refused(world)
            assert "another filesystem" in message and "stage_dir" in message
            assert not stage.exists()
        else:  # nothing is renamed there
            world.refresh()
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def test_a_rollback_asks_as_well(plain_world: Any) -> None:
    world = plain_world
    world.refresh()
    shutil.rmtree(world.site_folder / ".biso")
    shutil.chown(world.test.webroot, "root", "root")
    before = world.test.state()
    ran = world.run("rollback", "--yes", "--json")
    assert ran.code == 3, str(ran)
    assert f"may not write into {world.test.webroot}" in ran.message
    assert world.test.state() == before
    assert world.test.get()[0] == 200
