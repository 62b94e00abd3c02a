"""`restore --table` and `restore --path`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from restore_site import Restored, fingerprint_of, names_of, tree

from biso_tasks.cli import restoring
from biso_tasks.errors import UsageError
from biso_tasks.files.piece import read_piece_path

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

LETTER = "brief_vorlagen/Erstgespräch.docx"


def schema_of(world: Restored) -> str:
    return f"restored_{world.id[:15]}"


def files_of(world: Restored) -> dict[str, tuple[Any, ...]]:
    """A rename changes the time of the folder that it is in."""
    return tree(world.prod.datadir, folder_times=False)


@pytest.fixture
def clean(world: Restored) -> Restored:
    world.prod.psql(f"DROP SCHEMA IF EXISTS {schema_of(world)} CASCADE")
    shutil.rmtree(world.stage_dir, ignore_errors=True)
    return world


# -- one table --


def test_one_table_comes_into_a_schema_of_its_own_and_nothing_else_changes(clean: Restored) -> None:
    world = clean
    before, names = fingerprint_of(world.prod, "biso"), names_of(world.prod)
    label = '"public"."person"'
    world.prod.psql("UPDATE person SET nachname = 'verdorben'")
    spoiled = fingerprint_of(world.prod, "biso")

    document = world.restore(table="person")

    after = fingerprint_of(world.prod, "biso")
    there = after["tables"].pop(f'"{schema_of(world)}"."person"')
    assert there == before["tables"][label]
    assert after == spoiled
    assert document["restored"] == [f"{schema_of(world)}.person"]
    assert document["rows"] == there[0] > 0
    assert (document["downtime_seconds"], document["previous"]) == (0.0, None)
    assert names_of(world.prod) == names
    assert not world.stage_dir.exists()
    said = world.refused(table="person")
    assert "was restored before" in said


def test_a_second_table_joins_the_first_one_s_schema(clean: Restored) -> None:
    clean.restore(table="person")
    clean.restore(table="public.params")
    found = clean.prod.psql(
        f"SELECT relname FROM pg_class WHERE relnamespace = '{schema_of(clean)}'::regnamespace "
        "AND relkind = 'r' ORDER BY 1"
    )
    assert found.split("\n") == ["params", "person"]


def test_a_table_that_the_set_lacks_is_refused_with_what_is_near(clean: Restored) -> None:
    assert "did you mean" in (said := clean.refused(table="persom"))
    assert "person" in said


def test_a_raw_table_or_file_does_not_come_to_a_test_environment(clean: Restored) -> None:
    for piece in ({"table": "person"}, {"path": LETTER}):
        assert "anonymises" in clean.refused(to="test", confirm="test", **piece)


def test_what_fails_after_the_load_leaves_no_stage(clean: Restored) -> None:
    world = clean
    before, names = fingerprint_of(world.prod, "biso"), names_of(world.prod)
    world.write(
        '[[recipes.restore-table.insert]]\nafter = "stage-database"\nname = "fails"\n'
        'on = "prod"\nrun = ["false"]\n'
    )
    world.restore(1, table="person")
    assert fingerprint_of(world.prod, "biso") == before
    assert names_of(world.prod) == names
    assert not world.stage_dir.exists()


@pytest.mark.parametrize(
    "piece", [{"table": "person"}, {"path": LETTER}], ids=lambda one: next(iter(one))
)
@pytest.mark.parametrize("exchanged", ["all of it", "its manifest"])
def test_a_set_that_is_exchanged_after_it_was_judged_is_not_used(
    clean: Restored, piece: dict[str, str], exchanged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write into the store puts another in its place, sealed as it should be."""
    world, folder = clean, clean.set_folder
    aside = folder.parent.parent / "aside"
    shutil.copytree(folder, aside, symlinks=True)
    before = fingerprint_of(world.prod, "biso"), files_of(world)
    judge = restoring.require_harmless

    def judge_and_exchange(*given: Any) -> None:
        judge(*given)
        manifest = folder / "manifest.toml"
        manifest.write_text(
            manifest.read_text("utf-8").replace('run = "', 'run = "anders-', 1), "utf-8"
        )
        if exchanged == "all of it":
            (folder / "data" / LETTER).write_text("von jemand anderem")
            seal_anew(folder)

    monkeypatch.setattr(restoring, "require_harmless", judge_and_exchange)
    try:
        error = world.restore(3, **piece)["error"]
    finally:
        shutil.rmtree(folder)
        shutil.move(aside, folder)
    assert "is not the set any more" in error["message"]
    assert (fingerprint_of(world.prod, "biso"), files_of(world)) == before
    assert not world.stage_dir.exists()


def seal_anew(folder: Path) -> None:
    """Sums and state agree with what the files say now."""
    files = sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink())
    names = [str(one.relative_to(folder)) for one in files]
    covered = [name for name in names if name not in ("SHA256SUMS", "state.toml")]
    lines = subprocess.run(
        ["sha256sum", "--", *covered], cwd=folder, capture_output=True, check=True
    ).stdout
    (folder / "SHA256SUMS").write_bytes(lines)
    state = folder / "state.toml"
    text = re.sub(r'(?m)^sums = ".*"$', f'sums = "{sha256(lines).hexdigest()}"', state.read_text())
    state.write_text(text)


# -- one path --


def test_one_file_comes_back_as_recorded_and_what_stood_there_is_kept(clean: Restored) -> None:
    world = clean
    live = world.prod.datadir / LETTER
    before = files_of(world)
    live.write_text("verdorben")

    document = world.restore(path=LETTER)

    assert files_of(world) == before
    assert document["restored"] == [LETTER]
    assert (document["downtime_seconds"], document["previous"]) == (0.0, None)
    assert Path(document["replaced"]).read_text() == "verdorben"
    assert {path.name for path in world.stage_dir.iterdir()} <= {"replaced", ".htaccess"}


def test_what_was_replaced_is_kept_as_long_as_a_previous_instance(clean: Restored) -> None:
    world = clean
    live = world.prod.datadir / LETTER
    kept = []
    for text in ("verdorben", "noch einmal"):
        live.write_text(text)
        kept.append(Path(world.restore(path=LETTER)["replaced"]))
    slots = [
        world.stage_dir / "replaced" / one.relative_to(world.stage_dir).parts[1] for one in kept
    ]
    old = time.time() - 4 * 86400
    os.utime(slots[0], (old, old))

    plan = world.run("prune", plan=True, env="")["plan"]
    said = str([step["destroys"] for step in plan])
    assert slots[0].name in said and slots[1].name not in said
    assert kept[0].exists(), "a plan removes nothing"
    world.run("prune", env="")

    assert not slots[0].exists()
    assert kept[1].read_text() == "noch einmal"


def test_a_folder_comes_back_with_all_in_it_and_the_folders_above(clean: Restored) -> None:
    """Where nothing stood, nothing is kept."""
    world = clean
    before = files_of(world)
    shutil.rmtree(world.prod.datadir / "leerer Ordner")
    shutil.rmtree(world.prod.datadir / "brief_vorlagen")
    folder = next(str(p) for p in map(Path, before) if str(p.parent) == "brief_vorlagen/Mahnwesen")

    assert world.restore(path=folder)["replaced"] is None
    document = world.restore(path="brief_vorlagen")
    world.restore(path="leerer Ordner")

    assert document["replaced"] is not None
    after = files_of(world)
    # Two names of one file: restored alone, one of them is a file of its own.
    for name in ("leerer Ordner/derselbe", "nicht \udce4 UTF-8\n.txt"):
        assert after.pop(name)[:-1] == before.pop(name)[:-1]
    assert after == before


def test_a_file_that_is_not_what_was_sealed_is_not_put_in_place(clean: Restored) -> None:
    world = clean
    sealed = world.set_folder / "data" / LETTER
    content, times = sealed.read_bytes(), sealed.stat()
    before = files_of(world)
    sealed.write_bytes(b"x" + content[1:])
    os.utime(sealed, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        error = world.restore(4, path=LETTER)["error"]
    finally:
        sealed.write_bytes(content)
        os.utime(sealed, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "not what was sealed" in error["message"]
    assert files_of(world) == before
    assert not world.stage_dir.exists()


def test_a_path_that_a_link_leads_elsewhere_is_refused(clean: Restored) -> None:
    world = clean
    folder = world.prod.datadir / "brief_vorlagen"
    aside = world.prod.datadir.parent / "anderswo"
    folder.rename(aside)
    folder.symlink_to(aside)
    try:
        assert "is really" in world.refused(path=LETTER)
    finally:
        folder.unlink()
        aside.rename(folder)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../config.php", "a/../../b", "tmp", "tmp/x", ".", "maintenance.on"]
)
def test_a_path_that_is_not_one_of_the_data_dir_is_a_usage_error(path: str) -> None:
    with pytest.raises(UsageError):
        read_piece_path(path)


def test_pieces_and_areas_exclude_each_other(clean: Restored) -> None:
    given = {"table": "person", "path": LETTER}
    assert clean.restore(2, **given)["error"]["kind"] == "usage"
