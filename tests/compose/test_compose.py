"""A refresh whose target runs in Docker compose: paths, users and a network of its own."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs(
        "root", "postgresql (machine)", "php (machine)", "rsync", "setpriv", "namespaces"
    ),
]

WWW = 1082
CASES = "SELECT count(*) FROM beratungsfall"


def _databases(world: Any) -> list[str]:
    text = (
        "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE datname ~ 'biso'"
    )
    return str(world.sql(text)).split(",")


def test_a_refresh_and_its_rollback_work_through_paths_and_users_that_only_the_container_has(
    world: Any,
) -> None:
    old_page, old_inode = world.page(), world.datadir.stat().st_ino
    old_names = sorted(path.name for path in world.datadir.iterdir())

    done = world.biso("refresh-test", "--yes")

    assert done["ok"]
    assert done["proof"]["leaks"] == []
    assert done["downtime_seconds"] < 10  # each call of the stand-in starts a Python or two
    assert world.sql(CASES) == world.prod.psql(CASES)
    assert world.page() != old_page
    assert "Beratungsfälle" in world.page()
    assert sorted(world.running()) == ["db", "queue", "web83"]  # cron did not run before
    assert not (world.datadir / "maintenance.on").exists()
    for path in (world.datadir, world.datadir / "tmp", world.datadir / "brief_vorlagen"):
        assert (path.stat().st_uid, path.stat().st_gid) == (WWW, WWW), path
    # the running containers have the new directory, not the one that was renamed under them
    world.docker("exec", "-T", "-u", "www-data", "queue", "touch", "/data/tmp/new")
    assert (world.datadir / "tmp/new").exists()
    assert world.datadir.stat().st_ino != old_inode
    assert _databases(world) == ["biso_test", "biso_test__previous"]
    assert stat.S_IMODE(world.stage_dir.stat().st_mode) == 0o700
    assert not (world.stage_dir / "stage").exists()

    staged = [run for run in world.runs() if "migration" in run["command"]]
    assert staged
    for run in staged:
        assert {mount["target"] for mount in run["volumes"]} >= {
            "/biso-stage/webroot",
            "/biso-stage/data",
        }

    back = world.biso("rollback", "--yes")

    assert back["ok"]
    assert world.page() == old_page
    assert world.datadir.stat().st_ino == old_inode
    assert sorted(path.name for path in world.datadir.iterdir()) == old_names
    assert sorted(world.running()) == ["db", "queue", "web83"]


def test_a_web_service_that_was_stopped_stays_stopped_and_php_runs_in_a_container_of_its_own(
    world: Any,
) -> None:
    world.docker("stop", "web83")
    world.environment.pop("url")
    world.write()

    assert world.biso("refresh-test", "--yes")["ok"]

    assert sorted(world.running()) == ["db", "queue"]
    assert world.sql(CASES) == world.prod.psql(CASES)
    assert not (world.datadir / "maintenance.on").exists()


@pytest.mark.parametrize("moves", [1, 2])
def test_recover_ends_a_swap_that_was_killed_between_the_renames(world: Any, moves: int) -> None:
    """After the first rename nothing stands at the live path, and the engine makes an empty folder
    there, as root, as soon as a container that mounts it is started."""
    old_page, old_inode = world.page(), world.datadir.stat().st_ino

    world.killed(moves)

    assert world.datadir.exists() == (moves == 2)
    assert world.running() == ["db"]
    assert (world.stage_dir / "intent.json").exists()

    done = world.biso("recover")

    assert done["ok"]
    assert world.page() == old_page
    assert world.datadir.stat().st_ino == old_inode
    assert sorted(world.running()) == ["db", "queue", "web83"]
    assert _databases(world) == ["biso_test"]
    assert not (world.stage_dir / "intent.json").exists()
    assert not (world.stage_dir / "stage").exists()


def _unknown_web(world: Any) -> str:
    world.services["web"] = "web82"
    return "there is no compose service 'web82' (there are: cron, db, queue, web83)"


def _unknown_in_stop(world: Any) -> str:
    world.services["stop"] = ["cronn", "queue", "web83"]
    return "there is no compose service 'cronn'"


def _database_in_stop(world: Any) -> str:
    world.services["stop"] = ["cron", "queue", "web83", "db"]
    return "services.stop holds 'db'"


def _queue_goes_on(world: Any) -> str:
    world.services["stop"] = ["web83"]
    return "the running service 'queue' mounts"


def _web_goes_on(world: Any) -> str:
    world.services["stop"] = ["cron", "queue"]
    return "the running service 'web83' mounts"


def _data_in_the_image(world: Any) -> str:
    config = world.webroot / "config.php"
    config.write_text(config.read_text().replace("'/data'", "'/opt/biso/data'"))
    return "/opt/biso/data on the container is not bind-mounted"


def _data_in_a_named_volume(world: Any) -> str:
    world.model["services"]["web83"]["volumes"] = ["../code/html:/var/www/html", "files:/data"]
    return "/data on the container is not bind-mounted"


def _webroot_not_mounted(world: Any) -> str:
    world.model["services"]["web83"]["volumes"] = ["../files/data:/data"]
    return "/srv/code/html on the host is not bind-mounted"


@pytest.mark.parametrize(
    "change",
    [
        _unknown_web,
        _unknown_in_stop,
        _database_in_stop,
        _queue_goes_on,
        _web_goes_on,
        _data_in_the_image,
        _data_in_a_named_volume,
        _webroot_not_mounted,
    ],
    ids=lambda change: change.__name__.lstrip("_"),
)
def test_a_site_that_cannot_be_swapped_in_compose_is_refused_before_anything_is_touched(
    still: Any, change: Callable[[Any], str]
) -> None:
    expected = change(still)
    still.write()

    done = still.biso("refresh-test", "--yes", code=3)

    assert expected in done["error"]["message"]
    assert done["error"]["hint"]


def test_a_value_that_config_php_derives_from_the_live_path_inside_is_refused(still: Any) -> None:
    config = still.webroot / "config.php"
    derived = "Config::set('vorlagen', '/data/brief_vorlagen');\n"
    config.write_text(config.read_text() + derived)

    done = still.biso("refresh-test", "--yes", code=3)

    assert "'vorlagen' holds the live path /data" in done["error"]["message"]
    assert not (still.stage_dir / "stage").exists()


def test_a_running_container_keeps_the_old_directory_until_it_starts_again(world: Any) -> None:
    """The trap behind the refusal above, with the stand-in alone."""
    aside = world.datadir.with_name("aside")
    world.datadir.rename(aside)
    world.datadir.mkdir()
    (world.datadir / "new").touch()

    assert "fop.xconf" in world.docker("exec", "-T", "queue", "ls", "/data")
    world.docker("stop", "queue")
    world.docker("start", "queue")
    assert world.docker("exec", "-T", "queue", "ls", "/data").split() == ["new"]


def test_the_stand_in_hides_the_host_and_publishes_no_port(still: Any) -> None:
    seen = still.docker("exec", "-T", "web83", "ls", "/").split()
    assert "data" in seen
    assert not {"srv", "work", "home", "root"} & set(seen)
    assert still.docker("exec", "-T", "web83", "id", "-u").strip() == str(WWW)
    address = still.docker("exec", "-T", "web83", "getent", "hosts", "db").split()[0]
    assert still.docker("exec", "-T", "web83", "pg_isready", "-h", "db")
    # not a bare connect: a sandbox may answer for every address
    asked = subprocess.run(["pg_isready", "-h", address, "-t", "2"], env=still.environ, check=False)
    assert asked.returncode == 2


def test_doctor_finds_nothing_wrong_with_a_site_that_can_be_refreshed(still: Any) -> None:
    done = still.biso("doctor")

    bad = [check for check in done["checks"] if not check["ok"]]
    assert bad == []
