"""A dump read back: whether it holds what its snapshot held."""

from __future__ import annotations

import gzip
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database.dumped_rows import lost
from biso_tasks.database.dumps import SUFFIXES, dump
from biso_tasks.database.snapshot import Counts, export

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql (machine)")]

AWKWARD = (
    "CREATE TABLE t AS SELECT g, md5(g::text) AS m FROM generate_series(1, 500) g",
    'CREATE SCHEMA "S.x"',
    'CREATE TABLE "S.x"."Fall (alt) ""1""" ("a (b" text)',
    'INSERT INTO "S.x"."Fall (alt) ""1""" VALUES (E\'COPY public.t FROM stdin;\\n1\\n\\\\.\\n2\')',
    'CREATE TABLE "user" (n int); INSERT INTO "user" VALUES (1)',
    "CREATE TABLE leer (n int)",
    "CREATE TABLE lang (x text); INSERT INTO lang SELECT repeat('ä', 1000000)",
    "CREATE TABLE teile (n int) PARTITION BY LIST (n)",
    "CREATE TABLE teil_1 PARTITION OF teile FOR VALUES IN (1); INSERT INTO teile VALUES (1), (1)",
    "SELECT lo_from_bytea(0, '\\x00ff'), lo_from_bytea(0, '')",
)


@pytest.fixture
def source(one: Any, fresh: Any) -> Any:
    return one.server(fresh(one, "Prod ' ä", "biso_app", *AWKWARD), name="prod")


def made(source: Any, folder: Path, format: Any) -> tuple[str, Counts]:
    with export(source) as snapshot:
        words: dict[str, Any] = {"format": format, "cancel": threading.Event()}
        return str(folder / dump(source, snapshot, str(folder), "x", **words).file), (
            snapshot.counts()
        )


@pytest.mark.parametrize("format", list(SUFFIXES))
def test_a_whole_dump_has_lost_nothing_and_a_row_more_in_the_snapshot_is_found(
    source: Any, tmp_path: Path, format: Any
) -> None:
    path, counts = made(source, tmp_path, format)
    assert lost(source, path, format, counts) == ()
    more = replace(
        counts,
        tables={**counts.tables, '"public"."t"': 501, '"public"."leer"': 1},
        large_objects=3,
    )
    assert lost(source, path, format, more) == (
        '0 of 1 rows of "public"."leer"',
        '500 of 501 rows of "public"."t"',
        "2 of 3 large objects",
    )


def test_rows_that_are_not_in_the_text_are_found(source: Any, tmp_path: Path) -> None:
    """Whatever its end says."""
    path, counts = made(source, tmp_path, "plain")
    lines = gzip.decompress(Path(path).read_bytes()).split(b"\n")
    begin = next(n for n, line in enumerate(lines) if line.startswith(b"COPY public.t ("))
    del lines[begin + 3 : begin + 13]
    Path(path).write_bytes(gzip.compress(b"\n".join(lines)))
    assert lost(source, path, "plain", counts) == ('490 of 500 rows of "public"."t"',)
