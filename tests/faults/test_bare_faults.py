"""A set put where nothing of an instance is, by a run in which something goes wrong at any step:
the host has the complete instance, or is as bare as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_cases import EVERYTHING, LASTING, STEP_MANNERS, StepCase, all_manners, require_told, runs
from fault_sets import damaged
from fault_world import BARE, Run, World, recipes, tree_picture

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

RECIPE = "restore-bare"
DATABASE = ROLE = "biso_neu"
USUAL = ("furnish", "swap")
"""Ended in one manner also in a usual run."""


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

    def there(self) -> tuple[str, str, str, frozenset[str]]:
        """Rows, files, code; and every name on the server that is not of the test instance. The
        roles of the set that nobody but their owner may remove are told by `recover`, and stay."""
        names = self.world.test.cluster.psql(
            f"SELECT datname FROM pg_database WHERE datname ~ '^{DATABASE}' UNION ALL "
            f"SELECT 'role ' || rolname FROM pg_roles WHERE rolname = '{ROLE}'"
        )
        code = tree_picture(self.root / "www/biso", without={"config.php"})
        return (
            self.world.database(self.world.test, DATABASE),
            tree_picture(self.root / "srv/daten"),
            code,
            frozenset(names.splitlines()),
        )


@pytest.fixture
def ground(world: World) -> Iterator[Ground]:
    """The same site, with an environment of which nothing is there."""
    made = Ground(world)
    # Folders of the host's own: what is in them is the restore's.
    world.beside = made.clear
    try:
        with world.configured(**{f"environments.{BARE}": made.config}):
            yield made
    finally:
        world.beside = lambda: None
        made.clear()


def cases() -> list[StepCase]:
    found: list[StepCase] = []
    for number, step in enumerate(recipes(without=())[RECIPE]):
        if EVERYTHING:
            found += all_manners(RECIPE, step.name, ("prod", "test"))
        elif step.uses in USUAL:
            found += [StepCase(RECIPE, step.name, STEP_MANNERS[number % len(STEP_MANNERS)])]
    return found


BARE_AS_IT_WAS = ("", "", "", frozenset[str]())


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_bare_host_has_the_complete_instance_or_is_as_bare_as_it_was(
    ground: Ground, case: StepCase
) -> None:
    world = ground.world
    whole = _whole(ground)
    always = {step.name for step in recipes(without=())[RECIPE] if step.always}
    for run, spec in runs(world, case):
        act = spec["act"]
        require_told(run, act)
        if act not in LASTING and run.code != 6 and case.step not in always:
            _require(ground, run, whole)
        again = world.recover()
        # Of an environment of which nothing is there, it says so.
        gone = again.code == 3 and "is not there" in again.err and not ground.root.exists()
        assert again.code == 0 or gone, again.err
        now = _require(ground, run, whole)
        if run.code == 0:
            assert now == whole
        assert damaged(world) == []


_WHOLE: dict[str, tuple[str, str, str, frozenset[str]]] = {}


def _whole(ground: Ground) -> tuple[str, str, str, frozenset[str]]:
    """What is there after a run in which nothing goes wrong."""
    if not _WHOLE:
        world = ground.world
        world.reset("again")
        run = world.run(world.spec(), *world.words(RECIPE))
        assert run.code == 0, run.err
        _WHOLE[""] = ground.there()
        assert _WHOLE[""][0] == world.database(world.prod, "biso")
        assert _require(ground, run, _WHOLE[""]) == _WHOLE[""]
    return _WHOLE[""]


def _require(
    ground: Ground, run: Run, whole: tuple[str, str, str, frozenset[str]]
) -> tuple[str, str, str, frozenset[str]]:
    """All of it, serving, or nothing; and beside it all as it was."""
    now = ground.there()
    assert now in (whole, BARE_AS_IT_WAS), f"neither: {now}, whole {whole}\n{run.err[-3000:]}"
    if now == BARE_AS_IT_WAS:
        assert not ground.root.exists(), sorted(ground.root.rglob("*"))
    else:
        assert not (ground.root / "srv/daten/maintenance.on").exists()
        beside = {one.name for one in (ground.root / "www").iterdir()}
        assert beside <= {"biso", ".biso-tasks-biso"}, beside
        left = {one.name for one in (ground.root / "www/.biso-tasks-biso").glob("*")}
        assert left <= {"instance.json", ".htaccess"}, left
    assert (
        ground.world.test.cluster.psql(
            f"SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}' AND NOT datallowconn"
        )
        == "0"
    )
    assert ground.world.left_behind() == []
    assert ground.world.prod_picture() == ground.world.prod_before
    return now
