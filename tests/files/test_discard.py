"""Only what lies strictly inside the stage directory is ever removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from biso_tasks.errors import Refused
from biso_tasks.files.access import Access
from biso_tasks.files.discard import discard

pytestmark = pytest.mark.real


def test_discard_removes_only_what_is_strictly_inside(here: Access, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    (stage / "data/deep").mkdir(parents=True)
    (tmp_path / "live").mkdir()
    (stage / "link").symlink_to(tmp_path / "live")
    (tmp_path / "stage2").mkdir()
    for path in (
        *(stage, tmp_path / "live", tmp_path / "stage2", stage / "../live", stage / "data/../.."),
        *(stage / "link", stage / "link/x/.."),
    ):
        with pytest.raises(Refused):
            discard(here, str(path), inside=str(stage))
    with pytest.raises(Refused):
        discard(here, "data", inside=str(stage))
    with pytest.raises(Refused):
        discard(here, "/etc", inside="/")
    assert (tmp_path / "live").exists()
    (tmp_path / "live/x").mkdir()
    with pytest.raises(Refused):
        discard(here, str(stage / "link/x"), inside=str(stage))
    assert (tmp_path / "live/x").exists()
    discard(here, str(stage / "data"), inside=str(stage))
    discard(here, str(stage / "data"), inside=str(stage))
    assert not (stage / "data").exists()


@pytest.mark.needs("root")
def test_discard_refuses_what_holds_a_mount(here: Access, tmp_path: Path) -> None:
    """rm --one-file-system does not see a bind mount of the same filesystem."""
    inner = tmp_path / "stage/data/inner"
    inner.mkdir(parents=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    done = subprocess.run(["mount", "--bind", tmp_path / "precious", inner], check=False)
    if done.returncode:
        pytest.skip("needs the right to mount")
    try:
        for path in (inner, inner.parent):
            with pytest.raises(Refused, match="mount point"):
                discard(here, str(path), inside=str(tmp_path / "stage"))
        assert (tmp_path / "precious/file").exists()
    finally:
        subprocess.run(["umount", inner], check=True)
