"""A search through a tree sees every file, those of root included, and none twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.files.reading import read_tree

pytestmark = pytest.mark.real


def read(access: Access, root: Path, aside: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, content in read_tree(access, str(root), str(aside)):
        found[name] = content() or found.get(name, b"")
    return found


@pytest.fixture
def tree(places: tuple[Path, Path]) -> Path:
    root = places[1] / "tree"
    for folder in (root, root / "a b"):
        folder.mkdir()
        shutil.chown(folder, "www-data", "www-data")
    names = {"a b/offen.txt": "www-data", "a b/geheim\nzwei": "root", "-rf": "www-data"}
    for name, owner in names.items():
        (root / name).write_text(name)
        (root / name).chmod(0o600)
        shutil.chown(root / name, owner, owner)
    (root / "nirgends").symlink_to("gibt es nicht")
    return root


def test_files_that_only_root_may_read_are_read_as_well(lab: Any, tree: Path) -> None:
    access = lab.test.access(user="www-data", root=True)
    found = read(access, tree, tree.parent / "aside")
    for name in ("a b/offen.txt", "a b/geheim\nzwei", "-rf"):
        assert found[name] == name.encode()
    assert "nirgends" in found
    status = os.stat(tree / "a b/geheim\nzwei")
    assert (status.st_uid, status.st_mode & 0o777) == (0, 0o600), "the file itself is as it was"
    assert (tree.parent / "aside").stat().st_mode & 0o077 == 0


def test_without_sudo_a_file_that_cannot_be_read_is_an_error_that_names_it(
    lab: Any, tree: Path
) -> None:
    with pytest.raises(FilesError, match="geheim") as raised:
        read(lab.test.access(user="www-data"), tree, tree.parent / "aside")
    assert "sudo = true" in raised.value.hint
