"""Whatever is changed in a sealed set, verify finds it; and it finds nothing where all is well."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.backup.checksums import make_sums
from biso_tasks.backup.ids import SetId
from biso_tasks.backup.state import Mark
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import Problem, verify_set
from biso_tasks.backup.verify import dump_problems as dump_problems_of
from biso_tasks.errors import BisoError, Refused

ID = "20261120_031500-prod"
DUMP = "db/biso_20261120_031500.sql.gz"
DOCUMENTS = ("manifest.toml", "METADATA", "RESTORE.md", "SHA256SUMS")


@pytest.fixture
def good(store: Store, sealed: tuple[str, Path]) -> Path:
    return sealed[1]


def kinds(store: Store) -> set[tuple[str, str]]:
    return {(one.kind, one.path) for one in verify_set(store, ID)}


def reseal(store: Store, folder: Path) -> None:
    """As somebody would seal it who vouches for what is there now."""
    partial = folder.with_name(SetId(*ID.split("-", 1)).partial)
    folder.rename(partial)
    make_sums(store, ID, {})
    store.seal(ID, run="r2")


def changed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the set with one byte changed, cut, or gone; then it is as before again."""
    chance = random.Random(7)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    for path in files:
        if path.name == "state.toml":
            continue
        before = path.read_bytes()
        at = chance.randrange(len(before))
        for content in (
            before[:at] + bytes([before[at] ^ (1 << chance.randrange(8))]) + before[at + 1 :],
            before[:at],
            None,
        ):
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            yield f"{path} {None if content is None else len(content)} of {len(before)}, {at}", path
            path.write_bytes(before)


def test_a_byte_changed_a_file_cut_or_gone_is_always_found(store: Store, good: Path) -> None:
    for what, path in changed(good):
        found = verify_set(store, ID)
        assert found, what
        named = str(path.relative_to(good))
        assert named == "SHA256SUMS" or named in {one.path for one in found}, what
    assert verify_set(store, ID) == ()


def test_two_files_swapped_are_found(store: Store, good: Path) -> None:
    one, two = good / "webroot/index.php", good / "webroot/inner/höhe und tiefe"
    one.rename(good / "x")
    two.rename(one)
    (good / "x").rename(two)
    assert kinds(store) == {
        ("changed", "webroot/index.php"),
        ("changed", "webroot/inner/höhe und tiefe"),
    }


def extra_file(good: Path) -> tuple[str, str]:
    (good / "data/inner/empty/new").write_text("x")
    return "extra", "data/inner/empty/new"


def extra_folder(good: Path) -> tuple[str, str]:
    (good / "data/new").mkdir()
    return "extra", "data/new"


def extra_link(good: Path) -> tuple[str, str]:
    (good / "webroot/new").symlink_to("/etc/passwd")
    return "extra", "webroot/new"


def extra_beside(good: Path) -> tuple[str, str]:
    (good / "db/biso_x.sql").write_text("x")
    return "extra", "db/biso_x.sql"


def extra_pipe(good: Path) -> tuple[str, str]:
    os.mkfifo(good / "pipe")
    return "extra", "pipe"


def empty_folder_gone(good: Path) -> tuple[str, str]:
    (good / "data/inner/empty").rmdir()
    return "missing", "data/inner/empty"


def link_gone(good: Path) -> tuple[str, str]:
    (good / "data/link").unlink()
    return "missing", "data/link"


def link_elsewhere(good: Path) -> tuple[str, str]:
    (good / "data/link").unlink()
    (good / "data/link").symlink_to("/etc")
    return "link", "data/link"


def file_to_link(good: Path) -> tuple[str, str]:
    (good / "data/index.php").rename(good.parent.parent / "other")
    (good / "data/index.php").symlink_to(good.parent.parent / "other")
    return "type", "data/index.php"


def folder_to_link(good: Path) -> tuple[str, str]:
    (good / "data/inner/empty").rmdir()
    (good / "data/inner/empty").symlink_to("/")
    return "type", "data/inner/empty"


def tree_gone(good: Path) -> tuple[str, str]:
    shutil.rmtree(good / "data")
    return "missing", "data"


def dump_a_link(good: Path) -> tuple[str, str]:
    (good / DUMP).rename(good.parent.parent / "other")
    (good / DUMP).symlink_to(good.parent.parent / "other")
    return "missing", DUMP


def state_gone(good: Path) -> tuple[str, str]:
    (good / "state.toml").unlink()
    return "state", "state.toml"


def manifest_a_link(good: Path) -> tuple[str, str]:
    (good / "manifest.toml").rename(good.parent.parent / "other")
    (good / "manifest.toml").symlink_to(good.parent.parent / "other")
    return "extra", "manifest.toml"


CHANGES = (
    extra_file, extra_folder, extra_link, extra_beside, extra_pipe, empty_folder_gone, link_gone,
    link_elsewhere, file_to_link, folder_to_link, tree_gone, dump_a_link, state_gone,
    manifest_a_link,
)  # fmt: skip


def test_what_is_there_no_more_or_too_much_is_found(
    store: Store, good: Path, tmp_path: Path
) -> None:
    shutil.copytree(good, tmp_path / "saved", symlinks=True)
    for change in CHANGES:
        expected = change(good)
        assert expected in kinds(store), change.__name__
        shutil.rmtree(good)
        shutil.copytree(tmp_path / "saved", good, symlinks=True)
    assert verify_set(store, ID) == ()


def test_sums_that_were_made_anew_are_not_the_sealed_ones(store: Store, good: Path) -> None:
    (good / "data/index.php").write_text("<?php evil")
    words = (
        "find . -type f ! -name SHA256SUMS ! -name state.toml -printf '%P\\0' | xargs -0 sha256sum"
    )
    sums = subprocess.run(["bash", "-c", words], cwd=good, capture_output=True, check=True).stdout
    (good / "SHA256SUMS").write_bytes(sums)
    assert kinds(store) == {("sums", "SHA256SUMS")}


def dump_problems(store: Store, maker: Any, content: bytes, **more: Any) -> list[Problem]:
    def fill(folder: Path, areas: tuple[str, ...]) -> None:
        pass

    digest = hashlib.sha256(content).hexdigest()
    dump = maker.dump("20261120_031500", more.pop("sha256", digest), len(content), **more)
    folder = maker.partial(ID, ("database",))
    maker.seal(ID, areas=("database",), databases=(dump,), fill=fill)
    folder = Path(store.set_path(ID))
    (folder / DUMP).write_bytes(content)
    if dump.file != DUMP:
        (folder / DUMP).rename(folder / dump.file)
    reseal(store, folder)
    return list(verify_set(store, ID))


def test_who_loads_a_dump_need_not_have_it_unpacked_first(store: Store, maker: Any) -> None:
    cut = gzip.compress(b"COPY a FROM stdin;\n1\n")
    assert [one.kind for one in dump_problems(store, maker, cut)] == ["dump"]
    assert verify_set(store, ID, loaded={DUMP}) == ()
    assert [one.kind for one in verify_set(store, ID, loaded={"another"})] == ["dump"]
    assert [one.kind for one in dump_problems_of(store, ID, {DUMP})] == ["dump"]
    assert dump_problems_of(store, ID, {"another"}) == ()
    (Path(store.set_path(ID)) / DUMP).write_bytes(cut + b"x")
    assert [one.kind for one in verify_set(store, ID, loaded={DUMP})] == ["changed"]


WHOLE = gzip.compress(b"SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n\\unrestrict x\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"COPY a FROM stdin;\n1\n"), "ends before the end"),
        (WHOLE[:-9], "cannot be read to its end"),
        (b"SELECT 1", "cannot be read to its end"),
        (gzip.compress(b"-- PostgreSQL database dump complete\n" + b"x" * 5000), "ends before"),
    ],
    ids=["inside COPY", "inside gzip's trailer", "no gzip at all", "trailer too early"],
)
def test_a_dump_that_was_sealed_cut_is_found(
    store: Store, maker: Any, content: bytes, said: str
) -> None:
    (found,) = dump_problems(store, maker, content)
    assert (found.kind, found.path) == ("dump", DUMP)
    assert said in found.text


def test_a_dump_with_what_newer_versions_print_behind_its_end_is_well(
    store: Store, maker: Any
) -> None:
    assert dump_problems(store, maker, WHOLE) == []


def test_a_dump_that_the_manifest_does_not_name_is_found(store: Store, maker: Any) -> None:
    (found,) = dump_problems(store, maker, WHOLE, sha256="0" * 64)
    assert "not the dump that the manifest names" in found.text


@pytest.mark.needs("postgresql", "psql")
@pytest.mark.parametrize("cut", [False, True])
def test_an_archive_is_read_to_its_end(store: Store, maker: Any, cluster: Any, cut: bool) -> None:
    words = ["pg_dump", "-Fc", "-h", cluster.root, "-p", str(cluster.port), "-U", "postgres"]
    with cluster.connect("postgres") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS a AS SELECT g FROM generate_series(1, 99) g")
    content = subprocess.run(words, capture_output=True, check=True).stdout
    found = dump_problems(
        store, maker, content[:-40] if cut else content, format="custom", file="db/a.dump"
    )
    assert [one.text.startswith("pg_restore cannot read it") for one in found] == [True] * cut


def test_a_manifest_that_does_not_fit_the_set_is_found(
    store: Store, maker: Any, good: Path
) -> None:
    manifest = (good / "manifest.toml").read_text()
    (good / "manifest.toml").write_text(manifest.replace("files = 4", "files = 5"))
    reseal(store, good)
    assert kinds(store) == {("document", "manifest.toml")}


def test_a_problem_is_told_in_one_line() -> None:
    assert str(Problem("extra", "a\nb", "is new")) == r"'a\nb': is new"


def test_verify_asks_for_a_set_that_is_there(store: Store, good: Path) -> None:
    with pytest.raises(Refused):
        verify_set(store, "20261121_031500-prod")


def test_what_was_found_is_kept_in_the_state(store: Store, good: Path) -> None:
    (good / "data/index.php").write_text("x")
    found = verify_set(store, ID)
    mark = Mark("2026-11-21T00:00:00+00:00", "r2", "; ".join(map(str, found)))
    store.write_state(ID, store.read(ID).status.after(mark, problems=bool(found)))
    assert store.list()[0].state == "damaged"
    assert "data/index.php" in store.list()[0].why


def test_an_answer_that_is_cut_says_nothing_against_a_set(
    store: Store, good: Path, cutting: Any
) -> None:
    cut = Store(cutting, store.path, links="prod")
    assert verify_set(cut, ID) == ()
    told, refused = list(cutting.answers), 0
    for at, answer in enumerate(told):
        for part in (0.0, 0.34, 0.5, 0.67, 0.999):
            cutting.answers, cutting.at, cutting.size = [], at, int(len(answer) * part)
            try:
                assert verify_set(cut, ID) == (), f"command {at}"
            except BisoError:
                refused += 1
    assert refused > len(told), "few cuts were noticed"
