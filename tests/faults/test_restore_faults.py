"""Programs that are killed while a set is looked at or restored: what is served stays, and nothing
is said against the set.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil

import pytest
from fault_cases import EVERYTHING
from fault_programs import instead, small_disk
from fault_sets import damaged, opened, watch
from fault_world import World

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync"),
    pytest.mark.timeout(900),
]

# `$real` is the program; each dies in the middle of its work.
_PROGRAMS = {
    "psql": ('case "$*" in *--version*) exec "$real" "$@";; esac\n'
             "head -c 3000 >/dev/null\nkill -9 $$", "loading"),
    "gzip": ('"$real" "$@" | head -c 3000\nkill -9 $$', "gzip|cannot be read"),
    "sha256sum": ('"$real" "$@" | head -n 3\nkill -9 $$', "checksums of"),
    "sha256sum and all around it": ("kill -TERM 0", ""),
    "rsync": ('case "$*" in *--version*) exec "$real" "$@";; esac\n"$real" "$@"\nkill -9 $$', ""),
}  # fmt: skip


@pytest.mark.parametrize("name", [*_PROGRAMS] if EVERYTHING else ["psql", "sha256sum"])
@pytest.mark.parametrize("task", ["restore", "refresh-from-set"] if EVERYTHING else ["restore"])
def test_a_program_that_is_killed_leaves_what_is_served_and_the_set_as_good_as_it_was(
    world: World, task: str, name: str
) -> None:
    world.reset("again")
    watched = watch(world)
    text, said = _PROGRAMS[name]
    with instead(world, name.partition(" ")[0], text):
        run = world.run(world.spec(), *world.words(task))
    assert run.code == 1, f"exit {run.code}\n{run.err}"
    assert re.search(said, run.document["error"]["message"]), run.document["error"]
    assert "Traceback" not in run.err
    assert world.check(run) == "old"
    assert damaged(world) == []
    assert watched.require_sound(settled=True) == []


@pytest.mark.parametrize("name", ["gzip", "sha256sum", "sha256sum and all around it"])
def test_a_verification_whose_program_is_killed_says_nothing_against_the_set(
    world: World, name: str
) -> None:
    world.reset("again")
    with instead(world, name.partition(" ")[0], _PROGRAMS[name][0]):
        run = world.run(world.spec(), *world.words("verify"))
    assert run.code == 1, f"exit {run.code}\n{run.err}"
    assert damaged(world) == []


@pytest.mark.parametrize("left", [0, 2])
def test_a_verification_on_a_full_disk_says_nothing_against_the_set(
    world: World, left: int
) -> None:
    """No room for its lock, or only for that."""
    world.reset("again")
    with small_disk(world) as store:
        shutil.copytree(world.store, store, symlinks=True, dirs_exist_ok=True)
        filler = store.parent / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        os.truncate(filler, (filler.stat().st_size // 4096 - left) * 4096)
        run = world.run(world.spec(), *world.words("verify"))
        assert run.code == 1, f"exit {run.code}\n{run.err}"
        assert "No space left on device" in run.document["error"]["message"]
        filler.unlink()
        with opened(store, "prod") as found:
            assert [one.state for one in found.list()] == ["good"]
        again = world.run(world.spec(), *world.words("verify"))
        assert again.code == 0, again.err


def test_a_set_of_which_a_file_cannot_be_read_is_damaged(world: World) -> None:
    """As of a disk that fails: that is no accident of the look at it."""
    world.reset("again")
    # It is given descriptors, no names: as its words, or as its input.
    fails = (
        'for one in "$@" /proc/self/fd/0; do case $(readlink "$one") in *index.php)\n'
        'echo "sha256sum: index.php: Input/output error" >&2; "$real" "$@"; exit 1;; esac; done\n'
        'exec "$real" "$@"'
    )
    with instead(world, "sha256sum", fails):
        run = world.run(world.spec(), *world.words("verify"))
    assert run.code == 4, f"exit {run.code}\n{run.err}"
    assert "Input/output error" in run.document["error"]["message"]
    assert len(damaged(world)) == 1
