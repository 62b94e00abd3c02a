"""A restore onto a bare second host and its cluster, over SSH, by a login with a short list of
sudo: all that the set holds is there afterwards, to the owner; what fails leaves nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from set_world import biso, forget_sets, site

OWN = (b"config.php", b"config.biso-set.php")


def neu(world: Any, more: str = "") -> str:
    """The environment: on test's host and cluster, in folders that are not there."""
    machine, cluster = world.hosts["test"], world.test.cluster
    return f"""
[environments.neu]
role = "production"
ssh = "{machine.alias}"
webroot = "{world.base}/www/neu/webroot"
datadir = "{world.base}/www/neu/daten"
run_as = "www-data"
owner = "www-data:www-data"
sudo = true
[environments.neu.services]
kind = "systemd"
stop = ["biso-cron", "biso-queue"]
[environments.neu.database]
port = {cluster.port}
admin = {{ user = "postgres", run_as = "postgres" }}
{more}
"""


@pytest.fixture(scope="module", autouse=True)
def own_set(worlds: Any) -> None:
    """The set that both tests restore is made by the first, of the world's first state."""
    forget_sets(worlds("admin"))


@pytest.fixture
def bare(world: Any) -> Iterator[Any]:
    store = site(world, text=neu(world))
    if not list(store.glob("sets/2*")):
        biso(world, "backup")
    yield world
    shutil.rmtree(world.base / "www/neu", ignore_errors=True)
    cluster = world.test.cluster
    for name in ("biso", "biso__stage", "biso__previous"):
        cluster.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    for role in ("biso", "nur_prod"):
        cluster.rows(f"DROP ROLE IF EXISTS {role}")


def roles(world: Any) -> set[str]:
    return {row[0] for row in world.test.cluster.rows("SELECT rolname FROM pg_roles")}


def restore(world: Any, *more: str, code: int = 0) -> Any:
    words = ("restore", "latest", "--to", "neu", "--confirm", "neu", "--yes", *more)
    return biso(world, *words, code=code)


def test_a_bare_second_host_gets_all_that_the_set_holds(bare: Any) -> None:
    prod, cluster = bare.prod, bare.test.cluster
    before = prod.state()
    units = bare.hosts["test"].systemctl

    ran = restore(bare)

    home = bare.base / "www/neu"
    assert cluster.fingerprint("biso") == before["database"]
    assert cluster.catalog("biso") == prod.cluster.catalog("biso")
    after, was = cluster.properties("biso"), before["properties"]
    for key in ("owner", "limit", "allow"):
        assert after[key] == was[key]
    assert set(was["settings"]) <= set(after["settings"])
    assert prod.tree(home / "daten") == before["data"]
    code = prod.tree(home / "webroot")
    assert {name: entry for name, entry in code.items() if name not in OWN} == {
        name: entry for name, entry in before["webroot"].items() if name not in OWN
    }
    # by owner and mode: a wrapper holds the password as well
    assert code[OWN[0]][:4] == code[OWN[1]][:4] == before["webroot"][b"config.php"][:4]
    assert "nur_prod" in roles(bare)
    assert ran.json["previous"] is None
    assert not (home / "daten/maintenance.on").exists()
    assert (units("is-active", "biso-cron"), units("is-active", "biso-queue")) == (
        "active", "inactive"
    )  # fmt: skip
    assert "start it, `systemctl start -- biso-queue`" in ran.err
    assert "biso__previous" not in cluster.databases()
    done = subprocess.run(
        ["php", "biso-cli", "migration", "list"],
        cwd=home / "webroot", user="www-data", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout


def test_what_fails_there_leaves_no_role_no_database_and_no_folder(bare: Any) -> None:
    """The set's code cannot even list its migrations there."""
    before, names = roles(bare), bare.test.cluster.databases()
    broken = 'biso_cli = ["false"]'
    site(bare, text=neu(bare).replace("sudo = true", f"sudo = true\n{broken}"))

    ran = restore(bare, code=1)

    assert {step["name"]: step["status"] for step in ran.json["steps"]}["furnish"] == "undone"
    assert roles(bare) == before
    assert bare.test.cluster.databases() == names
    assert not (bare.base / "www/neu").exists()


def test_a_part_that_is_gone_there_comes_back_by_itself(bare: Any) -> None:
    """Webroot, data dir and database one after the other, each by root for an ordinary login."""
    site(bare, text=neu(bare).replace("admin =", 'dbname = "biso"\nadmin ='))
    prod, cluster, home = bare.prod, bare.test.cluster, bare.base / "www/neu"
    restore(bare)
    code, data = prod.tree(home / "webroot"), prod.tree(home / "daten")
    rows, held = cluster.fingerprint("biso"), (home / "daten").stat().st_ino

    shutil.rmtree(home / "webroot")
    restore(bare, "--only", "webroot")
    assert prod.tree(home / "webroot") == code
    assert (home / "daten").stat().st_ino == held

    shutil.rmtree(home / "daten")
    restore(bare, "--only", "data")
    cluster.rows("DROP DATABASE biso WITH (FORCE)")
    ran = restore(bare, "--only", "database")

    assert ran.json["previous"] is None
    assert prod.tree(home / "daten") == data
    assert cluster.fingerprint("biso") == rows
    assert cluster.properties("biso")["owner"] == "biso"
    assert not (home / "daten/maintenance.on").exists()
    done = subprocess.run(
        ["php", "biso-cli", "migration", "list"],
        cwd=home / "webroot", user="www-data", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout
