from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import UsageError
from biso_tasks.flow.journal import Journal, JournalError, Null, find, new_run_id, read, runs
from biso_tasks.values import Secret

RUN = "20250301_142530-refresh-test-9f3c"


def test_a_run_id_is_utc_and_sorts_by_time() -> None:
    moment = datetime.fromisoformat("2025-03-01T15:25:30+01:00")
    assert new_run_id("refresh-test", moment).startswith("20250301_142530-refresh-test-")
    assert len(new_run_id("backup").rsplit("-", 1)[1]) == 4
    with pytest.raises(UsageError):
        new_run_id("../x")
    with pytest.raises(UsageError, match="no run id"):
        Journal.open(Path("/nowhere"), "../../etc/x")


def test_each_event_is_on_disk_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd)))
    with Journal.open(tmp_path, RUN) as journal:
        opening = len(synced)
        journal.write("one", number=1)
        journal.write("two", text="ü\n", deep={"a": [None, 1.5, True]})
        assert len(synced) == opening + 2
        events = read(journal.path)
    assert [event["event"] for event in events] == ["one", "two"]
    assert events[1]["deep"] == {"a": [None, 1.5, True]}
    assert events[1]["t"] >= events[0]["t"] >= 0
    assert datetime.fromisoformat(events[0]["at"]).tzinfo == UTC
    assert len(journal.path.read_bytes().splitlines()) == 2


def test_nobody_else_may_read_a_journal(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal.open(tmp_path / "state", RUN)
    finally:
        os.umask(before)
    journal.close()
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    for folder in (tmp_path / "state", tmp_path / "state/runs", journal.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    Journal.open(tmp_path, RUN).close()
    with pytest.raises(JournalError, match="cannot be written"):
        Journal.open(tmp_path, RUN)


@pytest.mark.parametrize(
    "value",
    [Secret("hunter2"), {"a": [Secret("hunter2")]}, b"bytes", Path("/x"), float("nan"), {1: 2}],
)
def test_what_is_secret_or_not_json_is_refused_and_nothing_written(
    tmp_path: Path, value: Any
) -> None:
    with Journal.open(tmp_path, RUN) as journal:
        with pytest.raises(TypeError) as raised:
            journal.write("x", fact=value)
        assert "hunter2" not in str(raised.value)
        with pytest.raises(TypeError, match="has these itself"):
            journal.write("x", at="now")
        assert read(journal.path) == []


def test_texts_are_redacted_at_any_depth_before_they_are_written(tmp_path: Path) -> None:
    with Journal.open(tmp_path, RUN, redact=lambda text: text.replace('p"w', "…")) as journal:
        journal.write("x", message='psql: p"w', deep=[{'k p"w': 'p"w'}])
        raw = journal.path.read_text()
    assert "p" + '\\"w' not in raw  # escaped by JSON, a redaction of the line would miss it
    assert read(journal.path)[0]["deep"] == [{"k …": "…"}]


def test_names_that_are_not_utf8_come_through(tmp_path: Path) -> None:
    name = b"\xff\xfe.pdf".decode("utf-8", "surrogateescape")
    with Journal.open(tmp_path, RUN) as journal:
        journal.write("x", name=name)
    assert read(journal.path)[0]["name"] == name


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    with Journal.open(tmp_path, RUN) as journal:
        journal.write("one")
        journal.write("two")
    whole = journal.path.read_bytes()
    first = len(whole.splitlines(keepends=True)[0])
    for size in range(first, len(whole)):
        journal.path.write_bytes(whole[:size])
        assert [event["event"] for event in read(journal.path)] == ["one"]
    journal.path.write_bytes(b"rubbish\n" + whole)
    with pytest.raises(JournalError, match=r"journal\.jsonl:1:"):
        read(journal.path)
    with pytest.raises(JournalError, match="cannot be read"):
        read(tmp_path / "none")


def test_half_a_line_on_a_full_disk_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    journal = Journal.open(tmp_path, RUN)
    journal.write("one")
    calls: list[int] = []

    def full(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) == 1:
            return real(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(JournalError, match="No space left") as raised:
            journal.write("two")
    assert "make room on this machine" in raised.value.hint
    journal.write("three")
    journal.close()
    assert [event["event"] for event in read(journal.path)] == ["one", "three"]


def test_the_history_lists_the_newest_first_with_their_end(tmp_path: Path) -> None:
    for run, end in [
        ("20250101_000000-backup-0001", "ok"),
        ("20250103_000000-refresh-test-0003", "failed"),
        ("20250102_000000-backup-0002", None),
    ]:
        with Journal.open(tmp_path, run) as journal:
            journal.write("run_started")
            if end:
                journal.write("run_finished", status=end, seconds=1.5)
    bad = tmp_path / "runs/20240101_000000-backup-0000/journal.jsonl"
    bad.parent.mkdir()
    bad.write_text("rubbish\nmore\n")
    (tmp_path / "runs/other").mkdir()
    found = [(one.run[:8], one.task, one.status, one.seconds) for one in runs(tmp_path)]
    assert found == [
        ("20250103", "refresh-test", "failed", 1.5),
        ("20250102", "backup", "unfinished", None),
        ("20250101", "backup", "ok", 1.5),
        ("20240101", "backup", "unreadable", None),
    ]
    assert runs(tmp_path)[0].started == datetime(2025, 1, 3, tzinfo=UTC)
    assert runs(tmp_path / "none") == []


def test_a_run_that_was_killed_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from biso_tasks.flow.journal import Journal\n"
        f"j = Journal.open(Path(sys.argv[1]), {RUN!r}); j.write('run_started')\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            assert runs(tmp_path)[0].status == "running"
        finally:
            child.kill()
    assert runs(tmp_path)[0].status == "unfinished"


def test_a_run_is_found_by_its_id_or_the_end_of_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runs yet"):
        find(tmp_path)
    for run in ("20250101_000000-backup-aaa1", "20250102_000000-backup-bba1"):
        Journal.open(tmp_path, run).close()
    assert find(tmp_path).parent.name.startswith("20250102")
    assert find(tmp_path, "aaa1").parent.name.startswith("20250101")
    assert find(tmp_path, "20250101_000000-backup-aaa1").is_file()
    with pytest.raises(UsageError, match="more than one"):
        find(tmp_path, "a1")
    with pytest.raises(UsageError, match="there is no run"):
        find(tmp_path, "zzzz")


def test_the_null_journal_writes_nothing() -> None:
    Null().write("x", anything=object())
    assert Null().redact("x") == "x"
