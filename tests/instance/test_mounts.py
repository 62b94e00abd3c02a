"""Paths inside and outside of a container."""

from __future__ import annotations

import pytest

from biso_tasks.config.model import Environment, Services
from biso_tasks.errors import Refused
from biso_tasks.instance.mounts import inside_paths, to_host, to_inside

COMPOSE = Environment(
    "test", "test", "/srv/html", services=Services("compose", directory="/srv/biso", web="web83")
)
PLAIN = Environment("test", "test", "/srv/html")
MOUNTS = (
    ("/srv/files/data", "/var/www/html/data"),
    ("/srv/code", "/var/www/html"),
    ("/srv", "/srv"),
)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("/srv/code", "/var/www/html"),
        ("/srv/code/lib/x.php", "/var/www/html/lib/x.php"),
        ("/srv/files/data/a", "/var/www/html/data/a"),
        ("/srv/codex", "/srv/codex"),  # not below /srv/code
    ],
)
def test_the_nearest_mount_gives_the_path_inside(host: str, inside: str) -> None:
    assert to_inside(host, MOUNTS, COMPOSE) == inside


@pytest.mark.parametrize(
    ("inside", "host"),
    [
        ("/var/www/html", "/srv/code"),
        ("/var/www/html/data", "/srv/files/data"),
        ("/var/www/html/database", "/srv/code/database"),
    ],
)
def test_the_mount_that_hides_the_others_gives_the_path_on_the_host(inside: str, host: str) -> None:
    assert to_host(inside, MOUNTS, COMPOSE) == host


def test_what_is_not_mounted_is_refused_with_the_service_to_change() -> None:
    with pytest.raises(Refused, match="is not bind-mounted") as raised:
        to_host("/opt/data", MOUNTS, COMPOSE)
    assert "web83" in raised.value.hint


def test_outside_of_compose_a_path_is_itself() -> None:
    assert to_inside("/srv/html", (), PLAIN) == to_host("/srv/html", (), PLAIN) == "/srv/html"


def test_every_way_in_which_a_folder_is_seen_inside_is_known() -> None:
    assert inside_paths("/srv/files/data", MOUNTS) == {
        "/var/www/html/data",
        "/srv/files/data",
    }
    fonts = (*MOUNTS, ("/srv/files/data/fonts", "/usr/share/fonts"))
    assert "/usr/share/fonts" in inside_paths("/srv/files/data", fonts)


def test_a_user_of_the_container_is_not_asked_of_the_host() -> None:
    def user(kind: str, sudo: bool) -> str | None:
        services = Services(kind)  # type: ignore[arg-type]
        return Environment(
            "test", "test", "/srv", run_as="www", sudo=sudo, services=services
        ).host_user

    assert user("systemd", True) == user("none", False) == "www"
    assert user("compose", False) is None
    assert user("compose", True) == "root"
