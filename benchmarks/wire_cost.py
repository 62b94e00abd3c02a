"""To which part each compressor packs a dump on its way, and how fast, for the table in
biso_tasks/database/wire.py:

    .venv/bin/python benchmarks/wire_cost.py --megabytes 100 --rounds 3

A PostgreSQL of its own with the rows of the benchmarks, its `pg_dump` in a file, each compressor at
each level that a refresh may choose, in turn; medians. A table of Markdown; asserts nothing.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.rows import persons_for, rows_sql
from biso_tasks.database.wire import CHOICES
from biso_tasks.demo.postgres import Cluster, start_cluster

APP = Path(__file__).parent.parent / "biso_tasks/demo/bisoapp/webroot"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="biso-bench-") as place:
        cluster = start_cluster(Path(place, "postgres"))
        try:
            text = Path(place, "dump.sql")
            text.write_bytes(dumped(cluster, given.megabytes))
        finally:
            cluster.remove()
        print("| compressor | packs to 1 in | MB/s of text |\n|---|---|---|")
        for one in CHOICES:
            if shutil.which(one.tool) is None:
                print(f"| {one.tool} -{one.level} | not on this machine | |")
                continue
            ends = [packed(text, one.tool, one.level) for _ in range(given.rounds)]
            size, seconds = ends[0][0], statistics.median(end[1] for end in ends)
            whole = text.stat().st_size
            factor, rate = whole / size, whole / seconds / 1e6
            print(f"| {one.tool} -{one.level} | {factor:.1f} | {rate:.0f} |", flush=True)


def dumped(cluster: Cluster, megabytes: int) -> bytes:
    """What `pg_dump` prints of so large a database."""
    cluster.psql("CREATE DATABASE prod TEMPLATE template0")
    for path in sorted((APP / "migrations").glob("*.sql"))[:-1]:
        cluster.psql(path.read_text("utf-8"), dbname="prod")
    rows = rows_sql(1, persons_for(megabytes), role=cluster.superuser, files=0)
    cluster.psql(rows, dbname="prod")
    words = [cluster.bins / "pg_dump", "-h", cluster.socket_dir, "-p", cluster.port,
             "-U", cluster.superuser, "prod"]  # fmt: skip
    return subprocess.run([str(word) for word in words], check=True, capture_output=True).stdout


def packed(text: Path, tool: str, level: int) -> tuple[int, float]:
    """Bytes and seconds."""
    began = time.monotonic()
    with text.open("rb") as given:
        words = [tool, f"-{level}", "-q", "-c"]
        size = len(subprocess.run(words, stdin=given, check=True, capture_output=True).stdout)
    return size, time.monotonic() - began


if __name__ == "__main__":
    main()
