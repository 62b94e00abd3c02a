from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from restore_site import REPOSITORY, Restored

from biso_tasks.demo import site as demo


@pytest.fixture(scope="module")
def restored_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A built site and, once it is made, the id of its set."""
    folder = tmp_path_factory.mktemp("restore") / "eine Stelle"
    folder.mkdir()
    made = demo.build(folder, ssh=False, scale=0.01, log_database=True)
    shutil.copytree(REPOSITORY / "plugins", folder / "plugins")
    data = made.prod.datadir
    (data / "leerer Ordner").mkdir(mode=0o2750)
    (data / "nicht \udce4 UTF-8\n.txt").write_text("hart\n")
    os.link(data / "nicht \udce4 UTF-8\n.txt", data / "leerer Ordner/derselbe")
    (data / "Verweis").symlink_to("gibt/es nicht")
    (data / "leerer Ordner").chmod(0o2750)
    made.prod.psql("SET ROLE biso; SELECT lo_from_bytea(0, 'groß'::bytea)")
    yield {"built": made, "id": ""}
    demo.clean(folder)


@pytest.fixture
def world(
    restored_site: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Restored:
    built = restored_site["built"]
    monkeypatch.setenv("PATH", built.environ()["PATH"])
    monkeypatch.delenv("BISO_CONFIG", raising=False)
    monkeypatch.chdir(built.root)
    found = Restored(built, lambda: capfd.readouterr().out, restored_site["id"])
    found.write()
    if not found.id:
        document = found.run("backup", env="", only="", no_maintenance=False)
        restored_site["id"] = found.id = document["set"]
    return found
