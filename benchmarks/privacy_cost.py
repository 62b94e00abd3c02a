"""What hashing and proof cost, as a ratio to dump and load of the same data:

    .venv/bin/python benchmarks/privacy_cost.py --persons 200000 --rounds 3

A PostgreSQL of its own, made-up people, and a stage that went through BISO's anonymizer and our
mask. Each round dumps and loads, dumps alone, reads every value and does nothing with it, collects
and proves; medians and ratios are printed, by the clock and by processor time (server included),
which a busy machine distorts less. Asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent))

from biso_tasks.demo.data import records
from biso_tasks.demo.postgres import Cluster, start_cluster
from biso_tasks.privacy.cells import expression, tables
from biso_tasks.privacy.classify import Classified, classify, extend
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import prove
from biso_tasks.privacy.reading import batches

APP = Path(__file__).parent.parent / "biso_tasks/demo/bisoapp/webroot"
T = TypeVar("T")
Times = dict[str, list[tuple[float, float]]]  # seconds by the clock and of processors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--stage", choices=("anonymised", "masked", "raw"), default="anonymised",
        help="by BISO's anonymizer and the mask, by the mask alone, or not at all",
    )  # fmt: skip
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="biso-bench-") as place:
        cluster = start_cluster(Path(place))
        try:
            measure(cluster, given.persons, given.rounds, given.stage)
        finally:
            cluster.remove()


def connect(cluster: Cluster, dbname: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(cluster.socket_dir), port=cluster.port, user=cluster.superuser, dbname=dbname,
        autocommit=True,
    )  # fmt: skip


def spent(cluster: Cluster) -> float:
    """Seconds of processor time so far: ours, of commands that ended, and of the server."""
    ours = os.times()
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == cluster.process.pid:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == cluster.process.pid:
                ticks += sum(map(int, fields[11:13]))
    server = ticks / os.sysconf("SC_CLK_TCK")
    return ours.user + ours.system + ours.children_user + ours.children_system + server


def timed(cluster: Cluster, times: Times, name: str, work: Callable[[], T]) -> T:
    start, cpu = time.monotonic(), spent(cluster)
    done = work()
    taken = (time.monotonic() - start, spent(cluster) - cpu)
    times.setdefault(name, []).append(taken)
    return done


def copy(cluster: Cluster) -> None:
    """Dump and load, as a refresh streams them."""
    cluster.psql("DROP DATABASE IF EXISTS copy WITH (FORCE)")
    cluster.psql("CREATE DATABASE copy TEMPLATE template0")
    there = f"-h {cluster.socket_dir} -p {cluster.port} -U {cluster.superuser}"
    dump = f"{cluster.bins}/pg_dump {there} prod"
    load = f"{cluster.bins}/psql {there} -X -q -1 -v ON_ERROR_STOP=1 -d copy"
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{dump} | {load} > /dev/null"], check=True, timeout=3600
    )


def dump(cluster: Cluster) -> None:
    """What the server gives out at best, and nobody looks at."""
    there = f"-h {cluster.socket_dir} -p {cluster.port} -U {cluster.superuser}"
    command = f"{cluster.bins}/pg_dump {there} --data-only prod > /dev/null"
    subprocess.run(["bash", "-c", command], check=True, timeout=3600)


def read(source: psycopg.Connection[Any], inventory: Sequence[Classified]) -> None:
    """What no way of collecting or proving can do without: every value in this process, as text."""
    with source.transaction():
        for group in tables(inventory):
            columns = [one.column for one in group if one.column.type.family != "bytea"]
            shown = [expression(column, "t") for column in columns]
            for _ in batches(source, columns[:1], shown, columns[0]):
                pass


def measure(cluster: Cluster, persons: int, rounds: int, how: str) -> None:
    made = records("bench", persons=persons)
    migrations = sorted((APP / "migrations").glob("*.sql"))
    schema = "".join(path.read_text("utf-8") for path in migrations[:-1])
    cluster.psql("CREATE DATABASE prod TEMPLATE template0")
    cluster.psql(schema, dbname="prod")
    cluster.psql(made.sql, dbname="prod")
    del made
    cluster.psql("CREATE DATABASE stage TEMPLATE prod")
    times: Times = {}
    with connect(cluster, "prod") as source, connect(cluster, "stage") as stage:
        source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        inventory = timed(cluster, times, "classify", lambda: classify(source))
        originals = collect(source, inventory)
        if how == "anonymised":
            script = (APP / "lib/Anonymisierung.sql").read_text("utf-8")
            timed(cluster, times, "anonymizer", lambda: cluster.psql(script, dbname="stage"))
        if how != "raw":
            timed(cluster, times, "mask", lambda: mask(stage, originals, extend(inventory, stage)))
        stage.execute("VACUUM ANALYZE")
        for _ in range(rounds):
            timed(cluster, times, "dump and load", lambda: copy(cluster))
            timed(cluster, times, "dump alone", lambda: dump(cluster))
            timed(cluster, times, "read alone", lambda: read(source, inventory))
            originals = timed(cluster, times, "collect", lambda: collect(source, inventory))
            proof = timed(cluster, times, "prove", lambda: prove(stage, originals, inventory))
        size = cluster.psql("SELECT pg_size_pretty(pg_database_size('prod'))")
    print(f"{persons} people, {size}, {originals.values} originals, stage {how}")
    print(f"proof: {proof.columns} columns, {proof.values} values, {len(proof.leaks)} leaks")
    print(f"{'median seconds of':24} {'wall':>8} {'CPU':>8}")
    for name, taken in times.items():
        wall, cpu = (statistics.median(one) for one in zip(*taken, strict=True))
        print(f"{name:24} {wall:8.2f} {cpu:8.2f}   of {len(taken)}")
    print("to dump and load, as a ratio")
    load = times["dump and load"]
    for names in (("dump alone",), ("read alone",), ("collect",), ("prove",), ("collect", "prove")):
        sums = [
            [sum(times[name][at][what] for name in names) / load[at][what] for at in range(rounds)]
            for what in (0, 1)
        ]
        wall, cpu = map(statistics.median, sums)
        print(f"{' and '.join(names):24} {wall:8.2f} {cpu:8.2f}")
    print(
        f"most memory              {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
    )


if __name__ == "__main__":
    main()
