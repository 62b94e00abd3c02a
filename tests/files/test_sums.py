"""Checksums of files where they lie."""

from __future__ import annotations

import os
import shutil
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from biso_tasks.errors import Interrupted
from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError, list_tree
from biso_tasks.files.sums import sums_of

NAMES = (b"plain", b"-r", b"*", b"a b", b"new\nline", b"back\\slash", b"cr\r", b"\xff", b"'$(x)`")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        (tmp_path / os.fsdecode(name)).write_bytes(b"content %d" % number)
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


@pytest.mark.usefixtures("hashed_by")
@pytest.mark.parametrize("openssl", [True, False], ids=["openssl", "coreutils"])
def test_every_file_has_its_sum_whatever_it_is_called(
    here: Access, folder: Path, openssl: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = list_tree(here, str(folder)).entries
    assert len(entries) == len(NAMES) + 1
    programs, calls = folder / "bin", folder / "bin/calls"
    programs.mkdir()
    for program in ("openssl", "sha256sum"):
        real = shutil.which(program) if openssl or program != "openssl" else "false"
        file = programs / program
        file.write_text(f'#!/bin/sh\necho "$*" >>{calls}\nexec {real} "$@"\n')
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert sums_of(here, str(folder), entries) == {
        entry.path: sha256((folder / entry.path).read_bytes()).hexdigest() for entry in entries
    }
    assert "/dev/fd/" in calls.read_text()
    assert "plain" not in calls.read_text(), "no name in a command line"


@pytest.mark.usefixtures("hashed_by")
def test_a_file_that_is_not_there_is_no_sum_less_but_a_failure(here: Access, folder: Path) -> None:
    entries = list_tree(here, str(folder)).entries
    (folder / "plain").unlink()
    with pytest.raises(FilesError, match="plain"):
        sums_of(here, str(folder), entries)


def test_reading_can_be_cancelled(here: Access, folder: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        sums_of(here, str(folder), list_tree(here, str(folder)).entries, cancel=cancel)
