"""Renaming in a tree of another user, with the short sudo list."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError, list_tree
from biso_tasks.files.rename import rename_entries

pytestmark = [pytest.mark.real, pytest.mark.needs("sshd", "ssh", "sudo", "root")]

NAMES = {"Müller Anna.pdf": "datei-1.pdf", "Müller Anna": "ordner-1"}
LINK = "fremd/verweis"


@pytest.fixture
def data(places: tuple[Path, Path]) -> Path:
    """www-data's, but for one directory that is root's."""
    root = places[1] / "data"
    for path in ("Müller Anna/Müller Anna.pdf", "fremd/Müller Anna.pdf", "tmp/.nichts"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / LINK).symlink_to("../Müller Anna/Müller Anna.pdf")
    web = pwd.getpwnam("www-data")
    for path in (root, *root.rglob("*")):
        os.chown(path, web.pw_uid, web.pw_gid, follow_symlinks=False)
    shutil.chown(root / "fremd", "root", "root")
    return root


@pytest.mark.parametrize("perl", [True, False])
def test_names_are_read_where_there_is_perl_and_the_outcome_is_the_same_without(
    here: Access,
    data: Path,
    hidden: Callable[[str], Path],
    perl: bool,
) -> None:
    """Whoever lists the host's processes reads the words of mv."""
    real = shutil.which("mv")
    programs = hidden("" if perl else "perl")
    noted = programs / "noted"
    (programs / "mv").unlink()
    (programs / "mv").write_text(f'#!/bin/sh\necho "$*" >>{noted}\nexec {real} "$@"\n')
    (programs / "mv").chmod(0o755)
    listing = list_tree(here, str(data), exclude=())
    target = "../ordner-1/datei-1.pdf"
    assert rename_entries(here, listing, NAMES, {LINK: target}) == 4
    assert (data / LINK).read_text() == "Müller Anna/Müller Anna.pdf"
    assert (data / "ordner-1/datei-1.pdf").is_file() and (data / "fremd/datei-1.pdf").is_file()
    assert noted.exists() != perl
    there = list_tree(here, str(data), exclude=())
    (data / "ordner-1/datei-2.pdf").write_text("x")
    with pytest.raises(FilesError):
        rename_entries(here, there, {"datei-1.pdf": "datei-2.pdf"}, {})
    assert (data / "ordner-1/datei-2.pdf").read_text() == "x", "never over something"


def test_what_the_user_may_not_rename_is_renamed_as_root(lab: Any, data: Path) -> None:
    access = lab.test.access(user="www-data", root=True)
    listing = list_tree(access, str(data), exclude=())
    target = "../ordner-1/datei-1.pdf"
    assert rename_entries(access, listing, NAMES, {LINK: target}) == 4
    now = {entry.path: entry for entry in list_tree(access, str(data), exclude=()).entries}
    assert {"ordner-1/datei-1.pdf", "fremd/datei-1.pdf", LINK} < set(now)
    assert len(now) == len(listing.entries)
    assert (data / LINK).read_text() == "Müller Anna/Müller Anna.pdf"
    assert (now[LINK].target, now[LINK].owner) == (target, "www-data")
    assert now["fremd"].owner == "root"


def test_without_sudo_the_error_says_so_and_names_nobody(lab: Any, data: Path) -> None:
    access = lab.test.access(user="www-data")
    listing = list_tree(access, str(data), exclude=())
    with pytest.raises(FilesError, match=r"could not be changed; 3 of 4 were left") as caught:
        rename_entries(access, listing, {"fremd": "x", **NAMES}, {})
    assert "Anna" not in str(caught.value)
    assert "sudo" in caught.value.hint


def test_sudo_is_not_asked_for_what_the_user_may_do(lab: Any, data: Path) -> None:
    # sudo's log would keep the names
    access = lab.test.access(user="www-data", root=True)
    shutil.rmtree(data / "fremd")
    listing = list_tree(access, str(data), exclude=())
    asked: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(access.host, name)

        def run(self, command: Any, **options: Any) -> Any:
            asked.append(" ".join(command.words(access.host.login)))
            return access.host.run(command, **options)

    watched = type(access)(Watched(), access.user, access.root)
    assert rename_entries(watched, listing, NAMES, {}) == 2
    moves = [words for words in asked if "mv" in words and "-T" in words]
    assert len(moves) == 1
    assert moves[0].startswith("sudo -n -u www-data")
