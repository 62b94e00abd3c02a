"""The directory half of the swap: finished from wherever a kill has left it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from biso_tasks.errors import NeedsPerson, Refused, StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.places import Slot, entry_slots, settle, slot, standing
from biso_tasks.host import LocalHost


@pytest.fixture
def access() -> Iterator[Access]:
    host = LocalHost("here")
    yield Access(host)
    host.close()


def make(folder: Path, *, previous: bool = True) -> dict[str, Path]:
    places = {name: folder / name for name in ("live", "stage", "previous", "moving")}
    for name in ("live", "stage", "previous") if previous else ("live", "stage"):
        places[name].mkdir()
        (places[name] / "who").write_text(name)
    return places


def who(path: Path) -> str | None:
    return (path / "who").read_text() if (path / "who").exists() else None


def the_slot(access: Access, places: dict[str, Path]) -> Slot:
    return slot(access, *(str(places[n]) for n in ("live", "stage", "previous", "moving")))


def test_a_refresh_puts_the_stage_live_and_hands_the_old_previous_to_the_stage(
    tmp_path: Path, access: Access
) -> None:
    places = make(tmp_path)
    slots = [the_slot(access, places)]
    settle(access, slots, after=True)
    assert [who(places[n]) for n in ("live", "previous", "stage")] == ["stage", "live", "previous"]
    assert standing(access, slots, rollback=False) == "after"
    settle(access, slots, after=False)
    assert [who(places[n]) for n in ("live", "stage", "previous")] == ["live", "stage", "previous"]
    assert standing(access, slots, rollback=False) == "before"


def test_a_rollback_exchanges_live_and_previous_and_twice_is_as_before(
    tmp_path: Path, access: Access
) -> None:
    places = make(tmp_path)
    (places["stage"] / "who").unlink()
    places["stage"].rmdir()
    settle(access, [the_slot(access, places)], after=True, rollback=True)
    assert [who(places[n]) for n in ("live", "previous")] == ["previous", "live"]
    settle(access, [the_slot(access, places)], after=True, rollback=True)
    assert [who(places[n]) for n in ("live", "previous")] == ["live", "previous"]
    assert not places["moving"].exists()


@pytest.mark.parametrize(("rollback", "previous"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("after", [False, True])
def test_it_finishes_from_every_order_in_which_things_can_stand(
    tmp_path: Path, access: Access, rollback: bool, previous: bool, after: bool
) -> None:
    """Every way to lay the trees over the four paths, most of which no kill can leave."""
    paths = ("live", "stage", "previous", "moving")
    trees = ("live", "stage", "previous") if previous else ("live", "stage")
    for number, layout in enumerate(itertools.permutations(paths, len(trees))):
        folder = tmp_path / str(number)
        folder.mkdir()
        places = make(folder, previous=previous)
        one = the_slot(access, places)
        aside = folder / "aside"
        aside.mkdir()
        for tree in trees:
            places[tree].rename(aside / tree)
        for tree, path in zip(trees, layout, strict=True):
            (aside / tree).rename(places[path])
        settle(access, [one], after=after, rollback=rollback)
        wanted = one.wanted(after=after, rollback=rollback)
        found = {name: who(places[name]) for name in paths if who(places[name])}
        names = {one.live_id: "live", one.stage_id: "stage", one.previous_id: "previous"}
        assert found == {Path(path).name: names[identity] for identity, path in wanted.items()}


def test_what_is_gone_needs_a_person_and_nothing_is_moved(tmp_path: Path, access: Access) -> None:
    places = make(tmp_path)
    slots = [the_slot(access, places)]
    places["stage"].rename(tmp_path / "elsewhere")
    with pytest.raises(NeedsPerson, match="no longer there"):
        settle(access, slots, after=True)
    assert who(places["live"]) == "live"


def test_a_stranger_in_the_way_is_not_overwritten(tmp_path: Path, access: Access) -> None:
    places = make(tmp_path, previous=False)
    slots = [the_slot(access, places)]
    places["previous"].mkdir()
    (places["previous"] / "who").write_text("stranger")
    with pytest.raises(StepFailed):
        settle(access, slots, after=True)
    assert who(places["previous"]) == "stranger"


def test_a_mount_point_is_exchanged_entry_by_entry(tmp_path: Path, access: Access) -> None:
    """Each entry is a slot; the stage directory inside the mount stays where it is."""
    own = tmp_path / ".biso-tasks"
    for name in ("a", "b b", "new\nline"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text("live")
    for name in ("b b", "c"):
        (own / "stage" / name).mkdir(parents=True)
        (own / "stage" / name / "who").write_text("stage")
    for name in ("previous", "moving"):
        (own / name).mkdir()
    slots = entry_slots(
        access, str(tmp_path), str(own / "stage"), str(own / "previous"), str(own / "moving"),
        without=".biso-tasks",
    )  # fmt: skip
    settle(access, slots, after=True)
    assert {p.name for p in tmp_path.iterdir()} == {"b b", "c", ".biso-tasks"}
    assert {p.name for p in (own / "previous").iterdir()} == {"a", "b b", "new\nline"}
    assert who(tmp_path / "b b") == "stage"
    settle(access, slots, after=False)
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b b", "new\nline", ".biso-tasks"}
    assert who(tmp_path / "b b") == "live"


def test_another_filesystem_is_refused_before_anything_moves(
    tmp_path: Path, access: Access
) -> None:
    places = make(tmp_path)
    with pytest.raises(Refused, match="different filesystems"):
        slot(access, str(places["live"]), "/dev/shm/x/stage", str(places["previous"]), "/dev/shm/m")
