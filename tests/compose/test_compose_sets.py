"""Backup sets of an instance that runs in Docker compose, and their way back into it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs(
        "root", "postgresql (machine)", "php (machine)", "rsync", "setpriv", "namespaces"
    ),
]

WWW = 1082
CASES = "SELECT count(*) FROM beratungsfall"


def _tree(root: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(root)): (
            stat.S_IFMT(path.lstat().st_mode),
            path.lstat().st_uid,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in root.rglob("*")
        if "tmp" not in path.parts and path.suffix != ".log"
    }


def test_a_set_of_a_compose_site_is_made_and_restored_through_its_containers(world: Any) -> None:
    store = world.root / "sets"
    with (world.root / "biso.toml").open("a") as file:
        file.write(f'[backup]\npath = "{store}"\n[refresh]\nanonymize = false\n')
    page, cases = world.page(), world.sql(CASES)
    data, code = _tree(world.datadir), _tree(world.webroot)

    made = world.biso("backup", "--env", "test")

    folder = Path(made["path"])
    assert world.page() == page, "it is out of maintenance again"
    assert 0 < made["maintenance_seconds"] < 20
    assert {"webroot", "data", "db", "config", "METADATA"} <= {one.name for one in folder.iterdir()}
    assert b"data/fop.xconf\0f\0" in (folder / "METADATA").read_bytes()
    assert sorted(world.running()) == ["db", "queue", "web83"]

    world.sql("DELETE FROM mailqueue; UPDATE beratungsfall SET titel = 'weg'")
    (world.datadir / "fop.xconf").unlink()
    (world.webroot / "index.php").write_text("<?php echo 'kaputt';")

    done = world.biso("restore", made["set"], "--yes")

    assert done["previous"] == "biso_test__previous"
    assert (world.page(), world.sql(CASES)) == (page, cases)
    assert world.sql("SELECT count(*) > 0 FROM mailqueue") == "t"
    assert (_tree(world.datadir), _tree(world.webroot)) == (data, code)
    assert world.datadir.stat().st_uid == WWW
    assert sorted(world.running()) == ["db", "queue", "web83"]

    world.biso("rollback", "--yes")
    assert "kaputt" in world.page()
    assert not (world.datadir / "fop.xconf").exists()
