"""What one command for many costs: `python benchmarks/fleet_cost.py 3 10 30`.

For each number: installations on SSH servers of their own, one that is broken and one that is slow
among them, and a backup of all. The memory and the processor time of the controlling process alone,
and of its side of the SSH connections; the other side works on this machine as well. What a
thousand would take is the line through them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fleet_site import FleetSite, standing

_WORDS = (sys.executable, "-P", "-m", "biso_tasks.cli.main")


@dataclass(frozen=True)
class Cost:
    """Of one command: seconds, the controller's processor seconds and peak MB, the processor
    seconds of all processes on its side of the SSH connections, and how many ended well."""

    number: int
    seconds: float
    controller: float
    peak: float
    side: float
    good: int


def main() -> None:
    numbers = [int(one) for one in sys.argv[1:]] or [3, 10, 30]
    costs = [_measured(number) for number in numbers]
    print(
        "| installations | good | seconds | controller CPU s | controller peak MB "
        "| CPU s of its side |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for one in costs:
        print(
            f"| {one.number} | {one.good} | {one.seconds:.1f} | {one.controller:.2f} "
            f"| {one.peak:.0f} | {one.side:.1f} |"
        )
    if len(costs) > 1:
        first, last = costs[0], costs[-1]
        more = last.number - first.number
        for what in ("seconds", "controller", "peak"):
            slope = (getattr(last, what) - getattr(first, what)) / more
            at = getattr(last, what) + slope * (1000 - last.number)
            print(f"{what}: {slope:.3f} for each more; 1000 by this line: {at:.0f}")


def _measured(number: int) -> Cost:
    with (
        tempfile.TemporaryDirectory(prefix="biso-fleet-") as folder,
        standing(Path(folder) / "site", number) as site,
    ):
        _odd(site)
        before, began = _ended(), time.monotonic()
        peak = [0.0, 0.0]
        process = subprocess.Popen(
            [*_WORDS, "backup", "--env", "*", "--yes", "--json"],
            cwd=site.root,
            env={**site.built.environ(), "BISO_CONFIG": str(site.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        out, _ = process.communicate()
        seconds = time.monotonic() - began
        watcher.join()
        good = sum(one["exit_code"] == 0 for one in json.loads(out)["installations"])
        return Cost(number, seconds, peak[1], peak[0], _ended() - before, good)


def _ended() -> float:
    """Processor seconds of processes that we started and that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _odd(site: FleetSite) -> None:
    """The second is broken, the third slow."""
    sleepy = site.root / "sleepy-php"
    sleepy.write_text(f'#!/bin/sh\nsleep 2\nexec "{site.built.bin_dir / "php"}" "$@"\n')
    sleepy.chmod(0o755)
    broken, slow = site.names[1:3]
    site.write({broken: {"webroot": "/nowhere/at/all"}, slow: {"php": [str(sleepy)]}})


def _watch(pid: int, peak: list[float]) -> None:
    """The largest that it was, and what it has used by itself when it was last seen."""
    ticks = os.sysconf("SC_CLK_TCK")
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        if "VmHWM" not in status:  # it has ended
            return
        peak[0] = int(status.split("VmHWM:")[1].split()[0]) / 1024
        peak[1] = (int(fields[11]) + int(fields[12])) / ticks
        time.sleep(0.1)


if __name__ == "__main__":
    main()
