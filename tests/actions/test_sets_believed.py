"""A set of production whose manifest says that it holds no personal data: whatever would bring it
into a test environment refuses it, unless a proof was sealed with it; no flag beats that."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored

from biso_tasks.backup.manifest import Manifest
from biso_tasks.backup.proof import ProofRecord

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

_REFRESH = {"from_": "", "to": "", "no_anonymize": False, "keep_stage": False}
WAYS: dict[str, Callable[[Restored, int], dict[str, Any]]] = {
    "refresh": lambda world, code: world.run(
        "refresh-test", code, **{**_REFRESH, "source": world.id, "plan": True}
    ),
    "restore": lambda world, code: world.restore(code, to="test", confirm="test", plan=True),
    "restore data and database": lambda world, code: world.restore(
        code, to="test", confirm="test", only="data,database", plan=True
    ),
    "restore a table": lambda world, code: world.restore(
        code, to="test", confirm="test", table="person", plan=True
    ),
    "restore a path": lambda world, code: world.restore(
        code, to="test", confirm="test", path="fop.xconf", plan=True
    ),
    "restore of a copy": lambda world, code: world.restore(
        code, to="test", confirm="test", from_=str(world.set_folder), plan=True
    ),
}


@pytest.fixture
def lying(world: Restored) -> Iterator[Path]:
    """The set's manifest says that nothing in it is personal."""
    files = [world.set_folder / name for name in ("manifest.toml", "SHA256SUMS", "state.toml")]
    before = [path.read_bytes() for path in files]
    manifest = files[0]
    manifest.write_bytes(manifest.read_bytes().replace(b"personal = true", b"personal = false"))
    yield world.set_folder
    for path, content in zip(files, before, strict=True):
        path.write_bytes(content)


def vouch(folder: Path) -> None:
    """Sums and state agree with what the manifest says now: as if it had been sealed so."""
    sums = folder / "SHA256SUMS"
    digest = hashlib.sha256((folder / "manifest.toml").read_bytes()).hexdigest().encode()
    lines = [
        digest + b"  manifest.toml" if line.endswith(b"  manifest.toml") else line
        for line in sums.read_bytes().split(b"\n")
    ]
    sums.write_bytes(b"\n".join(lines))
    sealed = hashlib.sha256(sums.read_bytes()).hexdigest()
    state = folder / "state.toml"
    text = state.read_text("utf-8").split("\n")
    text = [f'sums = "{sealed}"' if line.startswith("sums = ") else line for line in text]
    state.write_text("\n".join(text), "utf-8")


def require_anonymising(world: Restored) -> None:
    file = world.built.root / "biso.toml"
    text = file.read_text("utf-8")
    said = text.replace('to = "test"\n', 'to = "test"\nanonymize = "required"\n', 1)
    assert said != text
    file.write_text(said, "utf-8")


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_the_word_of_a_set_is_not_taken_without_a_proof(
    world: Restored, lying: Path, way: str, required: bool
) -> None:
    if required:
        require_anonymising(world)
    error = WAYS[way](world, 4)["error"]
    assert "is not what was sealed" in error["message"]
    vouch(lying)
    error = WAYS[way](world, 3)["error"]
    assert "there is no proof of it" in error["message"]


def test_a_proof_of_another_run_is_none(world: Restored, lying: Path) -> None:
    """Taken out of a release, and put beside production's own rows."""
    path = lying / "manifest.toml"
    manifest = Manifest.from_toml(path.read_bytes())
    proof = ProofRecord("prod", "of a release", manifest.created, manifest.tool, 1, 2, 3, 0, False,
                        "", "0" * 64)  # fmt: skip
    text = path.read_bytes()
    head, mark, rest = text.partition(b"[options]")
    lines = "".join(
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
        for key, value in proof.as_dict().items()
    )
    path.write_bytes(head + b"[proof]\n" + os.fsencode(lines) + b"\n" + mark + rest)
    vouch(lying)
    for way in ("refresh", "restore"):
        error = WAYS[way](world, 3)["error"]
        assert "holds code" in error["message"] or "of the run" in error["message"]


def test_no_flag_brings_it_in_where_anonymising_is_required(world: Restored, lying: Path) -> None:
    vouch(lying)
    require_anonymising(world)
    words = {**_REFRESH, "source": world.id, "no_anonymize": True, "plan": True}
    assert "no flag beats" in world.run("refresh-test", 3, **words)["error"]["message"]
