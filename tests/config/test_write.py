"""What `init` writes always loads, and says what was found out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.config.findings import CONTROL, BadConfig
from biso_tasks.config.load import parse
from biso_tasks.config.model import Admin
from biso_tasks.config.write import EnvironmentFacts, InitFacts, render

FILE = Path("/srv/site/biso.toml")
FACTS = InitFacts(
    "beratungsstelle",
    (
        EnvironmentFacts(
            "prod",
            "production",
            "/var/www/biso",
            ssh="biso-prod",
            datadir="/srv/data",
            run_as="www-data",
            owner="www-data:www-data",
            sudo=True,
            url="https://biso.example.org/",
            services="systemd",
            stop=("apache2", "php8.2-fpm"),
            admin=Admin("postgres", "postgres"),
        ),
        EnvironmentFacts(
            "test", "test", "/srv/biso/web", services="compose", directory="/srv/biso", web="web83"
        ),
    ),
)


def test_what_was_found_out_comes_back_when_it_is_read() -> None:
    site = parse(render(FACTS).encode(), FILE)
    prod, test = site.environments
    assert (prod.ssh, prod.datadir, prod.run_as) == ("biso-prod", "/srv/data", "www-data")
    assert (prod.owner, prod.sudo, prod.url) == (
        "www-data:www-data",
        True,
        "https://biso.example.org/",
    )
    assert prod.services.stop == ("apache2", "php8.2-fpm")
    assert prod.database.admin == Admin("postgres", "postgres")
    assert (test.services.kind, test.services.web) == ("compose", "web83")
    assert (site.refresh.from_, site.refresh.to) == ("prod", "test")


def test_a_known_hosts_file_of_ones_own_stands_there_once_and_the_default_is_a_comment() -> None:
    text = render(replace(FACTS, known_hosts="~/.ssh/known hosts"))
    assert parse(text.encode(), FILE).ssh.known_hosts.endswith("/.ssh/known hosts")
    assert len(re.findall(r"^(?:# )?known_hosts = ", text, re.MULTILINE)) == 1
    assert '\n# known_hosts = "~/.ssh/known_hosts"  # ' in render(FACTS)


def test_every_commented_key_can_be_uncommented_as_it_stands() -> None:
    lines = render(FACTS).split("\n")
    optional = [n for n, line in enumerate(lines) if re.match(r'# [\w"*/]+ = ', line)]
    assert len(optional) > 30
    for number in optional:
        text = "\n".join([*lines[:number], lines[number][2:], *lines[number + 1 :]])
        assert parse(text.encode(), FILE).name == "beratungsstelle", lines[number]


@pytest.mark.parametrize("role", ["production", "test"])
def test_one_environment_is_enough(role: str) -> None:
    facts = InitFacts("x", (EnvironmentFacts("only", role, "/srv/x"),))  # type: ignore[arg-type]
    assert parse(render(facts).encode(), FILE).environments[0].role == role


PRINTABLE = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: not CONTROL.search(text)
)


@given(PRINTABLE, PRINTABLE)
def test_any_printable_name_and_path_is_written_so_that_it_comes_back(name: str, path: str) -> None:
    webroot = "/srv/x" + path.replace("/", "")
    datadir = "/data/x" + path.replace("/", "")
    facts = InitFacts(name, (EnvironmentFacts("a", "test", webroot, datadir=datadir),))
    site = parse(render(facts).encode(), FILE)
    assert (site.name, site.environments[0].webroot) == (name, webroot)
    assert site.environments[0].datadir == datadir


ANYTHING = st.text(st.characters(), max_size=12)


@given(
    ANYTHING, ANYTHING, ANYTHING, st.none() | ANYTHING, st.lists(ANYTHING, max_size=2).map(tuple)
)
def test_hostile_facts_give_a_file_that_loads_or_one_error(
    name: str, environment: str, webroot: str, ssh: str | None, stop: tuple[str, ...]
) -> None:
    facts = InitFacts(
        name,
        (
            EnvironmentFacts(
                environment, "production", webroot, ssh=ssh, services="systemd", stop=stop
            ),
            EnvironmentFacts("test", "test", "/srv/x", admin=Admin(name, webroot or None)),
        ),
    )
    try:
        text = render(facts)
    except BadConfig:
        return
    assert parse(text.encode(), FILE).environments[0].name == environment


def test_two_environments_of_one_name_are_an_error_not_a_broken_file() -> None:
    one = EnvironmentFacts("a", "test", "/srv/x")
    with pytest.raises(BadConfig, match=r"environments\.a: is there twice"):
        render(InitFacts("x", (one, one)))
