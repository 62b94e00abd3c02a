"""The generated files: as many and as large as asked, deep, the same again; growing only gains."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tree import Shape, add_small, change, grow, sizes


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(st.integers(1, 400), st.integers(100, 10**9), st.integers(1, 5))
def test_sizes_are_what_was_asked_for(files: int, size: int, seed: int):
    found = sizes(Shape(files, size, seed))
    assert len(found) == files
    assert min(found) >= 1
    # rounding, and a byte at least
    assert abs(sum(found) - size) <= 2 * files


@given(st.integers(1, 300), st.integers(0, 10**8), st.integers(0, 10**8))
def test_a_larger_shape_makes_no_file_smaller(files: int, one: int, other: int):
    small, large = sorted((one, other))
    pairs = zip(sizes(Shape(files, small)), sizes(Shape(files, large)), strict=True)
    assert all(before <= after for before, after in pairs)


def test_sizes_go_from_bytes_to_megabytes():
    found = sizes(Shape(4000, 100_000_000))
    assert min(found) < 200
    assert max(found) > 500_000


def test_the_same_seed_makes_the_same_tree_and_another_another(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        grow(tmp_path / name, Shape(120, 200_000, seed))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")
    deepest = max(len(Path(name).parts) for name in contents(tmp_path / "a"))
    assert deepest == 13, "a file in a folder that is twelve deep"


def test_a_tree_that_grows_is_the_tree_that_was_made_at_once(tmp_path: Path):
    for size in (10_000, 40_000, 9_000_000):
        grow(tmp_path / "grown", Shape(60, size))
    grow(tmp_path / "whole", Shape(60, 9_000_000))
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")


def test_no_two_files_are_alike(tmp_path: Path):
    grow(tmp_path, Shape(300, 300_000))
    found = [content for content in contents(tmp_path).values() if len(content) > 20]
    assert len(found) > 200
    assert len(set(found)) == len(found)


def test_a_change_touches_its_share_and_nothing_else_and_its_time(tmp_path: Path):
    shape = Shape(200, 400_000)
    grow(tmp_path, shape)
    before = contents(tmp_path)
    for turn in (1, 2):
        times = {path: path.stat().st_mtime for path in tmp_path.rglob("*") if path.is_file()}
        assert change(tmp_path, shape, 0.01, turn) == 2
        after = contents(tmp_path)
        changed = {name for name in before if before[name] != after[name]}
        newer = {path for path, time in times.items() if path.stat().st_mtime != time}
        assert len(changed) == 2
        assert {str(path.relative_to(tmp_path)) for path in newer} == changed
        assert all(len(after[name]) == len(before[name]) for name in before)
        before = after


def test_small_files_come_in_a_folder_of_their_own(tmp_path: Path):
    grow(tmp_path, Shape(100, 1000))
    before = contents(tmp_path)
    add_small(tmp_path, 1001)
    added = {name: found for name, found in contents(tmp_path).items() if name not in before}
    assert len(added) == 1001
    assert {len(content) for content in added.values()} == {100}
    assert all(name.startswith("dateien/klein/") for name in added)
