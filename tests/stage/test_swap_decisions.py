"""Every way through a swap, against a site in memory (swap_model): at each of its moments something
fails, loses its answer, or the controller is gone, and the recovery of that as well."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from swap_model import Killed, Site, install

from biso_tasks.errors import NeedsPerson, Refused, StepFailed
from biso_tasks.stage import swap
from biso_tasks.stage.model import Area

DATABASE: frozenset[Area] = frozenset({"data", "database"})
FILES: frozenset[Area] = frozenset({"data", "webroot"})
ALL: frozenset[Area] = DATABASE | FILES
SITES: dict[str, dict[str, Any]] = {
    "database": {"areas": DATABASE},
    "two-servers": {"areas": ALL, "servers": ("main", "log")},
    "three-servers": {"areas": DATABASE, "servers": ("main", "log", "extra")},
    "files": {"areas": FILES},
    "in-maintenance": {"areas": DATABASE, "in_maintenance": True},
    "no-url": {"areas": DATABASE, "url": ""},
}
WAYS = list(itertools.product(SITES, [False, True]))
each_way = pytest.mark.parametrize(("kind", "rollback"), WAYS)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Site]:
    install(monkeypatch)
    return lambda kind, **given: Site(**{**SITES[kind], **given})


def run(one: Site, *, rollback: bool) -> swap.Swapped:
    """The swap. Which intent it has follows from what is there when it begins."""
    intent = one.intent(rollback=rollback)
    closing = one.close_stage(rollback=rollback)
    return swap.swap(one.instance(), intent, stage_maintenance=closing, ours=one.ours)


def recover(one: Site, intent: swap.Intent) -> None:
    """What `recover` does of the intent that it finds, if any: as it said that it would."""
    document = one.documents.get("intent")
    if document is None:
        return
    assert document["run"] == "r1"
    said = swap.goes_forward(deepcopy(one).instance(), intent, document["direction"])
    done, _ = swap.finish(one.instance(), intent, document["direction"])
    assert done == ("forward" if said else "back")


def whole(one: Site, *, rollback: bool) -> str:
    """Which instance is served; everything else has to fit."""
    assert not one.torn
    found = "old" if one.trees["live"] == "old" else "new"
    other = Site(one.servers, one.areas, one.in_maintenance, one.url)
    if found == "new":
        goes = ({"previous": "live", "live": "previous"} if rollback else
                {"stage": "live", "live": "previous", "previous": "stage"})  # fmt: skip
        other.trees = {goes.get(place, place): who for place, who in other.trees.items()}
        other.databases = {
            (server, goes.get(place, place)): who
            for (server, place), who in other.databases.items()
        }
        if one.in_maintenance:
            other.closed.add(other.trees["live"])
    assert one.picture == other.picture
    assert one.documents == {"instance": {"serves": found}}
    return found


def each_moment(
    site: Callable[..., Site], kind: str, manner: str, *, rollback: bool
) -> Iterator[Site]:
    """A site for each moment of a swap, at which that happens to it."""
    first = site(kind)
    run(first, rollback=rollback)
    for at in range(1, len(first.moments) + 1):
        yield site(kind, at=at, manner=manner)


_TREES = ["rename the first tree without asking", "rename the trees", "look at the lock"]
_AWAY = ["look at the lock", "maintenance True", "stop web", "stop scheduler"]
_BACK = ["start scheduler", "start web", "ask the site", "maintenance False", "ask maintenance",
         "ask the site again", "write instance"]  # fmt: skip
ORDER = {
    "database": [
        "write intent", "close the stage", "connect main", *_AWAY, "block main", *_TREES,
        "commit main", *_BACK, "remove intent",
    ],
    "two-servers": [
        "write intent", "note", "close the stage", "connect log", *_AWAY, "block log", "commit log",
        "connect main", "block main", *_TREES, "commit main", *_BACK, "forget", "remove intent",
    ],
    "three-servers": [
        "write intent", "close the stage", "connect extra", *_AWAY, "block extra", "commit extra",
        "connect log", "block log", "commit log", "connect main", "block main", *_TREES,
        "commit main", *_BACK, "remove intent",
    ],
    "files": [
        "write intent", "note", "close the stage", *_AWAY, *_TREES, *_BACK, "forget",
        "remove intent",
    ],
    "in-maintenance": [
        "write intent", "close the stage", "connect main",
        *(one for one in _AWAY if one != "maintenance True"), "block main", *_TREES, "commit main",
        "start scheduler", "start web", "ask the site", "write instance", "remove intent",
    ],
    "no-url": [
        "write intent", "close the stage", "connect main", *_AWAY, "block main", *_TREES,
        "commit main", *(one for one in _BACK if "ask the site" not in one), "remove intent",
    ],
}  # fmt: skip


@each_way
def test_a_swap_exchanges_everything_in_this_order(
    site: Callable[..., Site], kind: str, rollback: bool
) -> None:
    """All that can be asked beforehand has been when the site goes; the main database is last."""
    one = site(kind)
    done = run(one, rollback=rollback)
    assert one.moments == ORDER[kind]
    assert whole(one, rollback=rollback) == "new"
    assert done.leftover == tuple(
        f"leftover {server}" for server in reversed(one.servers) if "database" in one.areas
    )
    assert bool(done.notes) == one.in_maintenance
    assert done.until.tzinfo is not None
    # The model's clock goes on by one whenever it is looked at.
    assert done.downtime == 1


@each_way
@pytest.mark.parametrize("manner", ["fails", "fails after"])
def test_a_failure_that_is_over_leaves_the_old_instance_or_a_swap_that_went_well(
    site: Callable[..., Site], kind: str, rollback: bool, manner: str
) -> None:
    for one in each_moment(site, kind, manner, rollback=rollback):
        intent = one.intent(rollback=rollback)
        # Nothing has begun where even the intent could not be written; recover finds it or not.
        begun = one.at > 1
        try:
            run(one, rollback=rollback)
        except StepFailed:
            if begun:
                assert "intent" not in one.documents
            recover(one.mended(), intent)
            assert whole(one, rollback=rollback) == "old"
        else:
            assert whole(one, rollback=rollback) == "new"


@each_way
@pytest.mark.parametrize("manner", ["dies", "dies after"])
def test_a_swap_that_is_killed_and_its_recovery_too_is_old_or_new(
    site: Callable[..., Site], kind: str, rollback: bool, manner: str
) -> None:
    seen = set()
    for one in each_moment(site, kind, manner, rollback=rollback):
        intent = one.intent(rollback=rollback)
        with pytest.raises(Killed):
            run(one, rollback=rollback)
        there = deepcopy(one.mended())
        recover(there, intent)
        decided = whole(there, rollback=rollback)
        seen.add(decided)
        for again in range(1, len(there.moments) + 1):
            another = deepcopy(one)
            another.at, another.manner = again, manner
            with pytest.raises(Killed):
                recover(another, intent)
            recover(another.mended(), intent)
            assert whole(another, rollback=rollback) == decided
    assert seen == {"old", "new"}


@each_way
def test_where_nothing_answers_any_more_an_intent_stays_and_recover_does_the_rest(
    site: Callable[..., Site], kind: str, rollback: bool
) -> None:
    for one in each_moment(site, kind, "stays away", rollback=rollback):
        intent = one.intent(rollback=rollback)
        with pytest.raises((StepFailed, NeedsPerson)) as caught:
            run(one, rollback=rollback)
        begun, last = one.at > 1, ORDER[kind].index("write instance") + 1
        assert ("intent" in one.documents) == begun
        assert not begun or "biso recover" in str(caught.value.hint)
        told = "serves, but its host could not write that down" in caught.value.message
        assert told == (one.at >= last)
        recover(one.mended(), intent)
        served = whole(one, rollback=rollback)
        assert served == "new" or not told


@each_way
def test_what_somebody_changed_meanwhile_is_told_when_all_was_put_back(
    site: Callable[..., Site], kind: str, rollback: bool
) -> None:
    for at in (ORDER[kind].index("close the stage") + 1, ORDER[kind].index(_TREES[1]) + 1):
        one = site(kind, at=at, manner="a person")
        with pytest.raises(StepFailed, match="All was put back since") as caught:
            run(one, rollback=rollback)
        assert type(caught.value) is StepFailed
        assert whole(one, rollback=rollback) == "old"


SPOILT = [
    (kind, spoils)
    for kind, given in SITES.items()
    for spoils in ("in maintenance", "afterwards", "switch")
    if not (given.get("url") == "" and spoils != "switch")
    and not (given.get("in_maintenance") and spoils != "in maintenance")
]


@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize(("kind", "spoils"), SPOILT)
def test_a_site_that_answers_badly_is_swapped_back_whatever_fails_on_the_way(
    site: Callable[..., Site], kind: str, spoils: str, rollback: bool
) -> None:
    first = site(kind, spoils=spoils)
    with pytest.raises(swap.SiteAnswersBadly, match="serves again"):
        run(first, rollback=rollback)
    assert whole(first, rollback=rollback) == "old"
    for manner, at in itertools.product(
        ["fails", "fails after", "dies", "dies after", "stays away"],
        range(1, len(first.moments) + 1),
    ):
        one = site(kind, spoils=spoils, at=at, manner=manner)
        intent = one.intent(rollback=rollback)
        with pytest.raises((StepFailed, NeedsPerson, Killed)):
            run(one, rollback=rollback)
        with suppress(swap.SiteAnswersBadly):
            recover(one.mended(), intent)
        assert whole(one, rollback=rollback) == "old", f"{manner} {first.moments[at - 1]}"


_UNTOUCHED = ["connect main", "ask main", "rename the trees", "connect main", "allow main"]
TAKEN_BACK = {
    "look at the lock": ["ask maintenance"],
    "stop scheduler": ["start web", "ask maintenance", "maintenance False"],
}


@pytest.mark.parametrize("failed", TAKEN_BACK)
def test_before_the_commit_nothing_is_stopped_to_take_it_back(
    site: Callable[..., Site], failed: str
) -> None:
    one = site("database", at=ORDER["database"].index(failed) + 1, manner="fails")
    with pytest.raises(StepFailed):
        run(one, rollback=False)
    expected = ["write intent", *_UNTOUCHED, *TAKEN_BACK[failed], "remove intent"]
    assert one.moments[one.at :] == expected


_RETURN = [
    "ask services", "stop scheduler", "stop web", "connect main", "ask main", "block main",
    "commit main", "rename the first tree where it must", "rename the trees", "connect main",
    "allow main", "start scheduler", "start web",
]  # fmt: skip
SWAPPED_BACK = {
    ("database", "in maintenance"): ["ask maintenance", *_RETURN, "ask maintenance",
                                     "maintenance False"],
    ("database", "switch"): ["ask maintenance", *_RETURN, "ask maintenance", "maintenance False"],
    ("database", "afterwards"): ["ask maintenance", "maintenance True", *_RETURN,
                                 "ask maintenance", "maintenance False"],
    ("in-maintenance", "in maintenance"): _RETURN,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "spoils"), SWAPPED_BACK)
def test_a_site_that_answers_badly_is_swapped_back_in_this_order(
    site: Callable[..., Site], kind: str, spoils: str
) -> None:
    """In maintenance before its services are stopped; nothing is switched that was so before."""
    one = site(kind, spoils=spoils)
    with pytest.raises(swap.SiteAnswersBadly, match=r"^https://test.example answered badly after"):
        run(one, rollback=False)
    begin = len(one.moments) - one.moments[::-1].index("write intent")
    asked = ["connect main", "ask main"]
    assert one.moments[begin:] == [*asked, *SWAPPED_BACK[kind, spoils], "remove intent"]


def test_a_site_without_a_url_is_called_by_its_name(site: Callable[..., Site]) -> None:
    with pytest.raises(swap.SiteAnswersBadly, match=r"^test answered badly after"):
        run(site("no-url", spoils="switch"), rollback=False)


@each_way
def test_a_swap_on_its_way_back_goes_back_though_the_site_answers_now(
    site: Callable[..., Site], kind: str, rollback: bool
) -> None:
    """Whoever was told that it was swapped back finds it so."""
    spoils = "switch" if kind == "no-url" else "in maintenance"
    first = site(kind, spoils=spoils)
    with pytest.raises(swap.SiteAnswersBadly):
        run(first, rollback=rollback)
    begin = len(first.moments) - first.moments[::-1].index("write intent")
    for at in range(begin + 1, len(first.moments) + 1):
        one = site(kind, spoils=spoils, at=at, manner="dies")
        intent = one.intent(rollback=rollback)
        with pytest.raises(Killed):
            run(one, rollback=rollback)
        one.spoils = ""
        recover(one.mended(), intent)
        assert whole(one, rollback=rollback) == "old"


def test_an_intent_that_was_left_is_named_and_refused(site: Callable[..., Site]) -> None:
    one = site("database")
    swap.require_no_intent(one.instance())
    for kind, what in (("", "a swap"), ("in-place", "an in-place refresh"),
                       (swap.PIECE, "a restore of one path")):  # fmt: skip
        one.documents["intent"] = {"run": "r7", "at": "noon", "kind": kind}
        with pytest.raises(Refused, match=f"^test: {what} of run r7 was interrupted at noon\n"):
            swap.require_no_intent(one.instance())
