"""`--from` a place that is no store: a set's directory somewhere, a folder of such directories."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from restore_site import Restored, tree

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]


@pytest.fixture
def stick(world: Restored) -> Iterator[Path]:
    """A folder elsewhere, in which the set's directory has another name."""
    root = world.built.root / "Stick 1"
    root.mkdir()
    shutil.copytree(world.set_folder, root / "Sicherung prod", symlinks=True)
    yield root
    shutil.rmtree(root)


@pytest.mark.parametrize("inner", ["Sicherung prod", ""], ids=["its directory", "the folder"])
def test_a_copied_set_is_listed_shown_verified_and_restored(
    world: Restored, stick: Path, inner: str
) -> None:
    place = str(stick / inner) if inner else str(stick)
    letter = world.prod.datadir / "brief_vorlagen/Erstgespräch.docx"
    before, copy = tree(world.prod.datadir), tree(stick)

    (listed,) = world.run("list", env="", from_=place)["sets"]
    assert (listed["id"], listed["state"]) == (world.id, "good")
    shown = world.run("show", set_="latest", from_=place)
    assert (shown["set"], shown["path"]) == (world.id, str(stick / "Sicherung prod"))
    given = {"all_": False, "drill": False, "on": "", "from_": place}
    assert world.run("verify", set_="", **given)["sets"] == [world.id]
    assert world.run("verify", set_="", **{**given, "all_": True})["sets"] == [world.id]
    assert world.run("verify", set_=world.id, **{**given, "drill": True})["drilled"]

    letter.write_text("verdorben")
    if inner:
        document = world.restore(set_="latest", from_=place)
    else:
        document = world.restore(from_=place, only="data")

    assert document["source"] == world.id
    assert tree(world.prod.datadir) == before
    assert tree(stick) == copy, "a copy is only read"


def test_the_link_latest_of_a_store_is_the_set_that_it_leads_to(world: Restored) -> None:
    place = f"{world.built.home}/backups/latest"
    shown = world.run("show", set_="latest", from_=place)
    assert shown["path"] == str(world.set_folder)
    assert len(world.run("list", env="", from_=str(world.set_folder.parent))["sets"]) == 1


def test_a_set_of_which_only_a_part_was_copied_is_refused_with_what_is_missing(
    world: Restored, stick: Path
) -> None:
    part = stick / "Sicherung prod"
    (part / "state.toml").unlink()
    error = world.restore(4, plan=True, from_=str(part))["error"]
    assert "state.toml is missing" in error["message"]
    assert "RESTORE.md" in error["hint"]
    said = world.refused(set_="latest", from_=str(stick))
    assert f"{world.id} is damaged: state.toml is missing" in said
    shutil.copy(world.set_folder / "state.toml", part)
    (part / "data/fop.xconf").unlink()
    error = world.restore(4, from_=str(part))["error"]
    assert "data/fop.xconf" in error["message"]
