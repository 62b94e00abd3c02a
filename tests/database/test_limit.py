"""Which part of a copy the others wait for."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database import limit as module
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import copy
from biso_tasks.database.create import create
from biso_tasks.database.dumps import _WRITERS, dump
from biso_tasks.database.facts import probe
from biso_tasks.database.limit import Limits, limited_by, limiting, watch
from biso_tasks.database.names import stage_name
from biso_tasks.database.snapshot import export

BIG = 1 << 30


@pytest.mark.parametrize(
    ("sending", "loading", "part"),
    [
        ("", "Client/ClientRead", "source"),
        ("IO/DataFileRead", "Client/ClientRead", "source"),
        (None, "Client/ClientRead", "source"),  # pg_dump asks for the next table
        ("Client/ClientWrite", "Client/ClientRead", "link"),
        ("Client/ClientWrite", "", "target"),
        ("Client/ClientWrite", "IO/DataFileExtend", "disk"),
        ("Client/ClientWrite", "LWLock/WALWrite", "disk"),
        (None, "", "target"),  # builds an index
        ("", None, None),
    ],
)
def test_who_waits_for_whom_says_what_limits(
    sending: str | None, loading: str | None, part: str | None
) -> None:
    assert limiting(sending, loading) == part


def test_the_part_that_was_waited_for_most_is_named_over_all_databases() -> None:
    main, log = Limits(), Limits()
    main.seen.update(source=1, target=2)
    log.seen.update(source=5)
    assert limited_by([main, log]) == {"limited_by": "reading at the source (75 % of the time)"}
    assert limited_by([]) == limited_by([Limits()]) == {}


TABLE = (
    "CREATE TABLE t AS SELECT g AS id, repeat('x', 200) AS v FROM generate_series(1, 60000) g",
    "ALTER TABLE t OWNER TO biso_app",
)
SLOW_LOAD = (
    "CREATE FUNCTION langsam(int) RETURNS bool LANGUAGE plpgsql AS "
    "$$ BEGIN IF $1 % 20000 = 0 THEN PERFORM pg_sleep(0.7); END IF; RETURN true; END $$",
    "ALTER TABLE t ADD CHECK (langsam(id))",
)
# In pg_dump's place, which it runs: what comes before its rows, or what becomes of them, is slow.
SLOW_DUMP = {
    "source": 'sleep 2; exec "$real" "$@"',
    "link": '"$real" "$@" | { head -c 100000; sleep 3; exec cat; }',
}


@pytest.mark.real
@pytest.mark.parametrize("slow", ["source", "link", "target"])
def test_a_real_copy_is_limited_by_what_is_made_slow(
    one: Any,
    two: Any,
    fresh: Callable[..., str],
    cancel: threading.Event,
    slow: str,
    tmp_path: Path,
) -> None:
    dbname = fresh(one, "prod", "biso_app", *TABLE, *(SLOW_LOAD if slow == "target" else ()))
    source, target = one.server(dbname, name="prod"), two.server(fresh(two, "test"))
    stage = stage_name("test")
    with admin(target) as role:
        create(role, target, stage, probe(source))
    if slow in SLOW_DUMP:
        (tmp_path / "pg_restore").symlink_to(Path(source.bindir) / "pg_restore")
        (tmp_path / "pg_dump").write_text(
            f"#!/bin/bash\nreal={shlex.quote(source.bindir)}/pg_dump\n"
            'case "$*" in *--section=data*) ;; *) exec "$real" "$@" ;; esac\n' + SLOW_DUMP[slow]
        )
        (tmp_path / "pg_dump").chmod(0o755)
        source = replace(source, bindir=str(tmp_path))
    with export(source) as snapshot, watch(source, target.at(stage), BIG) as limits:
        copy(source, snapshot, target, stage, cancel=cancel)
    [(part, _)] = limits.seen.most_common(1)
    assert part == slow, limits.seen


@pytest.mark.real
@pytest.mark.parametrize("slow", ["source", "file"])
def test_a_dump_into_a_file_is_limited_by_reading_or_by_the_file(
    one: Any, fresh: Callable[..., str], cancel: threading.Event, slow: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source = one.server(fresh(one, "prod", "biso_app", *TABLE), name="prod")
    if slow == "source":
        (tmp_path / "pg_dump").write_text(
            f'#!/bin/bash\nsleep 2; exec {shlex.quote(source.bindir)}/pg_dump "$@"\n'
        )
        (tmp_path / "pg_dump").chmod(0o755)
        source = replace(source, bindir=str(tmp_path))
    else:
        held = "packer() { pack=(bash -c 'sleep 3; exec gzip -1'); }"
        text = _WRITERS["plain"].replace('packer "$1"', f'{held}\npacker "$1"')
        assert held in text
        monkeypatch.setattr(f"{dump.__module__}._WRITERS", {"plain": text})
    with export(source) as snapshot, watch(source, None, BIG) as limits:
        dump(source, snapshot, str(tmp_path), "x", format="plain", cancel=cancel)
    [(part, _)] = limits.seen.most_common(1)
    assert part == slow, limits.seen


@pytest.mark.real
def test_a_load_from_a_file_is_limited_by_the_file_or_by_loading(
    two: Any, fresh: Callable[..., str]
) -> None:
    target = two.server(fresh(two, "test"))
    with watch(None, target, BIG) as limits, connect(target) as connection:
        connection.execute("SELECT pg_sleep(1)")
    assert limits.seen["target"] > limits.seen["file"]
    with watch(None, target, BIG) as limits, connect(target) as connection:
        connection.execute("SELECT 1")
        time.sleep(1)
    assert limits.seen["file"] > limits.seen["target"]


@pytest.mark.real
def test_that_nobody_can_look_is_no_failure(one: Any, two: Any, fresh: Callable[..., str]) -> None:
    dbname = fresh(one, "prod", "biso_app")
    source = one.server(dbname, name="prod")
    with watch(source, source.at("gibt es nicht"), BIG) as limits:
        pass
    assert limited_by([limits]) == {}


@pytest.mark.real
def test_how_large_the_target_has_become_is_told_while_it_is_filled(
    two: Any, fresh: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.05)
    target, told = two.server(fresh(two, "test")), list[int]()
    with watch(None, target, BIG, told.append), connect(target, autocommit=True) as connection:
        for size in (1, 20000):
            connection.execute(
                f"CREATE TABLE t{size} AS SELECT repeat('x', 900) AS v"
                f" FROM generate_series(1, {size})".encode()
            )
            time.sleep(0.5)
    assert len(told) >= 2 and told == sorted(told)
    assert told[-1] - told[0] > 15_000_000
