"""A swap that is killed anywhere, its recovery as well, ends with the instance of before or the one
of after, whole. A usual run takes every rename and some of the other verbs; BISO_FAULTS=all takes
them all, and more ways to choose the areas.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from stage_world import Killed, World

from biso_tasks.demo.postgres import Cluster
from biso_tasks.stage.model import Area

Build = Callable[..., World]
EVERYTHING = os.environ.get("BISO_FAULTS") == "all"

ALL: tuple[Area, ...] = ("webroot", "data", "database")


def exchanged(
    picture: dict[str, str], areas: tuple[Area, ...], *, rollback: bool
) -> dict[str, str]:
    """The picture after a swap of these areas."""
    goes = {"live": "previous", "stage": "live", "previous": "stage"}
    if rollback:
        goes = {"live": "previous", "previous": "live", "stage": "stage"}
    after = {}
    for name, who in picture.items():
        place, area = name.split()
        after[f"{goes[place] if area in areas else place} {area}"] = who
    return after


def killed_at(world: World, verb: int, work: Callable[[], Any]) -> bool:
    """Whether the work was cut off at that verb: it may end before."""
    world.host.live(verb)
    try:
        work()
    except Killed:
        return True
    finally:
        world.host.live()
    return False


CASES = [
    pytest.param(ALL, True, False, id="all, data inside"),
    pytest.param(ALL, True, True, id="rollback of all, data inside"),
    pytest.param(("webroot",), True, False, id="webroot, data lifted over"),
    pytest.param(("webroot",), False, False, id="webroot, data outside"),
]
if EVERYTHING:
    CASES += [
        pytest.param(("webroot", "data"), True, False, id="files, data inside"),
        pytest.param(("webroot", "data"), False, False, id="files, data outside"),
        pytest.param(("webroot",), True, True, id="rollback of the webroot, data lifted over"),
        pytest.param(("data",), True, False, id="data"),
        pytest.param(("webroot", "database"), True, False, id="webroot and database"),
        pytest.param(("database",), True, False, id="database"),
    ]


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize(("areas", "inside", "rollback"), CASES)
def test_a_swap_killed_at_any_verb_and_recovered_from_elsewhere_is_whole(
    world: Build,
    areas: tuple[Area, ...],
    inside: bool,
    rollback: bool,
    request: pytest.FixtureRequest,
) -> None:
    cluster: Cluster | None = None
    if "database" in areas:
        cluster = request.getfixturevalue("postgres")
    one = world(inside=inside, cluster=cluster)
    seen: set[str] = set()
    for verb in verbs_of_a_swap(one, areas, rollback=rollback):
        before = one.picture()
        after = exchanged(before, areas, rollback=rollback)
        assert killed_at(one, verb, lambda: one.swap(areas, rollback=rollback))
        # The first attempt to recover is killed as well, each time somewhere else.
        killed_at(one, 1 + verb * 5 % 17, one.recover)
        one.recover()
        now = one.picture()
        assert now in (before, after), f"killed at verb {verb}"
        seen.add("before" if now == before else "after")
        assert not (one.datadir / "maintenance.on").exists(), f"killed at verb {verb}"
        assert not (one.stage_dir / "intent.json").exists()
        for stray in ("moving", "moving-webroot"):
            assert not (one.stage_dir / stray).exists()
    assert seen == {"before", "after"}
    if not inside and "webroot" in areas:
        assert [path.name for path in one.webroot.parent.iterdir()] == [one.webroot.name]


def verbs_of_a_swap(one: World, areas: tuple[Area, ...], *, rollback: bool) -> list[int]:
    """A whole swap, uninterrupted; the numbers of its verbs from the intent on at which to kill."""
    before = one.picture()
    one.host.live()
    one.swap(areas, rollback=rollback)
    verbs = list(enumerate(one.host.verbs, start=1))
    assert one.picture() == exchanged(before, areas, rollback=rollback)
    assert not (one.datadir / "maintenance.on").exists()
    begun = next(number for number, what in verbs if "intent.json" in what)
    telling = [number for number, what in verbs if what.startswith(("rename", "execute"))]
    if not EVERYTHING:
        own = set(telling) | {telling[-1] + 1}
        verbs = [one for one in verbs if one[0] in own or one == verbs[-1]]
    return [number for number, _ in verbs if number >= begun]
