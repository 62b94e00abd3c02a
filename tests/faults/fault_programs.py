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


_SAME_WORK = {"gzip": ("pigz", "igzip"), "sha256sum": ("openssl",)}


def killed_in(world: World, step: str) -> str:
    """For `instead`: a program that does its work for a moment and is killed, in this step alone.
    Call it when the run's spec is there, which clears the place."""
    here = world.folder / "fault" / "steps" / step
    return (
        f'case "$*" in *--version*) exec "$real" "$@";; esac\n'
        f'[ -e "{here}" ] || exec "$real" "$@"\n'
        f'echo >>"{here.with_name("killed")}"\n'
        '"$real" "$@" <&0 &\nsleep 0.03\nkill -9 $!\nkill -9 $$'
    )


def after_the_copy(world: World, text: str = 'exec "$real" "$@"') -> str:
    """For `instead` of rsync: production gets a file more when `copy-files` has copied the rest, so
    that there is something to be brought in the window. The test removes it."""
    here = world.folder / "fault" / "steps" / "copy-files"
    late = world.prod.datadir / "spaet.pdf"
    return (
        f'if [ -e "{here}" ]; then\n  "$real" "$@"\n  code=$?\n'
        f'  head -c 50000 /dev/urandom >"{late}"\n  exit "$code"\nfi\n{text}'
    )


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
