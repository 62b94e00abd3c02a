"""A set that somebody reads is not removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.backup.ids import new_id
from biso_tasks.backup.reading import reading
from biso_tasks.backup.store import Store
from biso_tasks.errors import Locked, Refused
from biso_tasks.host.local import LocalHost

ANNA = {"run": "r1", "who": "anna@laptop", "since": "2026-11-20T03:15:00+00:00"}
BERT = {**ANNA, "run": "r2", "who": "bert@laptop"}
ID = new_id(datetime(2026, 11, 20, 3, 15, tzinfo=UTC), "prod")
READER = """
import sys
from biso_tasks.backup.reading import reading
from biso_tasks.backup.store import Store
from biso_tasks.host.local import LocalHost
with reading(Store(LocalHost("here"), sys.argv[1]), sys.argv[2], {"run": "r3"}):
    print("reads", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def sealed(store: Store, maker: Any) -> Store:
    maker.seal(ID)
    return store


def marks(store: Store) -> list[str]:
    return sorted(path.name for path in Path(store.path, "sets").glob(".reading-*"))


def wait_until(condition: Callable[[], bool]) -> None:
    """The holder of a mark ends by itself, a moment after what it was held for."""
    once = threading.Event()
    for _ in range(600):
        if condition():
            return
        once.wait(0.1)
    raise AssertionError("nothing happened in a minute")


def test_a_set_that_is_read_stays_and_the_reader_is_named(sealed: Store) -> None:
    with reading(sealed, ID, ANNA) as why:
        assert why == ""
        with pytest.raises(Locked, match="being read by run r1 of anna@laptop, since 2026-11-20"):
            sealed.remove(ID)
        assert sealed.resolve("latest") == ID
    assert marks(sealed) == []
    sealed.remove(ID)
    assert list(Path(sealed.path, "sets").iterdir()) == []


def test_several_read_at_once_and_the_last_one_counts(sealed: Store) -> None:
    with reading(sealed, ID, ANNA):
        with reading(sealed, ID, BERT):
            assert len(marks(sealed)) == 2
        with pytest.raises(Locked, match="anna"):
            sealed.remove(ID)
    sealed.remove(ID)


def test_other_sets_are_no_concern(sealed: Store, maker: Any) -> None:
    """One whose id begins like this one's among them."""
    other = f"{ID}-2"
    maker.seal(other)
    with reading(sealed, other, ANNA):
        sealed.remove(ID)
        with pytest.raises(Locked):
            sealed.remove(other)


def test_a_killed_reader_keeps_nothing(sealed: Store) -> None:
    words = [sys.executable, "-c", READER, sealed.path, ID]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reads\n"
        with pytest.raises(Locked):
            sealed.remove(ID)
        reader.send_signal(signal.SIGKILL)

    def removed() -> bool:
        """The mark itself may be left, by whoever is killed with the reader: nobody holds it."""
        with suppress(Locked):
            sealed.remove(ID)
            return True
        return False

    wait_until(removed)
    assert marks(sealed) == []


def test_a_mark_that_nobody_holds_says_nothing_and_is_swept(sealed: Store, maker: Any) -> None:
    """What a reboot leaves."""
    left = Path(sealed.path, "sets", f".reading-{ID}.Ab12Cd34")
    left.write_text(json.dumps(ANNA))
    sealed.remove(ID)
    assert marks(sealed) == []
    maker.seal(ID)
    left.write_text(json.dumps(ANNA))
    with reading(sealed, ID, BERT):
        sealed.sweep()
        assert left.name not in marks(sealed)
        assert len(marks(sealed)) == 1
        with pytest.raises(Locked, match="bert"):
            sealed.remove(ID)


def test_a_reader_that_comes_while_the_set_goes_is_seen(
    sealed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look for marks and the rename: the set is put back."""
    mark = Path(sealed.path, "sets", f".reading-{ID}.Ab12Cd34")
    mv = tmp_path / "bin/mv"
    mv.parent.mkdir()
    mv.write_text(
        '#!/bin/bash\ncase "${!#}" in .removing-*)\n'
        f"  exec 9<>'{mark}'; flock 9; sleep 60 >/dev/null 2>&1 & echo $! >'{tmp_path}/pid'\n"
        "esac\n"
        'exec 9>&-; exec /usr/bin/mv "$@"\n'
    )
    mv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mv.parent}:{os.environ['PATH']}")
    try:
        with pytest.raises(Locked):
            sealed.remove(ID)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert sealed.read(ID).id == ID


def test_a_set_that_has_gone_is_not_read(sealed: Store) -> None:
    sealed.remove(ID)
    with pytest.raises(Refused, match="is not in"), reading(sealed, ID, ANNA):
        pass
    assert marks(sealed) == []


def test_a_medium_that_takes_no_mark_can_be_read_all_the_same(
    sealed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: LocalHost
) -> None:
    mktemp = tmp_path / "bin/mktemp"
    mktemp.parent.mkdir()
    mktemp.write_text("#!/bin/sh\necho 'mktemp: Read-only file system' >&2\nexit 1\n")
    mktemp.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mktemp.parent}:{os.environ['PATH']}")
    with reading(sealed, ID, ANNA) as why:
        assert "Read-only file system" in why
