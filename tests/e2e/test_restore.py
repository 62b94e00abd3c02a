"""A set put back, from end to end: into test and into production, whole and by area, from the host
that made it and without it; what is made of a damaged one; drills, baselines, refreshes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from set_world import (
    biso,
    contents,
    forget_sets,
    read_metadata,
    site,
    store_of,
    sums_pass,
)

from biso_tasks.demo.data import PLANTED

KEPT = (b"fop.xconf", b"phpdocxconfig.ini")


@dataclass(frozen=True)
class Kept:
    """Production's set, which tests put back and never change."""

    store: Path
    id: str

    @property
    def folder(self) -> Path:
        return self.store / "sets" / self.id


def _make(world: Any, *, ssh: bool) -> Kept:
    world.reset()
    store = site(world, ssh=ssh)
    return Kept(store, biso(world, "backup").json["set"])


@pytest.fixture(scope="module")
def remote(worlds: Callable[[Any], Any]) -> Iterator[Kept]:
    """Made over SSH by an ordinary user with the short list of sudo."""
    world = worlds("admin")
    kept = _make(world, ssh=True)
    yield kept
    shutil.rmtree(kept.store, ignore_errors=True)


@pytest.fixture(scope="module")
def near(worlds: Callable[[Any], Any]) -> Iterator[Kept]:
    """Made on this machine, as root."""
    world = worlds("admin")
    kept = _make(world, ssh=False)
    yield kept
    shutil.rmtree(kept.store, ignore_errors=True)


def same_code(world: Any) -> None:
    """Test's code is as old as production's, so that no migration changes what was restored."""
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


def webroot(instance: Any) -> dict[bytes, Any]:
    """Its code, without the times of folders that a data dir or a config.php came into."""
    found: dict[bytes, Any] = instance.state()["webroot"]
    return {path: entry for path, entry in found.items() if path != b"config.php"}


def require_set(world: Any, *, database: bool = True) -> None:
    """Test holds what production held when the set was made, and still holds."""
    prod, test = world.prod, world.test
    if database:
        theirs, ours = (one.cluster.fingerprint(one.dbname) for one in (prod, test))
        for what in theirs:
            assert ours[what] == theirs[what], what
        theirs, ours = (one.cluster.catalog(one.dbname) for one in (prod, test))
        for what in theirs:
            assert ours[what] == theirs[what], what
    wanted, found = prod.tree(), test.tree()
    assert set(found) == set(wanted)
    for path in set(wanted) - set(KEPT):
        assert found[path] == wanted[path], path
    assert webroot(test) == webroot(prod)


def _require_state(instance: Any, expected: dict[str, Any]) -> None:
    now = instance.state()
    for what in expected:
        assert now[what] == expected[what], what


@pytest.mark.parametrize("how", ["over SSH", pytest.param("plain", marks=pytest.mark.whole)])
def test_a_set_comes_into_test_as_it_was_and_rollback_takes_it_back(
    how: str, request: pytest.FixtureRequest
) -> None:
    if how == "plain":
        world = request.getfixturevalue("plain_world")
        forget_sets(world)
        site(world)
        name = biso(world, "backup").json["set"]
    else:
        name = request.getfixturevalue("remote").id
        world = request.getfixturevalue("world")
        site(world)
    config, old = world.test.config.read_bytes(), world.test.state()
    prod = world.prod.state()

    ran = biso(world, "restore", name, "--to", "test", "--yes")

    require_set(world)
    assert world.test.config.read_bytes() == config, "an existing target keeps its own"
    assert ran.json["source"] == name
    assert ran.json["previous"] == "biso_test__previous"
    assert 0 < ran.json["downtime_seconds"] < 3 * world.patience
    properties = world.test.cluster.properties(world.test.dbname)
    assert properties["owner"] == world.test.role
    assert world.test.get()[0] == 200
    assert world.prod.state() == prod
    assert not world.test.inodes() & world.prod.inodes()
    assert world.leftovers(previous=True) == []

    if how == "plain":
        forget_sets(world)
        return
    biso(world, "rollback", "--yes")
    _require_state(world.test, old)
    assert world.test.get()[0] == 200
    assert world.leftovers(previous=True) == []


def test_production_comes_back_only_when_its_name_is_given(near: Kept, world: Any) -> None:
    site(world, ssh=False)
    prod = world.prod
    good = prod.state()
    (prod.webroot / "index.php").write_text("<?php echo 'kaputt'; ?>")
    (prod.webroot / "neu.php").write_text("<?php")
    shutil.rmtree(prod.datadir / "brief_vorlagen")
    (prod.datadir / "fop.xconf").write_text("verstellt")
    prod.cluster.rows("DELETE FROM mailqueue; INSERT INTO params VALUES ('x', 'y', 'z')", "biso")
    bad = prod.state()

    for words in (["--yes"], ["--yes", "--confirm", "test"]):
        refused = biso(world, "restore", near.id, *words, code=3)
        assert "prod" in refused.message
        assert prod.state() == bad
    assert world.leftovers(previous=False) == []

    ran = biso(world, "restore", near.id, "--confirm", "prod")
    _require_state(prod, good)
    assert ran.json["previous"] == "biso__previous"
    assert prod.get()[0] == 200
    assert not (prod.datadir / "maintenance.on").exists()
    live = contents(prod.datadir)
    for path, entry in contents(near.folder / "data").items():
        assert live[path][1] == entry[1]
    assert not prod.inodes() & {
        (one.stat().st_dev, one.stat().st_ino) for one in near.folder.rglob("*") if one.is_file()
    }, "a set shares no file with what is live"

    biso(world, "rollback", "--env", "prod", "--yes", code=3)
    biso(world, "rollback", "--env", "prod", "--confirm", "prod")
    _require_state(prod, bad)
    assert sums_pass(near.folder)


@pytest.mark.parametrize("area", ["database", "data", "webroot"])
def test_one_area_alone_leaves_the_others(near: Kept, world: Any, area: str) -> None:
    site(world, ssh=False)
    same_code(world)
    # test's own database knows a migration that production's code lacks; production's does not
    to = world.prod if area == "webroot" else world.test
    if area == "webroot":
        (to.webroot / "index.php").write_text("<?php echo 'kaputt'; ?>")
        (to.webroot / "css/stil.css").unlink()
    before, prod, config = to.state(), world.prod.state(), contents(to.webroot)[b"config.php"]
    words = ["--confirm", "prod"] if area == "webroot" else ["--to", "test", "--yes"]

    ran = biso(world, "restore", near.id, "--only", area, *words)

    after = to.state()
    for what in ("database", "data", "webroot"):
        assert (after[what] != before[what]) == (what == area), what
    if area == "database":
        assert after["database"] == prod["database"]
        assert ran.json["previous"] == "biso_test__previous"
    elif area == "data":
        assert {path: after["data"][path] for path in prod["data"] if path not in KEPT} == {
            path: entry for path, entry in prod["data"].items() if path not in KEPT
        }
        assert ran.json["previous"].endswith("/previous")
    else:
        restored = contents(to.webroot)
        assert restored.pop(b"config.php") == config, "an existing target keeps its own"
        assert {**restored, b"config.php": 0} == {
            **contents(near.folder / "webroot"),
            b"config.php": 0,
        }
    assert to.get()[0] == 200

    back = ["--env", "prod", "--confirm", "prod"] if area == "webroot" else ["--yes"]
    biso(world, "rollback", *back)
    assert to.state() == before


def test_code_that_is_older_than_the_rows_that_stay_is_refused(near: Kept, world: Any) -> None:
    """And rows that are newer than the code that stays."""
    site(world, ssh=False)
    before = world.test.state()
    ran = biso(world, "restore", near.id, "--only", "webroot", "--to", "test", "--yes", code=3)
    assert "0004_termin_erinnerung" in ran.message
    assert world.test.state() == before

    for path in sorted((world.test.webroot / "migrations").glob("*.sql"))[2:]:
        path.unlink()
    world.test.cluster.rows("DELETE FROM migrations WHERE name > '0003'", world.test.dbname)
    before = world.test.state()
    ran = biso(world, "restore", near.id, "--only", "database", "--to", "test", "--yes", code=3)
    assert "0003_kostentraeger" in ran.message
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


def test_on_a_site_that_anonymises_a_restore_into_test_leaks_nothing(
    near: Kept, world: Any
) -> None:
    site(world, ssh=False, refresh={"anonymize": True})
    ran = biso(world, "restore", near.id, "--to", "test", "--yes")
    _require_harmless(world)
    assert ran.json["proof"]["values"] > 100 and not ran.json["proof"]["leaks"]
    assert world.leftovers(previous=True) == []
    for area in ("data", "webroot,data"):
        refused = biso(world, "restore", near.id, "--to", "test", "--only", area, "--yes", code=3)
        assert "the data dir alone cannot be anonymised" in refused.message


def _require_harmless(world: Any) -> None:
    dump = world.test.cluster.text(world.test.dbname)
    for one in PLANTED:
        assert one not in dump
    for path in world.test.datadir.rglob("*"):
        name = os.fsencode(path)
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            for one in PLANTED:
                assert one.encode() not in content, name
        for one in PLANTED[1:]:
            assert one.encode() not in name


def test_a_copy_is_restored_while_the_host_that_made_it_is_gone(remote: Kept, world: Any) -> None:
    same_code(world)
    prod, test = world.hosts["prod"], world.hosts["test"]
    copies = test.folder / "home/kopien"
    shutil.copytree(remote.store, copies, symlinks=True)
    for path in (copies, *copies.rglob("*")):
        shutil.chown(path, test.user, test.user) if not path.is_symlink() else None
    site(world)
    prod.stop()
    place = f"{test.alias}:{copies}"
    listed = biso(world, "list", "--from", place).json["sets"]
    made = {
        path.name for path in (remote.store / "sets").iterdir()
    }  # near's as well, if it ran first
    assert remote.id in made and {one["id"] for one in listed} == made

    one_set = f"{place}/sets/{remote.id}"
    biso(world, "restore", "latest", "--from", one_set, "--to", "test", "--yes")

    require_set(world)
    assert biso(world, "verify", "--from", place).json["findings"] == []
    shutil.rmtree(copies)
    prod.start()
    assert world.leftovers(previous=True) == []


def test_a_damaged_set_is_refused_by_all_and_is_no_longer_latest(near: Kept, world: Any) -> None:
    store = site(world, ssh=False)
    bad = biso(world, "backup").json["set"]
    assert os.readlink(store / "latest") == f"sets/{bad}"
    victim = store / "sets" / bad / "config/config.php"
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(content)
    before = world.test.state()

    for words in (
        ["restore", bad, "--to", "test", "--yes"],  # found by reading all of it
        ["restore", bad, "--to", "test", "--yes"],  # known by then
        ["refresh-test", "--source", bad, "--yes"],
        ["verify", "--set", bad, "--drill"],
    ):
        ran = biso(world, *words, code=4)
        assert bad in ran.message
    assert "config/config.php" in str(biso(world, "verify", "--set", bad, code=4).json["findings"])
    listed = {one["id"]: one["state"] for one in biso(world, "list").json["sets"]}
    assert listed[bad] == "damaged"
    assert os.readlink(store / "latest") == f"sets/{near.id}"
    assert biso(world, "show", "latest").json["set"] == near.id
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []
    shutil.rmtree(store / "sets" / bad)


def test_a_drill_leaves_nothing_and_marks_the_set(near: Kept, world: Any) -> None:
    site(world, ssh=False, refresh={"anonymize": "required"})
    before, prod = world.test.state(), world.prod.state()
    with world.visitor() as visitor:
        ran = biso(world, "verify", "--drill")
    assert ran.json["drilled"] is True and ran.json["findings"] == []
    assert {status for _, _, status, _ in visitor.answers} == {200}, "test serves all the while"
    assert (world.test.state(), world.prod.state()) == (before, prod)
    (one,) = biso(world, "list").json["sets"]
    assert one["state"] == "drilled" and one["drilled"]
    assert sums_pass(near.folder)
    assert world.leftovers(previous=False) == []


def test_a_refresh_from_the_latest_set_is_proven_and_leaves_no_dump_on_test(
    remote: Kept, world: Any
) -> None:
    """Test's machine cannot log in to production's: all goes through the laptop."""
    site(world, refresh={"anonymize": "required"})
    prod = world.hosts["prod"].calls()
    ran = biso(world, "refresh-test", "--source", "latest", "--yes")
    assert ran.json["source"] == remote.id
    assert "route relay" in ran.err
    assert ran.json["proof"]["values"] > 100 and not ran.json["proof"]["leaks"]
    _require_harmless(world)
    here = world.hosts["test"].folder / "home"
    dumps = [one for top in (here, world.test.place, world.tmp) for one in top.rglob("*.sql*")]
    assert [one for one in dumps if one.parent.name not in ("migrations", "lib")] == []
    assert world.hosts["prod"].calls() == prod
    assert world.test.get()[0] == 200
    assert world.leftovers(previous=True) == []


def test_a_test_instance_goes_back_to_its_baseline(world: Any) -> None:
    site(world, ssh=False, refresh={"anonymize": "required"})
    raw = biso(world, "baseline", "--name", "roh").json["set"]
    refused = biso(world, "reset-test", "--yes", code=3)
    assert raw in refused.message and "personal data" in refused.message

    site(world, ssh=False)
    before = world.test.state()
    world.test.cluster.rows("DELETE FROM bf_notiz; DELETE FROM mailqueue", world.test.dbname)
    shutil.rmtree(world.test.datadir / "brief_vorlagen")
    (world.test.datadir / "neu.txt").write_text("von Testern\n")
    ran = biso(world, "reset-test", "--name", "roh", "--yes")
    after = world.test.state()
    for what in ("database", "data", "webroot"):
        assert after[what] == before[what], what
    assert ran.json["source"] == raw
    assert world.test.get()[0] == 200
    # A copy of a database has its statistics: nobody waits for them to be made again.
    measured = "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'bf_notiz'"
    assert world.test.cluster.rows(measured, world.test.dbname) == [(True,)]
    never = "SELECT bool_and(last_analyze IS NULL) FROM pg_stat_user_tables"
    assert world.test.cluster.rows(never, world.test.dbname) == [(True,)]
    assert "no baseline" in biso(world, "reset-test", "--name", "x", "--yes", code=3).message
    assert biso(world, "list", "--env", "test").json["sets"] == [], "a baseline is no backup"
    again = biso(world, "baseline", "--name", "roh").json["set"]
    sets = store_of(world, ssh=False) / "baselines/sets"
    assert [path.name for path in sets.iterdir()] == [again], "one of a name is kept"
    shutil.rmtree(sets.parent)


def test_archives_and_the_log_database_come_back(world: Any) -> None:
    world.with_log_database()
    same_code(world)
    plugins = str(Path(__file__).parents[2] / "plugins")
    site(world, ssh=False, backup={"format": "custom"}, site={"plugins": [plugins]})
    made = biso(world, "backup").json
    stamp = made["set"].partition("-")[0]
    names = {path.name for path in (Path(made["path"]) / "db").iterdir()}
    assert {f"biso_{stamp}.dump", f"biso_log_{stamp}.dump"} <= names
    old = world.test.cluster.fingerprint("biso_log")

    biso(world, "restore", made["set"], "--to", "test", "--yes")

    require_set(world)
    theirs, ours = (one.cluster.fingerprint("biso_log") for one in (world.prod, world.test))
    assert ours == theirs != old
    assert world.test.cluster.fingerprint("biso_log__previous") == old
    assert world.leftovers(previous=True) == []
    shutil.rmtree(made["path"])


def test_an_instance_whose_data_dir_lies_in_its_webroot_comes_back(world: Any) -> None:
    """It is captured and exchanged by itself; a directory dump is loaded by parallel jobs."""
    site(world, ssh=False, backup={"format": "directory"})
    test = world.test
    assert test.datadir.parent == test.webroot
    good = test.state()
    made = biso(world, "backup", "--env", "test").json
    folder = Path(made["path"])
    stamp = made["set"].partition("-")[0]
    assert (folder / f"db/biso_{stamp}.dir").is_dir()
    recorded = set(read_metadata(folder))
    assert not {path for path in recorded if path.startswith(b"webroot/data")}
    assert b"webroot/phpdocx/lib/data/LIESMICH.txt" in recorded
    (test.webroot / "neu.php").write_text("<?php")
    (test.datadir / "fop.xconf").unlink()
    test.cluster.rows("DELETE FROM mailqueue", test.dbname)
    bad = test.state()

    biso(world, "restore", made["set"], "--yes")

    _require_state(test, good)
    for expected in (bad, good):
        biso(world, "rollback", "--yes")
        _require_state(test, expected)
    assert world.leftovers(previous=True) == []
    shutil.rmtree(folder)
