"""A set put where nothing of an instance is, by a run in which something goes wrong at any step:
the host has the complete instance, or is as bare as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from fault_cases import EVERYTHING, LASTING, STEP_MANNERS, StepCase, all_manners, require_told, runs
from fault_sets import damaged
from fault_world import BARE, BARE_ROLE, LIVE, PREVIOUS, Run, World, recipes, tree_picture

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(3600),
]

RECIPE = "restore-bare"
DATABASE = ROLE = BARE_ROLE
USUAL = ("furnish", "swap")
"""Ended in one manner also in a usual run."""


class Found(NamedTuple):
    """Hashes of rows, files and code; and the databases and the role on the server. Other roles of
    the set, which nobody but their owner may remove, are told by `recover`, and stay."""

    rows: str
    files: str
    code: str
    names: frozenset[str]


NOTHING = Found("", "", "", frozenset())


@dataclass
class Ground:
    """Where the instance is to be: its root, and what is there of it on the server."""

    world: World

    @property
    def root(self) -> Path:
        return self.world.site.home / "test" / "neu"

    @property
    def config(self) -> str:
        cluster, php = self.world.test.cluster, self.world.test.php
        return f"""
role = "production"
ssh = "{{ssh}}"
webroot = "{self.root}/www/biso"
datadir = "{self.root}/srv/daten"
php = ["{php}"]
biso_cli = ["{php}", "biso-cli"]
[environments.{BARE}.database]
host = "{cluster.socket_dir}"
port = {cluster.port}
dbname = "{DATABASE}"
user = "{ROLE}"
admin = {{ user = "{cluster.superuser}" }}
"""

    def clear(self) -> None:
        psql = self.world.test.cluster.psql
        for name in psql(f"SELECT datname FROM pg_database WHERE datname ~ '^{DATABASE}'").split():
            psql(f'DROP DATABASE "{name}" (FORCE)')
        for role in (ROLE, "biso"):
            psql(f"DROP ROLE IF EXISTS {role}")
        shutil.rmtree(self.root, ignore_errors=True)

    def there(self) -> Found:
        names = self.world.test.cluster.psql(
            f"SELECT datname FROM pg_database WHERE datname ~ '^{DATABASE}' UNION ALL "
            f"SELECT 'role ' || rolname FROM pg_roles WHERE rolname = '{ROLE}'"
        )
        return Found(
            self.world.database(self.world.test, DATABASE),
            tree_picture(self.root / "srv/daten"),
            tree_picture(self.root / "www/biso", without={"config.php"}),
            frozenset(names.splitlines()),
        )

    def require(self, run: Run, whole: Found) -> Found:
        """All of it, serving, or nothing; and beside it all as it was."""
        world, now = self.world, self.there()
        assert now in (whole, NOTHING), f"{now}, whole is {whole}\n{run.err[-3000:]}"
        if now == NOTHING:
            assert not self.root.exists(), sorted(self.root.rglob("*"))
        else:
            assert not (self.root / "srv/daten/maintenance.on").exists()
            beside = {one.name for one in (self.root / "www").iterdir()}
            assert beside <= {"biso", ".biso-tasks-biso"}, beside
            left = {one.name for one in (self.root / "www/.biso-tasks-biso").glob("*")}
            assert left <= {"instance.json", ".htaccess"}, left
        closed = f"datname = '{DATABASE}' AND NOT datallowconn"
        assert not world.test.cluster.psql(f"SELECT datname FROM pg_database WHERE {closed}")
        assert (world.picture(LIVE), world.picture(PREVIOUS)) == world.base["again"]
        assert world.left_behind() == []
        assert world.prod_picture() == world.prod_before
        return now


@pytest.fixture(scope="module")
def ground(built: World) -> Iterator[Ground]:
    """The same site, with an environment of which nothing is there."""
    made = Ground(built)
    built.beside = made.clear
    try:
        with built.configured(**{f"environments.{BARE}": made.config}):
            yield made
    finally:
        built.beside = lambda: None
        made.clear()


@pytest.fixture(scope="module")
def whole(ground: Ground) -> Found:
    """What is there after a run in which nothing goes wrong."""
    world = ground.world
    world.over = "local"
    world.reset("again")
    run = world.run(world.spec(), *world.words(RECIPE))
    assert run.code == 0, run.err
    found = ground.there()
    assert found.rows == world.database(world.prod, "biso")
    assert found.files and found.code
    return ground.require(run, found)


def cases() -> list[StepCase]:
    found: list[StepCase] = []
    for number, step in enumerate(recipes(without=())[RECIPE]):
        if EVERYTHING:
            found += all_manners(RECIPE, step.name, ("prod", "test"))
        elif step.uses in USUAL:
            found += [StepCase(RECIPE, step.name, STEP_MANNERS[number % len(STEP_MANNERS)])]
    return found


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_bare_host_has_the_complete_instance_or_is_as_bare_as_it_was(
    ground: Ground, whole: Found, world: World, case: StepCase
) -> None:
    always = {step.name for step in recipes(without=())[RECIPE] if step.always}
    for run, spec in runs(world, case):
        act = spec["act"]
        require_told(run, act)
        if act not in LASTING and run.code != 6 and case.step not in always:
            ground.require(run, whole)
        again = world.recover()
        # Of an environment of which nothing is there, it says so.
        gone = again.code == 3 and "is not there" in again.err and not ground.root.exists()
        assert again.code == 0 or gone, again.err
        now = ground.require(run, whole)
        if run.code == 0:
            assert now == whole
        assert damaged(world) == []
