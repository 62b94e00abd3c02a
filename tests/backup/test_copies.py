"""Sets that were copied elsewhere, whatever their directories are called there."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.backup.copies import Copies, find_place
from biso_tasks.backup.ids import BadSet, new_id
from biso_tasks.backup.reading import reading
from biso_tasks.backup.sealed import Sealed
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.errors import Refused
from biso_tasks.host.local import LocalHost

ODD = "Kopie von\nprod é"


def at(day: int) -> str:
    return new_id(datetime(2026, 11, day, 3, 15, tzinfo=UTC), "prod")


def copied(store: Store, id: str, to: Path) -> Path:
    shutil.copytree(store.set_path(id), to, symlinks=True)
    return to


def picture(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in (root, *root.rglob("*"))
    }


@pytest.fixture
def stick(store: Store, maker: Any, tmp_path: Path) -> Path:
    """A folder with two copies under other names, one of them of a set without webroot and data,
    and with what else lies about."""
    maker.seal(at(19))
    maker.seal(at(20), areas=("database",))
    root = tmp_path / "Stick"
    root.mkdir()
    copied(store, at(19), root / ODD)
    copied(store, at(20), root / at(20))
    (root / "Bilder").mkdir()
    (root / "lies mich.txt").write_text("x")
    return root


def test_what_is_at_a_path_is_told(here: LocalHost, store: Store, stick: Path) -> None:
    assert find_place(here, store.path)[0] == "store"
    assert find_place(here, f"{store.path}/sets")[0] == "sets"
    assert find_place(here, f"{store.path}/latest") == ("set", store.set_path(at(19)))
    assert find_place(here, str(stick)) == ("sets", str(stick))
    assert find_place(here, str(stick / ODD)) == ("set", str(stick / ODD))
    assert find_place(here, str(stick / "nowhere")) == ("store", str(stick / "nowhere"))
    assert find_place(here, str(stick / "Bilder"))[0] == "store"


def test_a_folder_of_copies_is_listed_by_the_ids_of_their_manifests(
    here: LocalHost, stick: Path
) -> None:
    copies = Copies(here, str(stick), single=False)
    found = copies.list()
    assert [(one.id, one.state, one.complete) for one in found] == [
        (at(19), "good", True),
        (at(20), "good", False),
    ]
    assert copies.resolve("latest") == at(19)
    assert copies.read(at(19)).path == str(stick / ODD)


def test_a_copy_is_verified_and_read_and_nothing_is_written_there(
    here: LocalHost, stick: Path
) -> None:
    before = picture(stick)
    copies = Copies(here, str(stick / ODD), single=True)
    (one,) = copies.list()
    assert one.id == at(19)
    with copies.lock({}), reading(copies, one.id, {}) as why:
        assert verify_set(copies, one.id) == ()
        assert Sealed(copies, copies.read(one.id)).tree("data")
    assert why == ""
    assert picture(stick) == before
    with pytest.raises(Refused, match="nothing is written there"):
        copies.pin(one.id, "", None, datetime.now(UTC))


def test_a_byte_that_changed_on_the_way_is_found(here: LocalHost, stick: Path) -> None:
    path = stick / ODD / "data/inner/höhe und tiefe"
    path.write_text("SPACES")
    copies = Copies(here, str(stick), single=False)
    assert [one.path for one in verify_set(copies, at(19))] == ["data/inner/höhe und tiefe"]


def test_of_two_copies_of_one_set_the_one_counts_that_is_called_by_its_id(
    here: LocalHost, store: Store, stick: Path
) -> None:
    copied(store, at(20), stick / f"{at(20)} (Kopie)")
    copied(store, at(20), stick / "0 zuerst")
    copies = Copies(here, str(stick), single=False)
    assert len(copies.list()) == 2
    assert copies.set_path(at(20)) == str(stick / at(20))


@pytest.mark.parametrize("single", [True, False], ids=["itself", "in a folder"])
def test_a_set_without_its_state_says_that_only_a_part_was_copied(
    here: LocalHost, stick: Path, single: bool
) -> None:
    (stick / ODD / "state.toml").unlink()
    copies = Copies(here, str(stick / ODD if single else stick), single=single)
    with pytest.raises(BadSet, match=r"state\.toml is missing") as caught:
        copies.read(at(19))
    assert "only a part" in caught.value.hint
    assert "RESTORE.md" in caught.value.hint
    with pytest.raises(Refused, match=r"is damaged: state\.toml is missing"):
        copies.resolve("latest")


def test_a_directory_without_a_manifest_is_no_whole_set(here: LocalHost, stick: Path) -> None:
    (stick / ODD / "manifest.toml").unlink()
    assert find_place(here, str(stick / ODD))[0] == "set"
    with pytest.raises(BadSet, match=r"manifest\.toml is missing") as caught:
        Copies(here, str(stick / ODD), single=True).list()
    assert "only a part" in caught.value.hint
    folder = Copies(here, str(stick), single=False)
    assert [one.id for one in folder.list()] == [at(20)]
    (stick / at(20) / "manifest.toml").unlink()
    assert [(one.id, one.why) for one in folder.list()] == [(at(20), "manifest.toml is missing")]


@pytest.mark.needs("root")
def test_what_belongs_to_somebody_else_is_refused(here: LocalHost, stick: Path) -> None:
    os.chown(stick, 65534, -1)
    with pytest.raises(Refused, match="belongs to nobody"):
        Copies(here, str(stick), single=False).list()
