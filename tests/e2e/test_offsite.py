"""A restore from a copy that was fetched off-site, with the host that made it gone: the real
program and restic, over SSH, as ordinary users."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from set_world import biso, site
from test_restore import require_set, same_code  # type: ignore[import-not-found]

PLUGINS = Path(__file__).parents[2] / "plugins"

pytestmark = [pytest.mark.needs("restic"), pytest.mark.timeout(300)]


def give(folder: Path, user: str) -> None:
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user, user)


def test_a_copy_fetched_off_site_is_restored_with_the_original_host_absent(world: Any) -> None:
    same_code(world)
    prod, test = world.hosts["prod"], world.hosts["test"]
    place = world.base / "fern"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    place.chmod(0o777)
    repository, password = place / "repository", place / "password"
    password.write_text("ein langes Geheimnis\n")
    password.chmod(0o600)
    subprocess.run(
        ["restic", "init", "--repo", repository, "--password-file", password],
        check=True, capture_output=True,
    )  # fmt: skip
    for one in (repository, password):
        give(one, prod.user)
    store = place / "sets"
    site(
        world,
        site={
            "plugins": [str(PLUGINS)],
            "disable": ["attachment_scrub", "log_database", "notify"],
        },
        backup={"path": str(store)},
        plugins={
            "offsite": {
                "repository": str(repository),
                "password_file": str(password),
                "fetch_to": "test",
            }
        },
    )
    made = biso(world, "backup").json
    assert {step["name"]: step["status"] for step in made["steps"]}["offsite-copy"] == "ok"

    prod.stop()
    store.rename(place / "gone")
    for one in (repository, password):
        give(one, test.user)
    biso(world, "offsite-fetch", "--yes")

    copies = f"{test.alias}:{store}"
    assert [one["id"] for one in biso(world, "list", "--from", copies).json["sets"]] == [
        made["set"]
    ]
    biso(world, "restore", made["set"], "--from", copies, "--to", "test", "--yes")
    require_set(world)
    prod.start()
    assert world.leftovers(previous=True) == []
    shutil.rmtree(place)
