"""What a monitoring system sees: exit codes and JSON of `doctor` and `list`, as docs/monitoring.md
has them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from set_world import biso, site, store_of
from test_full_disk import small_disk

from biso_tasks.host import LocalHost
from biso_tasks.instance.lock import lock_folder

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def told() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A server on this machine: its URL, and path and body of what was sent to it."""
    came: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((self.path, json.loads(body) if self.path == "/hook" else body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()


def complaints(world: Any, *, code: int) -> list[dict[str, Any]]:
    ran = biso(world, "doctor", code=code)
    bad = [one for one in ran.json["checks"] if not one["ok"]]
    assert all(one["remedy"] for one in bad), bad
    assert ran.json["ok"] is (not bad)
    return bad


def test_the_four_states_that_a_site_is_watched_for(local: Any) -> None:
    site(local, ssh=False)
    assert complaints(local, code=0) == [], "new: nothing is missed yet"
    made = biso(local, "backup").json
    (one,) = biso(local, "list").json["sets"]
    assert (one["id"], one["state"]) == (made["set"], "good")
    assert biso(local, "list").json["stale"] == []
    assert complaints(local, code=0) == []

    # the timer has stopped
    site(local, ssh=False, schedule={"max_age": {"good": "1s"}})
    (line,) = biso(local, "list").json["stale"]
    assert made["set"] in line and "biso backup" in line
    (bad,) = complaints(local, code=3)
    assert (bad["name"], "biso backup" in bad["remedy"]) == ("backup sets", True)

    # a byte of it is another one
    site(local, ssh=False)
    file = Path(made["path"]) / "webroot/index.php"
    file.chmod(0o600)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert complaints(local, code=0) == [], "only reading it tells"
    assert biso(local, "verify", code=4).json["findings"]
    (one,) = biso(local, "list").json["sets"]
    assert one["state"] == "damaged"
    assert biso(local, "list").json["stale"] != []
    bad = [one for one in complaints(local, code=3) if "is damaged" in one["detail"]]
    assert made["set"] in bad[0]["detail"]
    # what the line says helps
    again = biso(local, "backup").json
    biso(local, "prune", "--yes")
    assert [one["id"] for one in biso(local, "list").json["sets"]] == [again["set"]]
    assert complaints(local, code=0) == []


def test_a_disk_without_room_for_the_next_set_is_told_before_it_is_needed(local: Any) -> None:
    site(local, ssh=False)
    store = store_of(local, ssh=False)
    store.mkdir(mode=0o700)
    with small_disk(store):
        biso(local, "backup")
        assert complaints(local, code=0) == []
        with (store / "filler").open("wb") as filler:
            filler.write(bytes(99_000_000))
        (bad,) = complaints(local, code=3)
        assert bad["name"] == "backup"
        assert str(store) in bad["detail"] and "free" in bad["detail"]
        (store / "filler").unlink()
        assert complaints(local, code=0) == []


def test_a_lock_that_a_colleague_holds_is_told(local: Any, told: Any) -> None:
    """The one that a run meets on the host, not one that a test made up."""
    url, came = told
    notify = {"webhook": [{"url": f"{url}/hook"}], "healthchecks": [{"url": f"{url}/ping"}]}
    local.site(ssh=False, site={"plugins": [str(PLUGINS)]}, plugins={"notify": notify})
    host, folder = LocalHost("test"), str(local.test.stage_dir)
    owner = {"run": "20260101_000000-refresh-test-ab12", "who": "anna@laptop", "since": "heute"}
    local.test.stage_dir.mkdir(mode=0o700)
    try:
        with lock_folder(host, folder, owner, user=None, what="test"):
            ran = local.run("refresh-test", "--no-anonymize", "--yes", "--json")
    finally:
        host.close()
    assert ran.code == 5, str(ran)
    assert "anna@laptop" in ran.message
    (hook,) = [body for path, body in came if path == "/hook"]
    assert (hook["exit_code"], hook["error"]["kind"]) == (5, "locked")
    assert owner["run"] in hook["error"]["message"], "and no address: a chat is no journal"
    assert [path for path, _ in came if path != "/hook"] == ["/ping/fail"]
