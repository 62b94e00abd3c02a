"""Nothing leaves the test instance: it is started with its queue runner beside a server that takes
down whoever calls. Without `[neutralize]` the same check fails."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).parent / "parts/worker.php"
RULES = {
    "sql": ["UPDATE postausgang SET status = 'gesperrt' WHERE status = 'offen'"],
    "params": {"mail.server": "localhost:9", "webhook": ""},
}


class Sink:
    """A mail and webhook server on loopback: `heard` has the first line of each caller."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with line:
                line.settimeout(5)
                self.heard.append(line.recv(200).decode().strip())

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def sink(world: Any) -> Iterator[Sink]:
    """Production has mail to send and a webhook; test's queue runner is one that sends."""
    found = Sink()
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()
    world.prod.cluster.rows(
        f"SET ROLE {world.prod.role};"
        "CREATE TABLE postausgang (id serial PRIMARY KEY, an text, status text);"
        "INSERT INTO postausgang (an, status) VALUES ('klientin@example.org', 'offen'),"
        " ('klient@example.org', 'offen'), ('alt@example.org', 'gesendet');"
        "INSERT INTO params (kunde, name, wert) VALUES"
        f" (1, 'mail.server', '{found.address}'), (1, 'webhook', '{found.address}')",
        "biso",
    )
    machine, owner = world.hosts["test"], world.test.owner
    worker = machine.folder / "worker.php"
    shutil.copy(WORKER, worker)
    before = (machine.units / "biso-cron/run").read_text()
    machine.systemctl("stop", "biso-cron")
    machine.unit(
        "biso-cron",
        f"cd /; exec setpriv --reuid={owner} --regid={owner} --clear-groups env -i"
        f" PATH=/usr/bin:/bin php {worker} {world.test.webroot}",
    )
    machine.systemctl("start", "biso-cron")
    yield found
    machine.systemctl("stop", "biso-cron")
    (machine.units / "biso-cron/run").write_text(before)
    machine.systemctl("start", "biso-cron")
    found.close()


def _worked(world: Any) -> None:
    """The queue runner went through its work twice since the swap."""
    sign = world.test.datadir / "queue.lebt"
    for _ in range(2):
        sign.unlink(missing_ok=True)
        end = time.monotonic() + 30
        while not sign.exists():
            assert time.monotonic() < end, "the queue runner does not run"
            time.sleep(0.05)


def _states(world: Any) -> list[str]:
    rows = world.test.cluster.rows("SELECT status FROM postausgang ORDER BY id", world.test.dbname)
    return [status for (status,) in rows]


@pytest.mark.parametrize("anonymize", [False, pytest.param(True, marks=pytest.mark.whole)])
def test_nothing_arrives(anonymize: bool, sink: Sink, world: Any) -> None:
    world.site(refresh={"anonymize": anonymize}, neutralize=RULES)
    world.refresh("--from", "prod")
    _worked(world)
    assert _states(world) == ["gesperrt", "gesperrt", "gesendet"]
    assert sink.heard == []


def test_without_the_rules_it_would(sink: Sink, world: Any) -> None:
    """The control: it shows that the test above can fail."""
    world.site(refresh={"anonymize": False})
    world.refresh("--from", "prod")
    _worked(world)
    assert _states(world) == ["gesendet"] * 3
    assert sorted(set(sink.heard)) == [
        "POST / HTTP/1.0", "RCPT TO:<klient@example.org>", "RCPT TO:<klientin@example.org>",
    ]  # fmt: skip
