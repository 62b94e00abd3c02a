"""What a set shares with those before it, and what it must not: other sets in between, files that
look as they did, dumps that shrank."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from set_world import biso, blocks, contents, dumped, forget_sets, site, sums_pass

SIZE, COUNT = 16384, 300


def fill(world: Any) -> Path:
    """Files of production that are worth sharing."""
    folder: Path = world.prod.datadir / "viele"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number}.bin").write_bytes(os.urandom(SIZE))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, world.prod.owner, world.prod.owner)
    return folder


def backup(world: Any, *words: str) -> tuple[Path, dict[str, Any]]:
    """The set, and what its steps gave."""
    ran = biso(world, "backup", *words)
    journal = world.site_folder / ".biso/runs" / ran.json["run"] / "journal.jsonl"
    lines = map(json.loads, journal.read_text().splitlines())
    facts = {one["name"]: one["facts"] for one in lines if one["event"] == "step_finished"}
    return Path(ran.json["path"]), facts


def grown(new: Path, *old: Path) -> int:
    """Bytes on disk of files that `new` shares with none of the others."""
    known = blocks(*old)
    folders = {(s.st_dev, s.st_ino) for s in (p.lstat() for p in new.rglob("*") if p.is_dir())}
    return sum(
        size for inode, size in blocks(new).items() if inode not in known and inode not in folders
    )


DOCUMENTS = 5 * 65536  # manifest, METADATA, sums, guide, dump, config: as large as they were


@pytest.mark.parametrize(
    "between",
    [
        "database",
        "",
        pytest.param("data", marks=pytest.mark.whole),
        pytest.param("webroot", marks=pytest.mark.whole),
    ],
)
def test_a_set_of_one_area_between_two_whole_ones_costs_no_copy(local: Any, between: str) -> None:
    """1 % of the files change: the disk grows by that, whatever was made meanwhile."""
    site(local, ssh=False)
    many = fill(local)
    first, _ = backup(local)
    others = [first]
    if between:
        others.append(backup(local, "--only", between)[0])
    for number in range(COUNT // 100):
        (many / f"{number}.bin").write_bytes(os.urandom(SIZE))
    second, facts = backup(local)
    assert grown(second, *others) < COUNT // 100 * SIZE + DOCUMENTS
    assert sum(blocks(first / "data/viele").values()) >= COUNT * SIZE
    files = sum(1 for path in second.rglob("*") if path.is_file() and not path.is_symlink())
    assert facts["seal"]["hashed"] < files - COUNT * 0.9, "what is shared is not read again"
    assert (second / "webroot/index.php").samefile(first / "webroot/index.php")
    if between == "data":
        assert (second / "data/viele/9.bin").samefile(others[1] / "data/viele/9.bin")
    assert sums_pass(second) and sums_pass(first)


def test_a_file_that_looks_as_it_did_comes_with_the_content_that_it_has(local: Any) -> None:
    """`cp -p`, `touch -r`, unpackers: size and mtime stay. Before the backup, and between the copy
    and the window."""
    early, late = (local.prod.datadir / "viele" / f"{number}.bin" for number in (7, 8))
    rewrite = (
        '\n[[recipes.backup.insert]]\nafter = "copy-files"\nname = "meanwhile"\non = "prod"\n'
        f"run = ['bash', '-c', 'touch -r {late} /tmp/$$; printf LATE | dd of={late} conv=notrunc "
        f"status=none; touch -r /tmp/$$ {late}; rm /tmp/$$']\n"
    )
    site(local, ssh=False)
    many = fill(local)
    first, _ = backup(local)
    sealed = contents(first)
    was = early.stat()
    with early.open("r+b") as file:
        file.write(b"EARLY")
    os.utime(early, ns=(was.st_atime_ns, was.st_mtime_ns))
    before = contents(many)
    site(local, ssh=False, text=rewrite)
    second, _ = backup(local)
    assert late.read_bytes()[:4] == b"LATE"
    assert {path: entry[2] for path, entry in contents(many).items()} == {
        path: entry[2] for path, entry in before.items()
    }, "no time tells"
    assert contents(second / "data/viele") == contents(many)
    assert contents(first) == sealed
    assert grown(second, first) < 2 * SIZE + DOCUMENTS
    assert sums_pass(second)


def test_a_data_dir_that_was_put_back_is_read_once_and_shared(local: Any) -> None:
    """Every file is a new one there, as after a restore or a move to another disk."""
    site(local, ssh=False)
    fill(local)
    first, _ = backup(local)
    datadir = local.prod.datadir
    subprocess.run(["cp", "-a", datadir, datadir.with_name("neu")], check=True)
    shutil.rmtree(datadir)
    datadir.with_name("neu").rename(datadir)
    second, facts = backup(local)
    assert grown(second, first) < DOCUMENTS
    assert (second / "data/viele/9.bin").samefile(first / "data/viele/9.bin")
    assert facts["copy-files"]["copied"] == 0
    assert sums_pass(second)


def _blobs(world: Any) -> None:
    world.prod.cluster.rows(
        f"SET ROLE {world.prod.role}; CREATE TABLE anlage (nr int PRIMARY KEY, inhalt bytea);"
        "INSERT INTO anlage SELECT n, decode(string_agg(md5(n::text || m), ''), 'hex')"
        " FROM generate_series(1, 300) n, generate_series(1, 300) m GROUP BY n",
        "biso",
    )


def test_a_database_that_legitimately_shrank_is_backed_up_and_its_backup_says_so(
    local: Any,
) -> None:
    """As many rows, far fewer bytes: attachments were deleted. The dump is read back, and believed
    by its rows; it need not be told twice."""
    site(local, ssh=False)
    _blobs(local)
    first = biso(local, "backup").json
    local.prod.cluster.rows("UPDATE anlage SET inhalt = NULL", "biso")
    ran = biso(local, "backup")
    assert ran.json["bytes"] < first["bytes"] - 1_000_000
    assert "every row that was counted is in it" in ran.err
    ran = biso(local, "backup")
    assert "every row" not in ran.err
    (dump,) = (Path(ran.json["path"]) / "db").glob("biso_2*.sql.gz")
    assert "COPY public.anlage" in dumped(dump)


def test_a_dump_that_lost_rows_on_the_way_is_not_sealed(plain_world: Any) -> None:
    """pg_dump ends well, its text has its end, and rows are missing."""
    world = plain_world
    forget_sets(world)
    store = site(world)
    _blobs(world)
    first = biso(world, "backup").json["set"]
    program = world.hosts["prod"].bin / "pg_dump"
    real = "/usr/bin/pg_dump"
    program.unlink()
    program.write_text(
        f'#!/bin/bash\nset -o pipefail\ncase "$*" in *--version*) exec {real} "$@";; esac\n'
        f"{real} \"$@\" | sed '/^COPY public.anlage/,/^\\\\\\.$/{{/^[0-9]/d}}'\n"
    )
    program.chmod(0o755)
    try:
        ran = biso(world, "backup", code=1)
    finally:
        program.unlink()
        world.hosts["prod"].link_programs()
    assert '0 of 300 rows of "public"."anlage"' in ran.message
    listed = {one["id"]: one["state"] for one in biso(world, "list").json["sets"]}
    assert listed.pop(first) == "good"
    assert [*listed.values()] == ["partial"]
    assert os.readlink(store / "latest") == f"sets/{first}"
    biso(world, "backup")
    forget_sets(world)


def test_the_links_for_scripts_name_sets_of_the_environment_that_is_backed_up(local: Any) -> None:
    """Both environments' sets lie in one store on one host."""
    store = site(local, ssh=False)
    mine = biso(local, "backup").json["set"]
    link, dump = store / "latest", store / "db/biso_latest.sql.gz"

    def pointed() -> tuple[str, int]:
        return os.readlink(link), dump.stat().st_ino

    before = pointed()
    assert before[0] == f"sets/{mine}"
    theirs = biso(local, "backup", "--env", "test").json["set"]
    assert pointed() == before
    assert biso(local, "show", "latest").json["set"] == mine
    broken = store / "sets" / theirs / "data/leer.txt"
    (broken if broken.exists() else store / "sets" / theirs / "config/config.php").write_text("x")
    biso(local, "verify", "--set", theirs, code=4)
    assert pointed() == before
    biso(local, "prune", "--env", "test", "--yes")
    assert pointed() == before
    found = biso(local, "show", "latest", "--from", str(store)).json["set"]
    assert found == mine, "a store that is visited means the same"


def test_old_partial_sets_go_with_prune_and_the_plan_names_them(local: Any) -> None:
    """Also where no set goes; and a backup of one environment leaves the other's."""
    store = site(local, ssh=False)
    made = biso(local, "backup").json["set"]
    old, young = "20200101_000000-test", f"{made.partition('-')[0]}-test"
    for id in (old, young):
        (store / "sets" / f".partial-{id}" / "data").mkdir(parents=True)
    (store / "sets" / ".removing-x").mkdir()
    biso(local, "backup", "--only", "data")
    assert {path.name for path in (store / "sets").glob(".partial-*")} == {
        f".partial-{old}", f".partial-{young}"
    }  # fmt: skip
    (store / "sets" / ".removing-x").mkdir()
    plan = biso(local, "prune", "--plan").json["plan"]
    assert old in str(plan[0]["destroys"]) and young not in str(plan[0]["destroys"])
    assert biso(local, "prune", "--yes").json["removed"] == [old]
    assert {path.name for path in (store / "sets").glob(".*")} == {f".partial-{young}"}
    (store / "sets" / ".removing-x").mkdir()
    assert biso(local, "prune").json["removed"] == []
    assert not (store / "sets" / ".removing-x").exists()
