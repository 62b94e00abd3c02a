"""What classifying, remembering, masking and proving cost beside dump and load of the same data:
`python benchmarks/mask.py [PERSONS]` on a PostgreSQL of its own. Ratios count, not seconds."""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any, TypeVar

import psycopg

from biso_tasks.demo.data import records
from biso_tasks.privacy.classify import classify, extend
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import prove

BIN = Path("/usr/lib/postgresql/15/bin")
MIGRATIONS = Path(__file__).parent.parent / "biso_tasks/demo/bisoapp/webroot/migrations"
T = TypeVar("T")


def timed(what: str, work: Callable[[], T], load: float = 0.0, *, profile: bool = False) -> T:
    started, cpu = time.perf_counter(), time.process_time()
    profiler = cProfile.Profile()
    result = profiler.runcall(work) if profile else work()
    seconds = time.perf_counter() - started
    python = time.process_time() - cpu
    ratio = f", {seconds / load:5.1f} times the load" if load else ""
    print(f"{what:10} {seconds:7.1f} s, {python:6.1f} of them in Python{ratio}", flush=True)
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(15)
    return result


def shell(command: str) -> None:
    run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=DEVNULL)


def main(persons: int, *, profile: bool, steps: str) -> None:
    with tempfile.TemporaryDirectory(prefix="bm", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        su = f"su postgres -c '{BIN}"
        data = f"{directory}/d"
        shell(f"{su}/initdb -D {data} -U postgres -E UTF8 --locale=C.utf8 -N'")
        options = f"-k {directory} -c listen_addresses= -c fsync=off -c max_wal_size=8GB"
        shell(f'{su}/pg_ctl -w -D {data} -l {directory}/log -o "{options}" start\'')
        try:
            bench(directory, persons, profile=profile, steps=steps)
        finally:
            shell(f"{su}/pg_ctl -w -m immediate -D {data} stop'")


def bench(directory: str, persons: int, *, profile: bool, steps: str) -> None:
    def connect(dbname: str, user: str = "biso") -> psycopg.Connection[Any]:
        return psycopg.connect(host=directory, dbname=dbname, user=user, autocommit=True)

    with connect("postgres", "postgres") as admin:
        admin.execute("CREATE ROLE biso LOGIN CREATEDB")
        for name in ("source", "stage"):
            admin.execute(f"CREATE DATABASE {name} OWNER biso TEMPLATE template0".encode())
    with connect("source") as conn:
        for migration in sorted(MIGRATIONS.glob("*.sql"))[:-1]:
            conn.execute(migration.read_bytes())
    made = Path(directory) / "records.sql"
    made.write_text(records("b", persons=persons).sql)
    shell(
        f"{BIN}/psql -Xqh {directory} -U biso -v ON_ERROR_STOP=1 source < {made} 2>{directory}/err"
    )
    started = time.perf_counter()
    timed("load", lambda: shell(
        f"{BIN}/pg_dump -h {directory} -U biso source | {BIN}/psql -Xq1h {directory} -U biso "
        "-v ON_ERROR_STOP=1 stage 2>/dev/null"
    ))  # fmt: skip
    load = time.perf_counter() - started
    with connect("source") as source, connect("stage") as stage:
        source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        inventory = timed("classify", lambda: classify(source), load)
        originals = timed("collect", lambda: collect(source, inventory), load)
        whole = extend(inventory, stage)
        done = timed("mask", lambda: mask(stage, originals, whole), load, profile=profile)
        print(f"{done.values} cells of {len(done.cells)} columns")
        if "prove" in steps:
            proof = timed("prove", lambda: prove(stage, originals, whole), load)
            print(f"{proof.values} values, leaks: {proof.leaks}")


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    main(numbers[0] if numbers else 20_000, profile="--profile" in sys.argv,
         steps="" if "--no-proof" in sys.argv else "prove")  # fmt: skip
