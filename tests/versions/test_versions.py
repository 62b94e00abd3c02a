"""Each PostgreSQL as source and target of all that moves a database: it works as a whole, or is
refused before anything was begun, with the reason.

A usual run tries what the machine and the wheel have; all that can be had by

    python tests/versions/table.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from servers import client, known

from biso_tasks.demo import instances, site
from biso_tasks.demo.programs import CLIENT, write_wrappers
from biso_tasks.demo.site import DemoSite
from biso_tasks.demo.sshd import load_servers

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

KNOWN = known()
PAIRS = [(source, target) for source in KNOWN for target in KNOWN]
USUAL = ((15, 18),)
DEBIAN = 15
"""The version whose clients every host finds beside those of its PATH."""


@dataclass(frozen=True)
class Site:
    demo: DemoSite
    folder: Path

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BISO", "XDG"))}
        done = subprocess.run(
            [sys.executable, "-m", "biso_tasks.cli.main", *words, "--json"],
            cwd=self.folder, env={**inherited, "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, dict(json.loads(done.stdout))


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], Site]]:
    folder = Path(tempfile.mkdtemp(prefix="bv-", dir="/tmp"))
    real = instances.start_cluster

    def start(source: int, target: int) -> Site:
        versions = {"prod": source, "test": target}

        def start_cluster(place: Path, **more: Any) -> Any:
            return real(place, **{**more, "bins": KNOWN[versions[place.parent.name]]})

        monkeypatch.setattr(instances, "start_cluster", start_cluster)
        demo = site.build(folder, ssh=True, scale=0.02)
        _clients(demo, versions)
        (folder / "biso.toml").write_text(_config(demo), "utf-8")
        return Site(demo, folder)

    yield start
    site.clean(folder)
    shutil.rmtree(folder)


def _clients(demo: DemoSite, versions: dict[str, int]) -> None:
    """Each host has its own version's clients on its PATH."""
    for server in load_servers(demo.home / "ssh"):
        name = server.alias.removeprefix("biso-demo-")
        bins, own = KNOWN[versions[name]], demo.home / f"clients-{name}"
        write_wrappers(own, {one: bins / one for one in CLIENT if (bins / one).exists()})
        config = demo.home / "ssh" / f"{server.alias}.sshd_config"
        text = config.read_text("utf-8")
        assert 'SetEnv "PATH=' in text
        config.write_text(text.replace('SetEnv "PATH=', f'SetEnv "PATH={own}:'), "utf-8")
        os.kill(server.process.pid, signal.SIGHUP)


def _config(demo: DemoSite) -> str:
    php = str(demo.test.php)
    common = {"php": [php], "biso_cli": [php, "biso-cli"]}
    ssh = demo.home / "ssh"
    return tomli_w.dumps(
        {
            "site": {"name": "versions"},
            "environments": {
                "prod": {"role": "production", "ssh": demo.prod.ssh,
                         "webroot": str(demo.prod.webroot), **common},
                "test": {"role": "test", "ssh": demo.test.ssh,
                         "webroot": str(demo.test.webroot), **common},
            },
            "ssh": {"config": str(ssh / "config"), "known_hosts": str(ssh / "known_hosts")},
            "refresh": {"from": "prod", "to": "test"},
            "backup": {"path": str(demo.root / "backups")},
        }
    )  # fmt: skip


def refused(source: int, target: int) -> str:
    """What a refusal of this pair says; "" where it works."""
    if source > target:
        return "the older"
    clients = {client(source), DEBIAN}
    if not any(source <= one <= target for one in clients):
        return rf"postgresql-client-(\d+ or )?{target}\b"
    return ""


def cases() -> list[Any]:
    return [
        pytest.param(*pair, id=f"{pair[0]}-to-{pair[1]}",
                     marks=() if pair in USUAL else pytest.mark.whole)
        for pair in PAIRS
    ]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), cases())
def test_a_pair_of_versions_works_as_a_whole_or_is_refused_with_the_reason(
    build: Callable[[int, int], Site],
    source: int,
    target: int,
    record_property: Callable[[str, object], None],
) -> None:
    there = build(source, target)
    served = _served(there)
    code, told = there.run("refresh-test", "--yes")
    why = refused(source, target)
    record_property("pair", f"{source}|{target}|{why}")
    if why:
        assert code == 3, told
        said = f"{told['error']['message']} {told['error']['hint']}"
        assert re.search(why, said), said
        assert _served(there) == served
    else:
        assert code == 0, told["error"]
        assert told["proof"]["leaks"] == [] and told["proof"]["values"] > 0
        assert _people(there.demo.test) == _people(there.demo.prod)
        code, told = there.run("rollback", "--yes")
        assert code == 0, told["error"]
        assert _served(there) == served
    _sets(there, source, target, served)


def _sets(there: Site, source: int, target: int, served: str) -> None:
    """A backup needs a pg_dump of its server's own version, or nobody could load it there by hand;
    its set can be loaded by a server that is as new."""
    code, told = there.run("backup", "--yes")
    if source not in (client(source), DEBIAN):
        assert code == 3, told
        assert f"postgresql-client-{source}" in told["error"]["hint"]
        return
    assert code == 0, told["error"]
    code, told = there.run("restore", "latest", "--to", "test", "--yes")
    if source > target:
        assert code == 3, told
        assert "older" in told["error"]["message"]
        assert _served(there) == served
    else:
        assert code == 0, told["error"]
        assert _people(there.demo.test) == _people(there.demo.prod)
        code, told = there.run("verify", "--drill", "--yes")
        assert code == 0, told["error"]


def _people(instance: Any) -> str:
    return str(instance.psql("SELECT count(*) FROM person"))


def _served(there: Site) -> str:
    return str(
        there.demo.test.psql("SELECT md5(string_agg(p::text, '' ORDER BY id)) FROM person p")
    )
