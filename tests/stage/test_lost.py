"""A webroot that a killed swap left nowhere, and a swap of files alone that ends badly."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from stage_world import OWNER, Killed, World

from biso_tasks.errors import Locked, NeedsPerson, Refused, StepFailed
from biso_tasks.instance.lock import lock
from biso_tasks.stage.lost import put_webroot_back, require_none_lost

Build = Callable[..., World]


def lost(world: World) -> None:
    """Killed just after the live webroot has gone."""
    world.host.live()
    world.host.dies_after = f"rename '{world.webroot}' "
    with pytest.raises(Killed):
        world.swap(("webroot", "data"))
    world.host.live()
    assert not world.webroot.exists()


def test_a_swap_that_is_alive_is_left_alone(world: Build) -> None:
    one = world(inside=True)
    layout = one.read().layout
    lost(one)
    with (
        lock(one.host, one.environment, layout, {**OWNER, "who": "somebody"}),
        pytest.raises(Locked, match="somebody"),
    ):
        put_webroot_back(one.host, one.environment, OWNER)
    assert not one.webroot.exists()
    assert put_webroot_back(one.host, one.environment, OWNER) is True
    assert (one.webroot / "config.php").exists()
    assert (one.datadir / "who").exists()


def test_a_webroot_that_a_swap_has_left_somewhere_is_none_that_is_gone(world: Build) -> None:
    one = world(inside=True)
    lost(one)
    with pytest.raises(Refused, match="left the webroot in") as caught:
        require_none_lost(one.host, one.environment)
    assert "biso recover" in caught.value.hint
    assert put_webroot_back(one.host, one.environment, OWNER)
    (one.stage_dir / "intent.json").unlink()
    (one.webroot / "config.php").unlink()
    require_none_lost(one.host, one.environment)


@pytest.mark.parametrize(
    ("field", "value"),
    [("stage", "/etc"), ("previous", "/root"), ("moving", "/tmp/x"), ("live", "/srv/other")],
)
def test_an_intent_that_names_other_places_is_not_followed(
    world: Build, field: str, value: str
) -> None:
    one = world(inside=True)
    lost(one)
    path = one.stage_dir / "intent.json"
    document = json.loads(path.read_text())
    for number in (0, 1):
        wrong = json.loads(json.dumps(document))
        below = "/../x" if (number, field) == (1, "live") else ""
        wrong["slots"][number][field] = f"{one.webroot}{below}" if below else value
        path.write_text(json.dumps(wrong))
        before = one.picture()
        with pytest.raises(NeedsPerson, match="does not say where it went"):
            put_webroot_back(one.host, one.environment, OWNER)
        assert one.picture() == before
    path.write_text(json.dumps(document))
    assert put_webroot_back(one.host, one.environment, OWNER)


@pytest.mark.parametrize("areas", [("webroot",), ("webroot", "data")])
def test_new_code_that_does_not_run_is_swapped_back_though_no_database_says_so(
    world: Build, areas: tuple[str, ...]
) -> None:
    one = world(inside=True)
    (one.stage_dir / "stage/webroot/biso-cli").write_text("echo broken >&2; exit 1\n")
    before = one.picture()
    with pytest.raises(StepFailed, match=r"answered badly after the swap: .*broken"):
        one.swap(areas)  # type: ignore[arg-type]
    assert one.picture() == before
    assert not (one.datadir / "maintenance.on").exists()
    assert not (one.stage_dir / "intent.json").exists()


def test_a_stranger_in_the_way_stops_the_renames_at_once_and_all_goes_back(world: Build) -> None:
    """With mv -n, which may end well without a rename, the next one would build on sand."""
    one = world(inside=True)
    stranger = one.stage_dir / "moving"
    stranger.mkdir()
    (stranger / "x").touch()
    before = one.picture()
    with pytest.raises(StepFailed, match="moving is in the way"):
        one.swap(("webroot",))
    assert one.picture() == before
    assert not (one.datadir / "maintenance.on").exists()
