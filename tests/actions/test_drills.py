"""What `verify` says of sets, drilled or read, one or all: to a person by its exit code, to a
script by `findings` and `drilled`, whatever happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

BROKEN = "config/config.php"
NONE = {"set_": "", "all_": False, "drill": False, "on": "", "from_": ""}


def verify(world: Restored, code: int = 0, **arguments: Any) -> dict[str, Any]:
    document = world.run("verify", code, **{**NONE, **arguments})
    assert {"sets", "findings", "drilled"} <= set(document), document
    return document


@contextmanager
def harmed(folder: Path) -> Iterator[None]:
    """While inside, one file of the set is not what was sealed, and afterwards nobody knows."""
    file, state = folder / BROKEN, folder / "state.toml"
    content, before, times = file.read_bytes(), state.read_bytes(), file.stat()
    file.write_bytes(content + b"\n")
    try:
        yield
    finally:
        file.write_bytes(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        state.write_bytes(before)


def test_a_drill_of_a_damaged_set_says_what_is_wrong_the_second_time_too(world: Restored) -> None:
    with harmed(world.set_folder):
        for how in ({"drill": True}, {"drill": True}, {}):
            said = verify(world, 4, set_=world.id, **how)
            assert said["drilled"] is False and said["sets"] == [world.id]
            assert said["error"]["kind"] == "proof" and world.id in said["error"]["message"]
            assert {one["set"] for one in said["findings"]} == {world.id}
            assert BROKEN in str(said["findings"])
        (line,) = [one for one in said["findings"] if one["path"] == BROKEN]
        assert line["kind"] == "changed" and line["text"]


def test_documents_that_cannot_be_read_are_a_finding_of_a_drill(world: Restored) -> None:
    file = world.set_folder / "manifest.toml"
    before, state = file.read_bytes(), (world.set_folder / "state.toml").read_bytes()
    file.write_bytes(b"x" + before)
    try:
        for how in ({"drill": True}, {"drill": True, "all_": True, "set_": ""}):
            said = verify(world, 4, **{"set_": world.id, **how})
            (line,) = said["findings"]
            assert (line["kind"], line["set"]) == ("document", world.id)
            assert "manifest.toml" in line["text"]
    finally:
        file.write_bytes(before)
        (world.set_folder / "state.toml").write_bytes(state)


def test_what_a_plugin_finds_in_the_stage_is_a_finding_of_the_drill(world: Restored) -> None:
    folder = world.built.root / "more"
    folder.mkdir()
    (folder / "picky.py").write_text(
        "from biso_tasks.api import Finding, hookimpl\n"
        "@hookimpl\ndef biso_verify(stage):\n"
        '    return [Finding(False, "letters", "none can be printed")]\n'
    )
    file = world.built.root / "biso.toml"
    file.write_text(file.read_text().replace('plugins = ["plugins"]', 'plugins = ["more"]'))
    try:
        said = verify(world, 4, drill=True)
        (listed,) = world.run("list", env="", from_="")["sets"]
    finally:
        shutil.rmtree(folder)
    (line,) = said["findings"]
    assert (line["kind"], line["set"], said["drilled"]) == ("drill", world.id, False)
    assert "letters: none can be printed" in line["text"]
    assert listed["state"] == "good", "the set itself is what was sealed"


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, {"set_": "latest", "all_": True}),
        (3, {"set_": "20200101_000000-prod"}),
        (3, {"set_": "20200101_000000-prod", "drill": True}),
        (3, {"drill": True, "on": "prod"}),
    ],
)
def test_what_never_began_has_the_keys_as_well(
    world: Restored, code: int, arguments: dict[str, Any]
) -> None:
    document = world.run("verify", code, **{**NONE, **arguments, "confirm": None})
    assert (document["findings"], document["drilled"]) == ([], False)


@pytest.fixture
def several(world: Restored) -> Iterator[list[str]]:
    """Three sets: the first one whole, then one of the data dir alone, then a whole one."""
    before = (world.set_folder / "state.toml").read_bytes()
    more = [
        world.run("backup", env="", only=only, no_maintenance=True)["set"] for only in ("data", "")
    ]
    yield [world.id, *more]
    for id in more:
        shutil.rmtree(world.set_folder.parent / id)
    (world.set_folder / "state.toml").write_bytes(before)


def test_all_sets_are_drilled_each_in_a_run_of_its_own_and_one_that_fails_stops_none(
    world: Restored, several: list[str]
) -> None:
    first, data, last = several
    plan = verify(world, all_=True, drill=True, plan=True)
    assert [one["uses"] for one in plan["plan"]].count("set-drilled") == 3
    assert (plan["sets"], plan["drilled"]) == (several, False)

    with harmed(world.set_folder):
        said = verify(world, 4, all_=True, drill=True)
        states = {one["id"]: one["state"] for one in world.run("list", env="", from_="")["sets"]}

    assert states == {first: "damaged", data: "drilled", last: "drilled"}
    assert [(one["set"], one["exit_code"], one["drilled"]) for one in said["runs"]] == [
        (first, 4, False), (data, 0, True), (last, 0, True),
    ]  # fmt: skip
    assert {(one["set"], one["path"]) for one in said["findings"]} == {(first, BROKEN)}
    assert said["drilled"] is False
    assert "1 of 3 drills failed" in said["error"]["message"] and first in said["error"]["message"]
    known = {one["run"]: one["status"] for one in world.run("runs", number="20")["runs"]}
    ends = [known[one["run"]] for one in said["runs"]]
    assert ends == ["failed", "ok", "ok"] and len({one["run"] for one in said["runs"]}) == 3
    databases = world.test.psql("SELECT datname FROM pg_database", dbname="postgres")
    assert "__stage" not in databases

    said = verify(world, all_=True, drill=True)
    assert said["drilled"] is True and said["findings"] == []
