"""What is refused, decided in milliseconds: each sentence of the guards and its other side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from biso_tasks.config.model import Environment, Role
from biso_tasks.database.connect import NotConnected
from biso_tasks.database.server import Server
from biso_tasks.errors import Refused
from biso_tasks.host import LocalHost
from biso_tasks.instance.app import App
from biso_tasks.instance.config_php import Facts
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import Layout
from biso_tasks.stage import guards
from biso_tasks.values import Dsn, Secret

ROLES: tuple[Role, ...] = ("production", "test")
ENVS = ("PROD", "Production", " live ", "dev", "staging", "abnahme")


def spelled(text: str) -> str:
    """An equal string that is another object, as what a host answers is."""
    return "".join(list(text))


def instance(name: str, role: Role = "test", env: str = "dev", **facts: bool) -> Instance:
    """One that needs no host: its identities are its name's."""
    environment = Environment(name=name, role=role, webroot=f"/www/{name}")
    host = LocalHost(name)
    dsn = Dsn("127.0.0.1", 1, name, name, Secret("x"))
    layout = Layout(
        webroot=f"/www/{name}", webroot_id=f"1:{name}", datadir=f"/srv/{name}",
        datadir_id=f"2:{name}", datadir_is_mount=False, above=frozenset({"1:www", "2:srv"}),
        machine=spelled("one"), user="www-data", stage_dir=f"/srv/.{name}",
    )  # fmt: skip
    app = App(host, environment, layout.webroot, layout.webroot)
    return Instance(
        environment, host, Facts(env, layout.datadir, dsn, None, "8.2", True, {}, **facts), layout,
        app, (),
    )  # fmt: skip


def placed(one: Instance, **layout: Any) -> Instance:
    return replace(one, layout=replace(one.layout, **layout))


@pytest.mark.parametrize("role", ROLES)
def test_a_production_is_no_target_before_anything_is_contacted(role: Role) -> None:
    environment = Environment(name="haupt", role=role, webroot="/www")
    if role == "test":
        guards.not_production(environment, "refresh-test")
        return
    with pytest.raises(Refused, match=r"haupt is a production.*refresh-test never") as refused:
        guards.not_production(environment, "refresh-test")
    assert "restore --to haupt" in refused.value.hint


@pytest.mark.parametrize(
    ("role", "env", "anonymize"), list(itertools.product(ROLES, ENVS, (True, False)))
)
def test_env_and_role_fit_or_the_run_is_refused(role: Role, env: str, anonymize: bool) -> None:
    """The role is biso.toml's word, env that of config.php: neither alone makes a target."""
    production = env.strip() in ("PROD", "Production", "live")
    if role == "production":
        fits, says = production, "gives it the role production"
    elif production:
        fits, says = False, "this is a production instance"
    else:
        fits, says = env == "dev" or not anonymize, "works only where it is 'dev'"
    one = instance("eins", role, env)
    if fits:
        guards.env_fits(one, anonymize=anonymize)
        return
    with pytest.raises(Refused, match=says) as refused:
        guards.env_fits(one, anonymize=anonymize)
    assert f"/www/eins/config.php sets env to {env!r}" in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("exits", [True, False])
def test_a_config_that_ends_the_program_cannot_be_staged(exits: bool) -> None:
    one = instance("eins", exits=exits)
    if not exits:
        guards.config_goes_on(one)
        return
    with pytest.raises(Refused, match=r"/www/eins/config\.php ends with") as refused:
        guards.config_goes_on(one)
    assert refused.value.hint


def test_two_instances_on_one_machine_are_two() -> None:
    assert guards.overlaps(instance("a", "production"), instance("b")) == ""


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ({"webroot_id": "1:a"}, "both have the same webroot, /www/b"),
        ({"datadir_id": "2:a"}, "both have the same data dir, /srv/b"),
        ({"above": frozenset({"1:www", "1:a"})}, "b lies inside the webroot of a"),
        ({"above": frozenset({"2:srv", "2:a"})}, "b lies inside the data dir of a"),
    ],
)
def test_what_shares_a_place_is_not_two_instances(layout: dict[str, object], why: str) -> None:
    a, b = instance("a", "production"), placed(instance("b"), **layout)
    assert guards.overlaps(a, b) == why
    for machine in ("another", "the other"):  # on either side in the alphabet
        assert guards.overlaps(a, placed(b, machine=machine)) == "", "inodes of another machine"
    if "lies inside" in why:
        assert guards.overlaps(b, a) == why, "whichever way round"


def test_a_place_that_is_not_there_is_nobodys() -> None:
    a, b = instance("a", "production"), instance("b")
    nowhere = {"webroot_id": "", "datadir_id": ""}
    assert guards.overlaps(placed(a, **nowhere), placed(b, **nowhere)) == ""


class Asked:
    """`distinct` with servers that exist by name only: `connect` and `same_cluster` are replaced,
    and what they were asked is kept. The real ones: tests/database/test_identity.py."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, one_cluster: bool, away: str = ""
    ) -> None:
        self.compared: list[tuple[str, str]] = []
        self.open: list[str] = []

        @contextmanager
        def connect(server: Server) -> Iterator[str]:
            name = f"{server.host.name}/{server.dsn.dbname}"
            if name == away:
                raise NotConnected(f"{away} is away", reason="away")
            self.open.append(name)
            try:
                yield name
            finally:
                self.open.remove(name)

        def same_cluster(left: str, right: str) -> bool:
            assert {left, right} <= set(self.open), "held while they are compared"
            self.compared.append((left, right))
            return one_cluster

        monkeypatch.setattr(guards, "connect", connect)
        monkeypatch.setattr(guards, "same_cluster", same_cluster)


def servers(host: str, *names: str) -> list[Server]:
    return [
        Server(LocalHost(host), Dsn("127.0.0.1", 1, spelled(name), "biso", Secret("x")))
        for name in names
    ]


def ask(theirs: Sequence[Server], ours: Sequence[Server]) -> None:
    guards.distinct(instance("prod", "production"), instance("test"), [*theirs], [*ours])


def test_one_cluster_with_two_databases_is_legitimate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, one_cluster=True)
    ask(servers("prod", "biso", "biso_log"), servers("test", "biso_test", "biso_test_log"))
    assert asked.compared == [] == asked.open


def test_databases_of_one_name_are_one_in_one_cluster_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, one_cluster=False)
    ask(servers("prod", "biso", "biso_log"), servers("test", "biso", "biso_log"))
    assert asked.compared == [("prod/biso", "test/biso"), ("prod/biso_log", "test/biso_log")]
    assert asked.open == []


@pytest.mark.parametrize("shared", ["biso", "biso_log"])
def test_one_database_under_two_addresses_is_refused(
    monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    asked = Asked(monkeypatch, one_cluster=True)
    with pytest.raises(Refused, match=f"test's config.php leads to prod's .*'{shared}'") as refused:
        ask(servers("prod", "biso", "biso_log"), servers("test", "biso_test", shared))
    assert "/www/test/config.php" in refused.value.hint and asked.open == []


def test_places_are_compared_before_any_database(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, one_cluster=True)
    prod = instance("prod", "production")
    twin = placed(instance("test"), webroot_id=prod.layout.webroot_id)
    with pytest.raises(Refused, match="prod and test are not two instances: both have") as refused:
        guards.distinct(prod, twin, servers("prod", "biso"), servers("test", "biso"))
    assert refused.value.hint and asked.compared == []


@pytest.mark.parametrize("host", ["prod", "test"])
def test_a_main_database_that_is_not_reached_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    asked = Asked(monkeypatch, one_cluster=False, away=f"{host}/biso")
    with pytest.raises(NotConnected):
        ask(servers("prod", "biso", "biso_log"), servers("test", "biso", "biso_log"))
    assert asked.open == []


@pytest.mark.parametrize("host", ["prod", "test"])
def test_a_further_database_that_is_not_reached_is_not_compared(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    asked = Asked(monkeypatch, one_cluster=False, away=f"{host}/biso_log")
    ask(servers("prod", "biso", "biso_log"), servers("test", "biso", "biso_log"))
    assert asked.compared == [("prod/biso", "test/biso")]
