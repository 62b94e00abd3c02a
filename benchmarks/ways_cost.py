"""What two ways to do the same cost, in turn on the same data, as ratios of medians:

    .venv/bin/python benchmarks/ways_cost.py --megabytes 500 --files 40000 --rounds 5

Long lines cut by perl or by sed; a dump unpacked by the best of igzip and pigz or by gzip; bytes
moved through two SSH connections with AES-GCM or with ChaCha20; unchanged files of a set linked by
perl or by rsync; owners listed as numbers or as names; two listings compared when nothing changed,
or everything. Asserts nothing.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from biso_tasks.database.packer import UNPACKER
from biso_tasks.database.sift import FOLD, FOLDING
from biso_tasks.demo.sshd import remove, start_servers
from biso_tasks.files.access import Access
from biso_tasks.files.carry import carry, way_between
from biso_tasks.files.difference import changes
from biso_tasks.files.link import link_unchanged
from biso_tasks.files.listing import list_tree
from biso_tasks.host import LocalHost

Work = Callable[[], object]
Pair = tuple[str, Work, Work, Work]  # its name, both ways, what comes before each
WORDS = ("Sie", "rief", "an", "und", "bat", "um", "einen", "Termin", "Müller", "Bern", "Antrag")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="biso-bench-") as place:
        folder = Path(place)
        try:
            print("| one way, against the other | ratio | seconds |\n|---|---|---|")
            for name, ours, other, prepare in pairs(
                folder, given.megabytes * 1_000_000, given.files
            ):
                times = [
                    (seconds(ours, prepare), seconds(other, prepare)) for _ in range(given.rounds)
                ]
                one, two = (statistics.median(column) for column in zip(*times, strict=True))
                print(f"| {name} | {one / two:.2f} | {one:.2f} / {two:.2f} |", flush=True)
        finally:
            remove(folder / "ssh")


def nothing() -> None:
    """Before a way that leaves nothing behind."""


def seconds(work: Work, prepare: Work) -> float:
    prepare()
    began = time.monotonic()
    work()
    return time.monotonic() - began


def pairs(folder: Path, size: int, files: int) -> Iterator[Pair]:
    text, packed = folder / "rows", folder / "rows.gz"
    chance = random.Random(1)
    with text.open("wb") as plain, gzip.open(packed, "wb", compresslevel=3) as small:
        while plain.tell() < size:
            # Most rows are short, a note now and then is a page.
            words = chance.choices(WORDS, k=chance.choice((12, 15, 20, 25, 40, 400)))
            row = f"{chance.random()}\t{' '.join(words)}\n".encode()
            plain.write(row)
            small.write(row)
    yield (
        "cut by perl, against sed",
        lambda: bash(f"{FOLDING}\nfold <{text} >/dev/null"),
        lambda: bash(f"sed '{FOLD}' <{text} >/dev/null"),
        nothing,
    )
    yield (
        "unpacked by the best there is, against gzip",
        lambda: bash(f"{UNPACKER}\nunpack {packed} >/dev/null"),
        lambda: bash(f"gzip -dc {packed} >/dev/null"),
        nothing,
    )
    start_servers(folder / "ssh", ("one", "two"), path="/usr/bin:/bin")

    def relay(cipher: str) -> None:
        ssh = f"ssh -c {cipher} -F {folder}/ssh/config"
        bash(f"{ssh} one head -c {size} /dev/zero | {ssh} two 'cat >/dev/null'")

    yield (
        "relayed with AES-GCM, against ChaCha20",
        lambda: relay("aes128-gcm@openssh.com"),
        lambda: relay("chacha20-poly1305@openssh.com"),
        nothing,
    )
    yield from trees(folder, files)


def trees(folder: Path, files: int) -> Iterator[Pair]:
    before, now = folder / "before", folder / "now"
    for number in range(files):
        file = before / f"{number % 500}" / f"Antrag {number}.pdf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")

    def listed(owners: str) -> None:
        bash(f"cd {before} && LC_ALL=C find . -printf '{owners} %s %T@ %P\\0' >/dev/null")

    yield (
        "owners listed as numbers, against names",
        lambda: listed("%U %G"),
        lambda: listed("%u %g"),
        nothing,
    )
    here = LocalHost("here")
    access = Access(here)
    try:
        listing = list_tree(access, str(before))
        regular = [one for one in listing.entries if one.kind == "file"]

        def prepare() -> None:
            shutil.rmtree(now, ignore_errors=True)
            for one in listing.entries:
                if one.kind == "dir":
                    (now / one.path).mkdir(parents=True)

        def linked() -> None:
            left = link_unchanged(access, str(now), str(before), regular, owners=True, cancel=None)
            assert left == ()

        def by_rsync() -> None:
            way = way_between(access, str(before), access, str(now))
            paths = [one.path for one in regular]
            carry(access, str(now), way, remove=(), bring=paths, link_dest=str(before), cancel=None)

        yield "unchanged files linked by perl, against rsync", linked, by_rsync, prepare
        other = [one._replace(ctime=one.ctime + 1) for one in regular]
        yield (
            "listings compared when nothing changed, against everything",
            lambda: changes(regular, regular),
            lambda: changes(regular, other),
            nothing,
        )
    finally:
        here.close()


def bash(line: str) -> None:
    words = ["bash", "-euo", "pipefail", "-c", line]
    subprocess.run(words, check=True, env={**os.environ, "LC_ALL": "C"})


if __name__ == "__main__":
    main()
