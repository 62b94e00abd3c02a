"""`restore` onto a host that has nothing of the instance."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored, fingerprint_of, names_of, tree

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

FAILS = """
[[recipes.restore.insert]]
after = "migrate"
name = "fails"
on = "prod"
run = ["false"]
"""


def second(world: Restored, more: str = "") -> str:
    """A bare production on test's server, under names of its own, in folders that are not there."""
    cluster = world.test.cluster
    return f"""
[environments.neu]
role = "production"
webroot = "{world.built.root}/neu/www/bi so"
datadir = "{world.built.root}/neu/srv/Daten"
php = ["./.biso/demo/bin/php"]
biso_cli = ["./.biso/demo/bin/php", "biso-cli"]
[environments.neu.database]
host = "{cluster.socket_dir}"
port = {cluster.port}
dbname = "biso neu"
user = "bi so"
{more}
"""


ADMIN = 'admin = { user = "postgres" }'


def what_is_there(world: Restored) -> dict[str, Any]:
    """Production as a restore must give it back."""
    return {
        "main": fingerprint_of(world.prod, "biso"),
        "log": fingerprint_of(world.prod, "biso_log"),
        "data": tree(world.prod.datadir),
        "webroot": tree(world.prod.webroot),
        "settings": world.prod.psql("SELECT setting FROM pg_settings WHERE name = 'TimeZone'"),
        "access": world.prod.psql(
            "SELECT has_database_privilege('biso_statistik', 'biso', 'CONNECT'), "
            "has_table_privilege('biso_statistik', 'v_offene_faelle', 'SELECT')"
        ),
    }


def test_a_bare_host_gets_all_back_and_keeps_no_previous_instance(world: Restored) -> None:
    before = what_is_there(world)
    assert (before["settings"], before["access"]) == ("Europe/Zurich", "t|t")
    world.make_bare()
    databases, roles = names_of(world.prod)

    document = world.restore()

    assert what_is_there(world) == before
    assert document["source"] == world.id
    assert document["previous"] is None
    assert not (world.prod.datadir / "maintenance.on").exists()
    assert names_of(world.prod) == (databases | {"biso", "biso_log"}, roles)
    assert {path.name for path in world.stage_dir.iterdir()} <= {"instance.json", ".htaccess"}
    refused = world.run("rollback", 3, env="prod", confirm="prod")["error"]["message"]
    assert "no previous instance to go back to" in refused


def test_on_another_server_role_and_databases_are_made_as_biso_toml_says(world: Restored) -> None:
    """The set's config.php says otherwise: what is installed must lead there all the same, and the
    password is in no log, whatever the server logs."""
    before = what_is_there(world)
    log = world.test.cluster.directory / "postgres.log"
    world.test.psql("ALTER SYSTEM SET log_statement = 'all'")
    world.test.psql("SELECT pg_reload_conf()")
    world.test.psql("DROP DATABASE IF EXISTS biso_log WITH (FORCE)", dbname="postgres")
    world.write(second(world, ADMIN))
    home = world.built.root / "neu"

    document = world.restore(to="neu", confirm="neu")

    try:
        assert fingerprint_of(world.test, "biso neu") == before["main"]
        assert fingerprint_of(world.test, "biso_log") == before["log"]
        assert tree(home / "srv/Daten") == before["data"]
        own = ("config.php", "config.biso-set.php")
        assert tree(home / "www/bi so", own) == {
            name: entry for name, entry in before["webroot"].items() if name not in own
        }
        assert (home / "www/bi so/config.biso-set.php").read_bytes() == (
            world.prod.webroot / "config.php"
        ).read_bytes()
        steps = [step["name"] for step in document["steps"]]
        assert steps.index("open-set") < steps.index("furnish") < steps.index("stage-data")
        config = (world.prod.webroot / "config.php").read_text()
        word = re.search(r"@/([\w-]{10,})'", config)
        assert word is not None
        logged = log.read_text("utf-8", "replace")
        assert "SCRAM-SHA-256$" in logged
        assert word[1] not in logged
        # An instance as any other: its config.php survives a restore, with what it requires.
        world.restore(to="neu", confirm="neu")
        assert fingerprint_of(world.test, "biso neu") == before["main"]
    finally:
        for dbname in ("biso neu", "biso neu__previous", "biso_log", "biso_log__previous"):
            world.test.psql(f'DROP DATABASE IF EXISTS "{dbname}" WITH (FORCE)', dbname="postgres")
        world.test.psql('DROP ROLE IF EXISTS "bi so"', dbname="postgres")
        world.test.psql('DROP ROLE IF EXISTS "biso"', dbname="postgres")
        shutil.rmtree(home)


def test_what_fails_in_the_middle_leaves_the_host_as_bare_as_it_was(world: Restored) -> None:
    world.test.psql("DROP DATABASE IF EXISTS biso_log WITH (FORCE)", dbname="postgres")
    world.write(second(world, ADMIN) + FAILS.replace('"prod"', '"neu"'))
    before = names_of(world.test)

    document = world.restore(1, to="neu", confirm="neu")

    assert document["error"]["kind"] == "failed"
    assert {s["name"]: s["status"] for s in document["steps"]}["furnish"] == "undone"
    assert names_of(world.test) == before
    assert not (world.built.root / "neu").exists()


def test_a_killed_restore_is_taken_back_by_recover(world: Restored) -> None:
    """Killed while the stage is filled: until then nobody can restore over what it left."""
    world.test.psql("DROP DATABASE IF EXISTS biso_log WITH (FORCE)", dbname="postgres")
    kills = FAILS.replace('["false"]', '["bash", "-c", "kill -9 $PPID"]')
    world.write(second(world, ADMIN) + kills.replace('"prod"', '"neu"'))
    before = names_of(world.test)
    home = world.built.root / "neu"
    words = [sys.executable, "-m", "biso_tasks.cli.main", "restore", world.id, "--to", "neu"]
    done = subprocess.run([*words, "--confirm", "neu", "--yes"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    world.write(second(world, ADMIN))
    assert (home / "www/bi so/config.php").exists()
    assert "run `biso recover --env neu`" in world.refused(to="neu", confirm="neu")

    try:
        told = world.run("recover", env="neu")["environments"][0]["done"]
        # Whose role that is, the document alone may not say.
        assert any("roles of the set, biso;" in line for line in told)
    finally:
        world.test.psql('DROP ROLE IF EXISTS "biso"', dbname="postgres")
    assert names_of(world.test) == before
    assert not home.exists()


def test_nothing_is_changed_while_it_is_planned(world: Restored) -> None:
    world.write(second(world, ADMIN))
    world.test.psql("DROP DATABASE IF EXISTS biso_log WITH (FORCE)", dbname="postgres")
    before = names_of(world.test)

    document = world.restore(to="neu", confirm="neu", plan=True)

    (furnish,) = [step for step in document["plan"] if step["name"] == "furnish"]
    said = " ".join(furnish["changes"])
    for part in ("'bi so', with the password", "'biso neu', empty", "srv/Daten", "www/bi so"):
        assert part in said
    assert names_of(world.test) == before
    assert not (world.built.root / "neu").exists()
    assert not passwords_of(world)


def passwords_of(world: Restored) -> list[Path]:
    """Files in memory that name this world's server; other tests have their own there."""
    port, found = str(world.test.cluster.port).encode(), []
    for path in Path("/dev/shm").glob(".biso*"):
        with suppress(OSError):
            if port in path.read_bytes():
                found.append(path)
    return found


def test_what_somebody_has_there_is_never_overwritten(world: Restored) -> None:
    home = world.built.root / "neu"
    world.test.psql("DROP DATABASE IF EXISTS biso_log WITH (FORCE)", dbname="postgres")
    world.write(second(world, ADMIN))
    place: dict[str, Any] = {"to": "neu", "confirm": "neu"}
    try:
        (home / "srv/Daten").mkdir(parents=True)
        (home / "srv/Daten/Brief.txt").write_text("von jemandem")
        assert "data dir is not bare" in (said := world.refused(**place))
        assert "Brief.txt" in said
        shutil.rmtree(home)
        (home / "www/bi so").mkdir(parents=True)
        (home / "www/bi so/index.html").write_text("von jemandem")
        assert "webroot is not bare" in (said := world.refused(**place))
        assert "index.html" in said
        shutil.rmtree(home)
        world.test.psql('CREATE DATABASE "biso neu"', dbname="postgres")
        world.test.psql("CREATE TABLE von_jemandem ()", dbname="biso neu")
        assert "von_jemandem" in (said := world.refused(**place))
        assert "'biso neu'" in said
    finally:
        world.test.psql('DROP DATABASE IF EXISTS "biso neu"', dbname="postgres")
        shutil.rmtree(home, ignore_errors=True)


def test_a_bare_host_needs_all_three_areas(world: Restored) -> None:
    world.write(second(world, ADMIN))
    assert "needs all of" in world.refused(to="neu", confirm="neu", only="data,database")


def test_without_an_admin_the_remedy_says_how_to_name_one(world: Restored) -> None:
    world.write(second(world))
    assert "admin = {" in world.refused(to="neu", confirm="neu")


def test_a_role_with_another_password_is_refused(world: Restored) -> None:
    world.test.psql("DROP DATABASE IF EXISTS biso_log WITH (FORCE)", dbname="postgres")
    world.write(second(world, ADMIN))
    world.test.psql("CREATE ROLE \"bi so\" LOGIN PASSWORD 'anders'", dbname="postgres")
    try:
        assert "another password" in world.refused(to="neu", confirm="neu")
    finally:
        world.test.psql('DROP ROLE "bi so"', dbname="postgres")


def test_a_config_of_production_is_not_put_onto_a_test_environment(world: Restored) -> None:
    world.write(second(world, ADMIN).replace('role = "production"', 'role = "test"'))
    said = world.refused(to="neu", confirm="neu")
    assert "sets env to 'PROD'" in said
