"""The store of a fault world: what must hold of its sets, whatever happened to a backup."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fault_world import Run, World

from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.host.local import LocalHost

Tree = dict[str, tuple[int, ...]]


@contextmanager
def opened(path: Path, environment: str | None) -> Iterator[Store]:
    """The store at `path` of this machine, as the product sees it."""
    host = LocalHost("here")
    try:
        yield Store(host, str(path), environment)
    finally:
        host.close()


def damaged(world: World) -> list[str]:
    """What an interrupted look at the sets must not leave: one that is said to be damaged."""
    found = []
    for path in (world.store, world.store / "baselines", world.store / "released"):
        with opened(path, None) as store:
            found += [f"{one.id}: {one.why}" for one in store.list() if one.state == "damaged"]
    return found


@dataclass
class Watched:
    """A store before a run of `recipe`, to be compared with what it is after it."""

    world: World
    recipe: str
    path: Path
    before: dict[str, Tree]

    @property
    def datadir(self) -> Path:
        return (self.world.test if self.recipe == "baseline" else self.world.prod).datadir

    def require_sound(self, *, settled: bool = False, verified: bool = False) -> list[str]:
        """No set passes for good that is not, what was sealed before is as it was, `latest` is a
        good and complete one; gives the new sets. `settled`: a whole backup ended after the fault,
        so the newest is the latest, and nothing else lies there. `verified`: a verification wrote
        down what it found."""
        ignored = {"state.toml"} if verified else set()
        environment = "test" if self.recipe == "baseline" else "prod"
        with opened(self.path, environment) as store:
            sets = store.list()
            good = [one for one in sets if one.good]
            for one in good:
                problems = verify_set(store, one.id)
                assert not problems, f"{one.id} is listed as {one.state}: {problems}"
        assert [one.state for one in sets if not one.good] in ([], ["partial"]), sets
        complete = [one.id for one in good if one.complete]
        latest, dump = self.path / "latest", self.path / "db" / "biso_latest.sql.gz"
        pointed = os.readlink(latest).removeprefix("sets/") if latest.is_symlink() else None
        assert pointed in ((complete[-1:] if settled else complete) or [None])
        if dump.exists():
            known = complete[-1:] if settled else complete
            assert any(dump.samefile(next(self._set(id).glob("db/biso_2*.gz"))) for id in known)
        fresh = [one.id for one in good if one.id not in self.before]
        for id, tree in self.before.items():
            # Its baseline is replaced by the new one, never before there is one.
            if self._set(id).exists() or not (fresh and self.recipe == "baseline"):
                now = tree_of(self._set(id))
                assert _without(now, ignored) == _without(tree, ignored), f"{id} was changed"
        if settled:
            ids = {one.id for one in good}
            left = {one.name for one in (self.path / "sets").iterdir()} - ids
            assert not left, f"left in the store: {left}"
            assert not {".latest.new", "lock", "owner"} & {one.name for one in self.path.iterdir()}
        return fresh

    def copied(self) -> dict[str, int]:
        """The inodes of the files that an unfinished set holds and no sealed one, whole ones."""
        with opened(self.path, None) as store:
            partial = [store.partial_path(one.id) for one in store.list() if one.state == "partial"]
        sealed = {facts[0] for tree in self.before.values() for facts in tree.values()}
        found = {}
        for place in partial:
            for name, facts in tree_of(Path(place, "data")).items():
                source = self.datadir / name
                # All names of a hard-linked file are made anew in one go.
                single = source.is_file() and source.stat().st_nlink == 1
                if single and source.stat().st_mtime_ns == facts[-1] and facts[0] not in sealed:
                    found[name] = facts[0]
        return found

    def require_reused(self, copied: dict[str, int], id: str) -> None:
        tree = tree_of(self._set(id) / "data")
        again = [name for name, inode in copied.items() if tree[name][0] != inode]
        assert not again, f"copied again although they were there: {again}"

    def _set(self, id: str) -> Path:
        return self.path / "sets" / id


def _without(tree: Tree, names: Collection[str]) -> Tree:
    return {name: facts for name, facts in tree.items() if name not in names}


def watch(world: World, recipe: str = "backup") -> Watched:
    path = world.store / "baselines" if recipe == "baseline" else world.store
    sets = {one.name: tree_of(one) for one in (path / "sets").iterdir() if one.name[0] != "."}
    return Watched(world, recipe, path, sets)


def tree_of(folder: Path) -> Tree:
    """Every file of a tree with what a write, a chmod or a touch would change."""
    found: Tree = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        if not path.is_dir() or path.is_symlink():
            found[str(path.relative_to(folder))] = (
                facts.st_ino, facts.st_mode, facts.st_uid, facts.st_gid, facts.st_size,
                facts.st_mtime_ns,
            )  # fmt: skip
    return found


def out_of_maintenance(world: World, recipe: str = "backup", *, seconds: float) -> float:
    """Seconds until the site works again, its queue runner as well, with nobody doing anything."""
    instance = world.test if recipe == "baseline" else world.prod
    began = time.monotonic()
    while (instance.datadir / "maintenance.on").exists() or not all(
        queue.exists() for queue in world.queues
    ):
        took = time.monotonic() - began
        assert took < seconds, f"still in maintenance after {took:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - began


def backup_again(world: World, watched: Watched, copied: dict[str, int]) -> Run:
    """The next backup succeeds, uses what is there, and leaves the store in order."""
    again = world.run(world.spec(), *world.words(watched.recipe))
    assert again.code == 0, again.err[-3000:]
    assert again.document["ok"]
    fresh = watched.require_sound(settled=True)
    assert fresh[-1] == again.document.get("set", fresh[-1])
    watched.require_reused(copied, fresh[-1])
    return again
