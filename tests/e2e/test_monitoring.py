"""What a monitoring system sees: exit codes and JSON of `doctor` and `list`, as docs/monitoring.md
has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from set_world import biso, site, store_of
from test_full_disk import small_disk


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
