"""A dump for a set: what it is on disk, and what never passes for one."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.database.dumps import SUFFIXES, dump, suspicious
from biso_tasks.database.snapshot import export
from biso_tasks.errors import ConfigError, Interrupted, StepFailed


def real(test: Any) -> Any:
    return pytest.mark.real(pytest.mark.needs("postgresql (machine)")(test))


@pytest.fixture
def source(one: Any, fresh: Callable[..., str]) -> Any:
    dbname = fresh(
        one,
        "Prod ' ä",
        "biso_app",
        "CREATE TABLE t AS SELECT g, md5(g::text) AS m FROM generate_series(1, 40000) g",
        "SELECT lo_from_bytea(0, '\\x00ff')",
    )
    return one.server(dbname, name="prod")


def make(source: Any, folder: Path, format: Any, **more: Any) -> Any:
    with export(source) as snapshot:
        return dump(
            source,
            snapshot,
            str(folder),
            "biso_1",
            format=format,
            jobs=2,
            **{"cancel": threading.Event(), **more},
        )


@real
@pytest.mark.parametrize("format", list(SUFFIXES))
def test_a_dump_is_the_logins_alone_and_what_it_says_of_itself(
    source: Any, tmp_path: Path, format: Any
) -> None:
    folder = tmp_path / "db ä"
    folder.mkdir()
    made = make(source, folder, format)
    path = folder / made.file
    assert made.file == "biso_1" + SUFFIXES[format]
    assert made.pg_dump.startswith("15.")
    if format == "directory":
        files = list(path.iterdir())
        assert path.stat().st_mode & 0o777 == 0o700
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)
        assert (made.sha256, made.bytes) == ("", sum(file.stat().st_size for file in files))
        return
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.bytes == path.stat().st_size
    assert made.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    if format == "plain":
        text = gzip.decompress(path.read_bytes())
        assert b"DROP TABLE IF EXISTS public.t;" in text
        assert b"\n-- PostgreSQL database dump complete\n" in text[-4096:]


@real
def test_what_came_after_the_snapshot_is_not_in_it(
    one: Any, source: Any, tmp_path: Path, cancel: threading.Event
) -> None:
    with export(source) as snapshot:
        one.sql("INSERT INTO t VALUES (-1, 'zu spät')", dbname=source.dsn.dbname)
        made = dump(source, snapshot, str(tmp_path), "x", format="plain", cancel=cancel)
    assert "zu spät".encode() not in gzip.decompress((tmp_path / made.file).read_bytes())


def beside(source: Any, directory: Path, **programs: str) -> Any:
    """`source` with programs of ours in the place of its own."""
    directory.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        text = programs.get(name, "")
        (directory / name).write_text(f'#!/bin/bash\n{text}\nexec {source.bindir}/{name} "$@"\n')
        (directory / name).chmod(0o755)
    return replace(source, bindir=str(directory))


ENDS = {
    "killed": '[ "$1" = --version ] || { {real} "$@" | head -c 400000; kill -9 $$; }',
    "fails": '[ "$1" = --version ] || { {real} "$@"; exit 1; }',
    "lies": '[ "$1" = --version ] || { {real} "$@" | head -c 400000; exit 0; }',
}


@real
@pytest.mark.parametrize(
    ("how", "format", "said"),
    [
        ("killed", "plain", "pg_dump ended with 137"),
        ("fails", "plain", "pg_dump ended with 1"),
        ("lies", "plain", "what pg_dump wrote has no end"),
        ("killed", "custom", "pg_dump ended with 137"),
        ("fails", "directory", "pg_dump ended with 1"),
    ],
)
def test_a_pg_dump_that_ends_early_is_named_and_leaves_no_dump(
    source: Any, tmp_path: Path, how: str, format: str, said: str
) -> None:
    """`kill -9 pg_dump` in `pg_dump | gzip` leaves exit 0 and a file that `gzip -t` passes."""
    text = ENDS[how].replace("{real}", f"{source.bindir}/pg_dump")
    broken = beside(source, tmp_path / "bin", pg_dump=text)
    with pytest.raises(StepFailed, match=said):
        make(broken, tmp_path, format)
    if how == "killed" and format == "plain":
        packed = ["gzip", "-t", str(tmp_path / "biso_1.sql.gz")]
        assert subprocess.run(packed, check=False).returncode == 0


@real
def test_a_warning_that_looks_like_the_answer_is_none(source: Any, tmp_path: Path) -> None:
    lure = f'echo "biso-dumped {"0" * 64} 1" >&2'
    made = make(beside(source, tmp_path / "bin", pg_dump=lure), tmp_path, "plain")
    assert made.bytes == (tmp_path / made.file).stat().st_size > 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with less room than the dump needs."""
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here (sudo ./biso test)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@real
@pytest.mark.parametrize("format", list(SUFFIXES))
def test_a_full_disk_leaves_no_dump(source: Any, small: Path, format: Any) -> None:
    said = "No space left on device" if format == "directory" else "is the disk full"
    with pytest.raises(StepFailed, match=said):
        make(source, small, format)


@real
def test_a_server_that_vanishes_is_said(
    one: Any, source: Any, tmp_path: Path, cancel: threading.Event
) -> None:
    end = '[ "$1" = --version ] || { PGPASSWORD= {real} "${@/--port=*/--port=1}"; exit $?; }'
    gone = beside(
        source, tmp_path / "bin", pg_dump=end.replace("{real}", f"{source.bindir}/pg_dump")
    )
    with pytest.raises(StepFailed, match="pg_dump: error: connection to server"):
        make(gone, tmp_path, "plain")


@real
def test_a_cancelled_dump_stops(source: Any, tmp_path: Path, cancel: threading.Event) -> None:
    slow = beside(source, tmp_path / "bin", pg_dump='[ "$1" = --version ] || sleep 60')
    threading.Timer(0.5, cancel.set).start()
    with pytest.raises(Interrupted):
        make(slow, tmp_path, "plain", cancel=cancel)


@real
def test_a_pg_dump_that_is_not_there_is_said_before_anything_is_written(
    source: Any, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed, match="no usable pg_dump"):
        make(replace(source, bindir="/nirgends"), tmp_path, "plain")
    assert list(tmp_path.iterdir()) == []


@real
def test_clients_in_a_container_write_through_the_pipe(source: Any, tmp_path: Path) -> None:
    inside = replace(source, prefix=("env", "-i", f"PATH={os.environ['PATH']}"))
    with export(source) as snapshot:

        def made(format: Any) -> Any:
            words: dict[str, Any] = {"format": format, "cancel": threading.Event()}
            return dump(inside, snapshot, str(tmp_path), "x", **words)

        assert made("plain").bytes == (tmp_path / "x.sql.gz").stat().st_size
        assert made("custom").bytes == (tmp_path / "x.dump").stat().st_size
        with pytest.raises(ConfigError, match="needs pg_dump on the host"):
            made("directory")


def test_a_dump_that_lost_most_of_its_bytes_and_none_of_its_rows_is_suspicious() -> None:
    found = suspicious(400, 1000, 1000, 1000)
    assert found == (
        "the dump has 400 bytes for 1000 rows, and the one before had 1000 bytes for 1000 rows"
    )
    assert suspicious(500, 1000, 1000, 1000) is None
    assert suspicious(100, 100, 1000, 1000) is None, "emptied on purpose"
    assert suspicious(10, 100, 1000, 1000) is not None
    assert suspicious(400, 9000, 1000, 1000) is not None


@given(*[st.integers(0, 10**15)] * 4)
def test_growth_and_a_first_dump_are_never_suspicious(
    now: int, rows: int, before: int, rows_before: int
) -> None:
    assert suspicious(max(now, before), rows, before, rows_before) is None
    assert suspicious(now, rows, 0, 0) is None
