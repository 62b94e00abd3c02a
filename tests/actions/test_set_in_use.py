"""A set is kept as long as something is made of it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored

from biso_tasks.backup.reading import reading
from biso_tasks.backup.store import Store
from biso_tasks.host.local import LocalHost

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

LOOK = """
[[recipes.{recipe}.insert]]
after = "{step}"
name = "looks"
on = "prod"
run = ["bash", "-c", 'cat "$0"/../.reading-* > "$1"', "{{set.path}}", "{seen}"]
"""


@pytest.mark.parametrize(
    ("recipe", "step", "given"),
    [("restore", "read-back", {}), ("restore-path", "bring-path", {"path": "fop.xconf"})],
    ids=["a restore", "one path"],
)
def test_a_set_is_marked_while_it_is_restored_and_not_afterwards(
    world: Restored, tmp_path: Path, recipe: str, step: str, given: dict[str, Any]
) -> None:
    seen = tmp_path / "seen"
    world.write(LOOK.format(recipe=recipe, step=step, seen=seen))
    document = world.restore(**given)
    assert json.loads(seen.read_text())["run"] == document["run"]
    assert not list(world.set_folder.parent.glob(".reading-*"))


def test_prune_leaves_a_set_that_is_read_and_says_who_reads_it(world: Restored) -> None:
    older = world.set_folder
    newer = world.run("backup", env="", only="", no_maintenance=False)["set"]
    text = (world.built.root / "biso.toml").read_text()
    keep = "keep = { last = 1, daily = 0, weekly = 0, monthly = 0 }\n"
    (world.built.root / "biso.toml").write_text(text.replace("\n[backup]\n", f"\n[backup]\n{keep}"))
    owner = {"run": "r1", "who": "anna@laptop", "since": "2026-11-20"}
    with (
        closing(LocalHost("prod")) as host,
        reading(Store(host, str(older.parent.parent)), older.name, owner),
    ):
        document = world.run("prune", env="", confirm="prod")
        assert (document["removed"], document["in_use"]) == ([], [older.name])
        journal = Path(document["report"]).with_name("journal.jsonl").read_text()
        assert "being read by run r1 of anna@laptop" in journal
        assert older.exists()

    document = world.run("prune", env="", confirm="prod")

    assert document["removed"] == [older.name]
    assert [path.name for path in older.parent.iterdir()] == [newer]
