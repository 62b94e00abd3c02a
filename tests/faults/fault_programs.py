"""Programs of the hosts that do something else than they should, and processes that still run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_world import World


@contextlib.contextmanager
def instead(world: World, name: str, text: str) -> Iterator[None]:
    """While inside, the hosts find a script under a program's name, to which `$real` is the real
    one. What does the same work where it is there is treated the same."""
    path = os.pathsep.join((str(world.site.bin_dir), os.environ["PATH"]))
    names = (name, *_SAME_WORK.get(name, ()))
    found = {one: shutil.which(one, path=path) for one in names}
    fakes = {world.folder / "fake" / one: real for one, real in found.items() if real}
    for fake, real in fakes.items():
        fake.write_text(f"#!/bin/bash\nreal={real}\n{text}\n", "utf-8")
        fake.chmod(0o755)
    try:
        yield
    finally:
        for fake in fakes:
            fake.unlink()


_SAME_WORK = {"gzip": ("pigz",), "sha256sum": ("openssl",)}


@contextlib.contextmanager
def small_disk(world: World) -> Iterator[Path]:
    """While inside, the store of runs on this machine is in a small filesystem of its own: its
    path. What fills it is `filler` beside it."""
    place = world.folder / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "none", str(place)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("a tmpfs cannot be mounted here (sudo ./biso test)")
    config = world.folder / "here-local" / "biso.toml"
    before = config.read_text("utf-8")
    store = place / "store"
    config.write_text(before.replace(str(world.store), str(store)), "utf-8")
    try:
        (store / "sets").mkdir(parents=True)
        yield store
    finally:
        config.write_text(before, "utf-8")
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def processes(world: World, words: bytes) -> list[int]:
    """Processes of this world that have `words` on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            if words in line and str(world.folder).encode() in line:
                found.append(int(entry.name))
    return found
