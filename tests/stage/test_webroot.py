"""The webroot of a restore: from a set's tree to what is served, with nothing of ours in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stage_world import World

from biso_tasks.errors import Refused, StepFailed
from biso_tasks.files.places import require_renamable
from biso_tasks.instance.config_php import read_facts
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.mounts import real_path
from biso_tasks.stage.build import build_webroot_from, open_stage
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.exchange import require_exchangeable
from biso_tasks.stage.intent import make_intent
from biso_tasks.stage.lost import put_webroot_back
from biso_tasks.stage.model import Stage, access, staged
from biso_tasks.stage.webroot import finish_webroot, wrap_config

Build = Callable[..., World]

pytestmark = pytest.mark.needs("php (machine)")

LIVE = """<?php
Config::set('env', 'dev');
Config::set('datadir', '%s');
Config::set('gaia.db', ['host' => 'h', 'dbname' => 'biso_test', 'user' => 'u', 'password' => 'p']);
return 1;
"""
PRODUCTION = "<?php Config::set('env', 'PROD'); Config::set('datadir', '/srv/production');\n"


def prepared(world: World, *, link: str = "") -> tuple[Instance, Stage]:
    """A live instance with a real config.php, and an open stage with a set's tree in it."""
    config = world.webroot / "config.php"
    config.write_text(LIVE % (link or world.datadir))
    config.chmod(0o640)
    os.utime(config, (1_700_000_000, 1_700_000_000))
    placed = world.read_with(link or str(world.datadir))
    instance = replace(placed, facts=read_facts(placed.app, placed.environment))
    stage = Stage(instance, "r", staged(instance, areas=("webroot",)), areas=frozenset({"webroot"}))
    open_stage(replace(stage, databases=()))
    tree = Path(stage.webroot)
    tree.mkdir()
    (tree / "index.php").write_text("<?php // of the set")
    (tree / "config.php").write_text(PRODUCTION)
    return instance, stage


def test_the_targets_own_config_php_is_wrapped_and_comes_back_as_it_was(world: Build) -> None:
    one = world(inside=True)
    _, stage = prepared(one)
    facts = build_webroot_from(stage, ("biso_test",))
    assert facts.env == "dev"
    assert facts.database.dbname == "biso_test__stage"
    wrap_config(stage)
    assert "PROD" not in "".join(path.read_text() for path in Path(stage.webroot).glob("config*"))
    finish_webroot(stage)
    finish_webroot(stage)
    live, staged_one = one.webroot / "config.php", Path(stage.webroot) / "config.php"
    assert staged_one.read_bytes() == live.read_bytes()
    assert (staged_one.stat().st_mode, staged_one.stat().st_mtime_ns) == (
        live.stat().st_mode,
        live.stat().st_mtime_ns,
    )
    found = {str(path.relative_to(stage.webroot)) for path in Path(stage.webroot).rglob("*")}
    assert found == {"index.php", "config.php", "var"}


def test_a_config_php_that_is_a_link_within_the_webroot_brings_what_it_leads_to(
    world: Build,
) -> None:
    one = world(inside=True)
    _, stage = prepared(one)
    (one.webroot / "etc").mkdir()
    (one.webroot / "config.php").rename(one.webroot / "etc/local.php")
    (one.webroot / "config.php").symlink_to("etc/local.php")
    (Path(stage.webroot) / "etc").mkdir()
    (Path(stage.webroot) / "etc/local.php").write_text(PRODUCTION)
    assert build_webroot_from(stage, ("biso_test",)).env == "dev"
    finish_webroot(stage)
    assert (Path(stage.webroot) / "config.php").readlink() == Path("etc/local.php")


def test_a_bare_target_takes_the_sets_config_php_and_without_any_it_is_refused(
    world: Build,
) -> None:
    one = world(inside=True)
    _, stage = prepared(one)
    (one.webroot / "config.php").unlink()
    tree = Path(stage.webroot)
    (tree / "config.php").write_text(LIVE % one.datadir)
    assert build_webroot_from(stage, ("biso_test",)).env == "dev"
    finish_webroot(stage)
    assert (tree / "config.php").read_text() == LIVE % one.datadir
    (tree / "config.php").unlink()
    with pytest.raises(Refused, match=r"neither .* nor the webroot of the set"):
        build_webroot_from(stage, ("biso_test",))
    with pytest.raises(StepFailed, match=r"no .*config\.php"):
        finish_webroot(stage)


def test_a_folder_of_the_set_in_the_data_dirs_place_is_refused_and_an_empty_one_is_not(
    world: Build,
) -> None:
    one = world(inside=True)
    instance, stage = prepared(one)
    place = Path(stage.webroot) / "var/data"
    place.mkdir(parents=True)
    build_webroot_from(stage, ("biso_test",))
    (place / "x").touch()
    with pytest.raises(Refused, match="is in the way"):
        build_webroot_from(stage, ("biso_test",))
    with pytest.raises(Refused, match="is in the way"):
        make_intent(
            instance, [], run="r", rollback=False, services=(), in_maintenance=False,
            document={}, statements={}, areas=("webroot",),
        )  # fmt: skip


def test_a_link_in_the_webroot_to_the_data_dir_is_the_targets_own(world: Build) -> None:
    one = world(inside=False)
    (one.webroot / "data").symlink_to("../../srv/data")
    _, stage = prepared(one, link=str(one.webroot / "data"))
    link = Path(stage.webroot) / "data"
    link.symlink_to("/srv/production")
    build_webroot_from(stage, ("biso_test",))
    finish_webroot(stage)
    assert str(link.readlink()) == "../../srv/data"
    link.unlink()
    (link / "x").mkdir(parents=True)
    with pytest.raises(Refused, match="holds a folder in its place"):
        build_webroot_from(stage, ("biso_test",))


def test_nothing_comes_in_where_nothing_stands(world: Build) -> None:
    """The live webroot would go away, and nothing take its place."""
    one = world(inside=True)
    (one.stage_dir / "stage/webroot").rename(one.stage_dir / "stage/gone")
    before = one.picture()
    with pytest.raises(StepFailed, match=r"no .*stage/webroot to take the place"):
        one.swap(("webroot",))
    assert one.picture() == before


def test_what_an_older_swap_kept_of_other_areas_goes_with_the_next_stage(world: Build) -> None:
    one = world(inside=True)
    instance = one.read()
    instance.state.write("instance", {"previous": {"run": "r", "areas": ["data"]}})
    discard_stage(instance, [])
    assert set(one.picture()) == {"live webroot", "live data", "previous data"}
    instance.state.write("instance", {"previous": {"run": "r", "areas": ["webroot"]}})
    discard_stage(instance, [])
    assert set(one.picture()) == {"live webroot", "live data"}


def test_a_webroot_on_another_filesystem_than_the_stage_is_refused_while_planning(
    world: Build,
) -> None:
    one = world(inside=False)
    instance = one.read()
    require_exchangeable(instance, ("webroot",))
    elsewhere = replace(instance.layout, stage_dir="/dev/shm/.stage")
    with pytest.raises(Refused, match="different filesystems") as refused:
        require_exchangeable(replace(instance, layout=elsewhere), ("webroot",))
    assert "stage_dir" in refused.value.hint
    require_exchangeable(replace(instance, layout=elsewhere), ("data", "database"))
    for mount in ("/dev/shm", "/dev"):
        with pytest.raises(Refused, match="is a mount point"):
            require_renamable(access(instance), mount, "/dev/x", what="webroot")


def test_a_webroot_inside_its_data_dir_is_refused(world: Build) -> None:
    one = world(inside=False)
    instance = one.read()
    layout = replace(instance.layout, datadir=str(one.webroot.parent))
    with pytest.raises(Refused, match="lies inside the data dir"):
        require_exchangeable(replace(instance, layout=layout), ("webroot",))


def test_a_webroot_that_is_away_without_any_swap_is_left_to_whoever_knows(world: Build) -> None:
    one = world(inside=True)
    one.webroot.rename(one.webroot.with_name("elsewhere"))
    assert real_path(one.host, str(one.webroot)) == str(one.webroot)
    assert put_webroot_back(one.host, one.environment, {}) is False
    assert not one.webroot.exists()
