"""A set's documents are believed as far as they are what was sealed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.sealed import Sealed
from biso_tasks.backup.store import Store


def test_documents_and_trees_are_what_was_sealed(store: Store, sealed: tuple[str, Path]) -> None:
    id, folder = sealed
    known = Sealed(store, store.read(id))
    config = (folder / "config/config.php").read_bytes()
    assert known.file("config/config.php") == config
    assert "METADATA" in known.sums()
    top, *entries = known.tree("data")
    assert (top.kind, top.path) == ("dir", "")
    assert "inner/line\nbreak\\n" in {entry.path for entry in entries}


def test_documents_are_read_once_however_many_steps_ask(
    store: Store, sealed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = Store.read_file

    def noted(self: Store, id: str, name: str) -> bytes | None:
        read.append(name)
        return real(self, id, name)

    monkeypatch.setattr(Store, "read_file", noted)
    known = Sealed(store, store.read(sealed[0]))
    with ThreadPoolExecutor(3) as pool:
        asked = list(pool.map(known.tree, ["data", "webroot", "data"]))
    assert sorted(read) == ["METADATA", "SHA256SUMS"]
    anew = Sealed(store, known.backup)
    assert asked[0] == asked[2] == anew.tree("data")
    assert asked[1] == anew.tree("webroot")
    assert known.sums() == anew.sums()


def _change(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"X" + content[-1:])


def _truncate(path: Path) -> None:
    os.truncate(path, 3)


def _replace_by_link(path: Path) -> None:
    """To the very same content: what is followed could be anything the next time."""
    elsewhere = path.parents[1].parent / f"elsewhere {path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _vouch_anew(path: Path) -> None:
    """Somebody who changes a file writes its new checksum into SHA256SUMS, too."""
    sums = path.parents[1] / "SHA256SUMS"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    _change(path)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    text = sums.read_bytes()
    assert old.encode() in text
    sums.write_bytes(text.replace(old.encode(), new.encode()))


@pytest.mark.parametrize("harm", [_change, _truncate, _replace_by_link, Path.unlink, _vouch_anew])
def test_one_that_is_not_is_not_read(
    store: Store, sealed: tuple[str, Path], harm: Callable[[Path], None]
) -> None:
    id, folder = sealed
    backup = store.read(id)
    harm(folder / "config/config.php")
    with pytest.raises(BadSet, match="cannot be relied on") as caught:
        Sealed(store, backup).file("config/config.php")
    assert id in caught.value.message and "biso list" in (caught.value.hint or "")


@pytest.mark.parametrize("harm", [_change, _truncate, _replace_by_link, Path.unlink])
def test_without_the_sums_that_were_sealed_nothing_is(
    store: Store, sealed: tuple[str, Path], harm: Callable[[Path], None]
) -> None:
    id, folder = sealed
    backup = store.read(id)
    harm(folder / "SHA256SUMS")
    for read in (Sealed.sums, lambda known: known.tree("data")):
        with pytest.raises(BadSet, match="SHA256SUMS is not what was sealed"):
            read(Sealed(store, backup))


def test_a_name_that_the_sums_do_not_have_is_none_of_the_set(
    store: Store, sealed: tuple[str, Path]
) -> None:
    id, folder = sealed
    (folder / "config/added").write_text("later")
    with pytest.raises(BadSet):
        Sealed(store, store.read(id)).file("config/added")
