"""Every guard, and somebody who tries to get past it: exit 3, and nothing was touched."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def refused(world: Any, *words: str, code: tuple[int, ...] = (3,), served: bool = True) -> str:
    """Runs it, requires the refusal and that both instances are as they were; its message."""
    before = world.prod.state(), world.test.state()
    ran = world.run(*(words or ("refresh-test", "--no-anonymize")), "--yes", "--json")
    assert ran.code in code, str(ran)
    after = world.prod.state(), world.test.state()
    for one, other in zip(before, after, strict=True):
        for what in one:
            assert other[what] == one[what], what
    assert world.hosts["prod"].calls() == []
    assert world.hosts["test"].calls() == [], "no service was stopped"
    assert world.leftovers(previous=False) == []
    if served:
        assert world.test.get()[0] == 200
    error = ran.json["error"]
    # A finding of biso.toml has its remedy in the line itself.
    assert error["message"] and (error["hint"] or ran.code == 2), "the cause and the remedy"
    assert "Traceback" not in ran.err
    return str(ran.message)


@contextmanager
def forwarder(port: int) -> Iterator[int]:
    """A tunnel: a local port behind which another one answers."""
    server = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = []

    def pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
        except OSError:
            pass
        finally:
            for end in (one, other):
                end.close()

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            behind = socket.create_connection(("127.0.0.1", port))
            open_sockets.extend((client, behind))
            for pair in ((client, behind), (behind, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        for one in open_sockets:
            one.close()


CONFIG = """<?php
Config::set('env', '{env}');
Config::set('datadir', {datadir});
Config::set('gaia.db', ['host' => '127.0.0.1', 'port' => {port}, 'dbname' => 'biso',
    'user' => {user}, 'password' => {password}]);
{more}
"""


def leads_to_production(world: Any, port: int | None = None, *, env: str = "dev") -> None:
    """Test's config.php names production's database, at `port`."""
    prod = world.prod
    quoted = prod.password.replace("\\", "\\\\").replace("'", "\\'")
    world.test.write_config(
        CONFIG.format(
            env=env, datadir="__DIR__ . '/data'", port=port or prod.cluster.port,
            user=f"'{prod.role}'", password=f"'{quoted}'", more="",
        )
    )  # fmt: skip


# -- roles --


def test_a_production_environment_is_never_the_target(world: Any) -> None:
    for words in (
        ("refresh-test", "--to", "prod"),
        ("refresh-test", "--from", "test", "--to", "prod", "--confirm", "prod"),
        ("refresh-test", "--no-anonymize", "--to", "prod", "--confirm", "prod"),
        ("anonymize", "--env", "prod", "--confirm", "prod"),
        ("rollback", "--env", "prod"),
        ("restore", "latest", "--to", "prod"),
    ):
        assert "production" in refused(world, *words), words


def test_the_config_cannot_make_production_the_target(world: Any) -> None:
    world.site(refresh={"from": "test", "to": "prod"})
    assert "production" in refused(world, code=(2, 3))


def test_prod_and_test_swapped_in_the_config(world: Any) -> None:
    """Names and roles are only what somebody wrote: each config.php says what it is."""
    prod, test = (world._environment(name, True) for name in ("prod", "test"))
    world.site(prod={**test, "role": "production"}, test={**prod, "role": "test"})
    message = refused(world)
    assert "swapped" in message


def test_a_production_instance_that_is_called_test(world: Any) -> None:
    prod = world._environment("prod", True)
    world.site(test={**prod, "role": "test"})
    assert "the webroot of" in refused(world, code=(2,)), "as plain as this, the config says it"
    elsewhere = world.test.place / "ganz woanders"
    elsewhere.symlink_to(world.prod.webroot)
    world.site(test={**prod, "role": "test", "webroot": str(elsewhere)})
    assert "PROD" in refused(world)


# -- what config.php says --


@pytest.mark.parametrize(
    "env",
    [
        "PROD",
        pytest.param("prod", marks=pytest.mark.whole),
        pytest.param("Prod", marks=pytest.mark.whole),
    ],
)
def test_a_test_instance_whose_env_is_production(world: Any, env: str) -> None:
    config = world.test.config
    config.write_text(config.read_text().replace("'env', 'dev'", f"'env', '{env}'"))
    assert "production instance" in refused(world)


def test_the_anonymiser_needs_the_env_dev(world: Any) -> None:
    config = world.test.config
    config.write_text(config.read_text().replace("'env', 'dev'", "'env', 'staging'"))
    assert "'dev'" in refused(world, "refresh-test")
    assert "'dev'" in refused(world, "anonymize")


def test_no_flag_beats_required_anonymising(world: Any) -> None:
    world.site(refresh={"anonymize": "required"})
    assert "required" in refused(world, "refresh-test", "--no-anonymize")


# -- what is compared by what it is --


def test_a_test_config_that_names_the_production_database(world: Any) -> None:
    leads_to_production(world)
    message = refused(world)
    assert "'biso'" in message and "lock" in message


def test_a_tunnel_that_leads_to_the_production_database(world: Any) -> None:
    with forwarder(world.prod.cluster.port) as port:
        leads_to_production(world, port)
        assert "lock" in refused(world)


def test_no_exchange_of_a_test_instance_that_leads_to_production(world: Any) -> None:
    """Rollback, restore and reset have no live source to compare with: they ask all the same."""
    store = world.hosts["prod"].folder / "home/backups"
    world.site(backup={"path": str(store)}, refresh={"anonymize": False})
    id = world.run("backup", "--json").json["set"]
    world.refresh()
    leads_to_production(world)
    before = world.prod.state()
    for words in (
        ("rollback",),
        ("restore", id, "--to", "test"),
        ("verify", "--drill"),
        ("refresh-test", "--source", "latest"),
    ):
        ran = world.run(*words, "--yes", "--json")
        assert ran.code == 3, f"{words}: {ran}"
        assert "lock" in ran.message, f"{words}: {ran.message}"
    assert world.prod.state() == before
    shutil.rmtree(store)


def test_a_set_knows_its_database_where_production_cannot_be_asked(world: Any) -> None:
    """Test leads to production's server, which this machine reaches by that way only."""
    prod, test = world.hosts["prod"], world.hosts["test"]
    store = prod.folder / "home/backups"
    world.site(backup={"path": str(store)}, refresh={"anonymize": False})
    id = world.run("backup", "--json").json["set"]
    copies = test.folder / "home/kopien"
    shutil.copytree(store, copies, symlinks=True)
    for path in (copies, *copies.rglob("*")):
        shutil.chown(path, test.user, test.user) if not path.is_symlink() else None
    leads_to_production(world)
    before = world.prod.state()
    prod.stop()
    try:
        place = f"{test.alias}:{copies}"
        ran = world.run("restore", id, "--from", place, "--to", "test", "--yes", "--json")
    finally:
        prod.start()
        shutil.rmtree(copies)
        shutil.rmtree(store)
    assert ran.code == 3, str(ran)
    assert "looks like the one" in ran.message
    assert world.prod.state() == before


@pytest.mark.parametrize("name", ["biso", "biso_log"])
def test_a_log_database_that_is_one_of_production(world: Any, name: str) -> None:
    """Even where the log database is not copied: a stand-in would be made beside it."""
    prod = world.prod
    world.with_log_database("prod")
    quoted = prod.password.replace("\\", "\\\\").replace("'", "\\'")
    text = (
        (world.test.config)
        .read_text()
        .replace(
            "return [];",
            f"Config::set('log.db', ['host' => '127.0.0.1', 'port' => {prod.cluster.port},"
            f" 'dbname' => '{name}', 'user' => 'biso', 'password' => '{quoted}']);",
        )
    )
    world.test.write_config(text)
    assert "lock" in refused(world)


@pytest.mark.parametrize(
    "way",
    ["a symbolic link", "a folder inside", pytest.param("the same path", marks=pytest.mark.whole)],
)
def test_an_alias_that_leads_to_production_s_files(world: Any, way: str) -> None:
    """Another alias, another webroot, and yet production's data dir."""
    path = world.prod.datadir
    if way == "a symbolic link":
        path = world.test.place / "harmlos"
        path.symlink_to(world.prod.datadir)
    elif way == "a folder inside":
        path = world.prod.datadir / "dateien"
    config = world.test.config.read_text().replace('__DIR__ . "/$daten"', f"'{path}'")
    assert str(path) in config
    world.test.config.write_text(config)
    with (world.laptop / "ssh_config").open("a") as file:
        prod = world.hosts["prod"]
        file.write(
            f"Host ganz-woanders\n  HostName 127.0.0.1\n  Port {prod.port}\n  User {prod.user}\n"
            f"  IdentityFile {world.laptop}/key\n  IdentitiesOnly yes\n"
        )
    world.site(test={"ssh": "ganz-woanders"})
    message = refused(world)
    assert "not two instances" in message


def test_one_cluster_with_two_databases_is_fine(plain_world: Any) -> None:
    world = plain_world
    prod, test = world.prod, world.test
    word = test.password.replace("'", "''")
    dump = test.cluster.text(test.dbname)
    cluster, test.cluster = test.cluster, prod.cluster
    try:
        prod.cluster.rows(f"CREATE ROLE biso_test LOGIN CREATEDB PASSWORD '{word}'")
        prod.cluster.rows("CREATE DATABASE biso_test TEMPLATE template0 OWNER biso_test")
        prod.cluster.psql(dump, "biso_test")
        test.write_config()
        world.refresh()
        assert prod.cluster.rows("SELECT count(*) FROM person", "biso_test") == [(60,)]
        assert test.get()[0] == 200
    finally:
        test.cluster = cluster
        for name in ("biso_test", "biso_test__previous", "biso_test__stage"):
            prod.cluster.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        prod.cluster.rows("DROP ROLE biso_test")


# -- what the stage must not reach --


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("Config::set('schriften', Config::get('datadir') . '/schriften');", "schriften"),
        pytest.param(
            "Config::set('cache', ['pfad' => __DIR__ . '/data/cache']);",
            "cache.pfad",
            marks=pytest.mark.whole,
        ),
        pytest.param(
            "Config::set('archiv', 'pgsql:host=db;dbname=biso_test');",
            "archiv",
            marks=pytest.mark.whole,
        ),
        ("Config::set('bericht', ['db' => ['dbname' => 'biso']]);", "bericht.db.dbname"),
    ],
)
def test_a_derived_value_that_still_holds_what_is_live_is_named(
    world: Any, line: str, key: str
) -> None:
    """Set from the live path before the stage's wrapper has its say: found before the swap."""
    config = world.test.config
    # As many sites have it: the place is written out, not derived from where the file stands.
    text = config.read_text().replace('__DIR__ . "/$daten"', f"'{world.test.datadir}'")
    line = line.replace("__DIR__ . '/data/cache'", f"'{world.test.datadir}/cache'")
    config.write_text(text.replace("return [];", line))
    message = refused(world)
    assert key in message


def test_a_config_with_an_end_tag_and_a_return_is_wrapped_all_the_same(world: Any) -> None:
    config = world.test.config
    config.write_text(config.read_text().replace("return [];", "return [];\n?>\nEnde\n"))
    before = config.read_text()
    world.refresh()
    assert config.read_text() == before
    assert world.leftovers(previous=True) == []


# -- migrations and changed facts --


def test_migrations_of_production_that_test_s_code_does_not_know(world: Any) -> None:
    world.prod.cluster.rows("INSERT INTO migrations VALUES ('0099_aus_der_zukunft')", "biso")
    message = refused(world)
    assert "0099_aus_der_zukunft" in message


def test_an_interrupted_swap_is_recovered_first(world: Any) -> None:
    stage = world.test.stage_dir
    stage.mkdir(mode=0o700)
    (stage / "intent.json").write_text('{"run": "r1", "at": "gestern"}')
    for path in (stage, stage / "intent.json"):
        shutil.chown(path, world.test.owner, world.test.owner)
    before = world.test.state()
    ran = world.run("refresh-test", "--no-anonymize", "--yes", "--json")
    assert ran.code == 3, str(ran)
    assert "recover" in ran.message
    assert world.test.state() == before
