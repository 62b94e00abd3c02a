"""Each typical mistake is answered by a line that holds the fix; and the fix, applied, works."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from site_mistakes import MISTAKES, Mistake
from test_bad_input import fails

__all__ = ["made"]


@pytest.fixture
def made(worlds: Callable[[Any], Any]) -> Iterator[Callable[[Mistake], Any]]:
    """A world with that mistake in it; afterwards what `reset` does not put back is put back."""
    used: list[tuple[Any, Any, int, int, int]] = []

    def build(mistake: Mistake) -> Any:
        world = worlds(mistake.kind)
        world.reset()
        status = world.test.place.stat()
        used.append((world, world.test.place, status.st_uid, status.st_gid, status.st_mode))
        rules = (world.test.cluster.folder / "data/pg_hba.conf").read_text().splitlines()
        used[-1] += (rules,)
        mistake.make(world)
        return world

    yield build
    for world, place, uid, gid, mode, rules in used:
        world.test.cluster.lets_in(*rules)
        subprocess.run(["chown", f"{uid}:{gid}", place], check=True)
        place.chmod(mode & 0o7777)


def lines(ran: Any) -> list[str]:
    return [
        f"{one['host']} | {one['name']} | {one['detail']} → {one['remedy']}"
        for one in ran.json["checks"]
        if not one["ok"]
    ]


def words(world: Any) -> dict[str, Any]:
    """What differs from run to run in what is said."""
    keys = {
        name: subprocess.run(
            ["ssh-keygen", "-lf", machine.folder / "host_key.pub"], capture_output=True, text=True,
            check=True,
        ).stdout.split()[1]
        for name, machine in world.hosts.items()
    }  # fmt: skip
    machine = world.hosts["test"]
    return {
        "login": machine.user, "port": machine.port, "bin": machine.bin, "laptop": world.laptop,
        "known": world.laptop / "known_hosts", "key": keys["test"], "key_of_prod": keys["prod"],
        "prod": world.prod.place, "test": world.test.place,
        "pg_prod": world.prod.cluster.port, "pg_test": world.test.cluster.port,
    }  # fmt: skip


def test_there_are_thirty_of_them_and_more() -> None:
    assert len(MISTAKES) >= 30


@pytest.mark.parametrize("name", MISTAKES)
def test_the_line_holds_the_fix_and_the_fix_works(name: str, made: Any) -> None:
    mistake = MISTAKES[name]
    world = made(mistake)
    said = mistake.says.format(**words(world))
    ran = world.run("doctor", "--json")
    found = lines(ran)
    assert said in found, "\n".join(found)
    assert len(found) == 1 + mistake.also, "\n".join(found)
    assert ran.code == 3, str(ran)
    for secret in (world.prod.password, world.test.password):
        assert secret not in ran.out + ran.err
    mistake.fix(world, said.rpartition(" → ")[2])
    mended = world.run("doctor", "--json")
    assert mended.code == 0, "\n".join(lines(mended)) or str(mended)


# What a refresh says of them, where PHP alone would have said that a password is required, `cd: no
# such file`, or nothing.
REFUSED = {
    "an alias that ssh does not know": "gibt-es-nicht",
    "a host key that changed": "has changed.*ssh-keygen -R",
    "an exit in bashrc": "bashrc",
    "a greeting in bashrc": "bashrc",
    "no line in sudoers": "NOPASSWD: .*biso doctor",
    "a webroot that is not there": r"environments\.test\.webroot",
    "no PHP on the command line": "apt install php-cli",
    "a password that the server does not know": r"authentication failed.*\\password",
    "a role that may not create databases": "CREATEDB.*admin",
    "a locale that the server does not have": r"xx_YY\.utf8",
    "a database that is not there": "biso_weg",
}


USUAL = {
    *("a host key that changed", "an exit in bashrc", "no line in sudoers"),
    "a role that may not create databases",
}


@pytest.mark.parametrize(
    "name",
    [one if one in USUAL else pytest.param(one, marks=pytest.mark.whole) for one in REFUSED],
)
def test_a_refresh_refuses_as_clearly_and_touches_nothing(name: str, made: Any) -> None:
    message = fails(made(MISTAKES[name]), code=(1, 2, 3))
    assert re.search(REFUSED[name], message), message
