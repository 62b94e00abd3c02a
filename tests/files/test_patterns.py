"""One meaning of a pattern everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.files.patterns import Matcher, compile_pattern, is_literal


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.ttf", "a.ttf", True),
        ("*.ttf", "fonts/a.ttf", False),
        ("**/*.ttf", "a.ttf", True),
        ("**/*.ttf", "deep/down/a.ttf", True),
        ("**/*.ttf", "a.TTF", False),
        ("fonts/**", "fonts/a/b", True),
        ("fonts/**", "fonts", False),
        ("fonts/**", "x/fonts/a", False),
        ("/data/", "data", True),
        ("/data/", "data/x/y", True),
        ("/data/", "phpdocx/lib/data", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("**", "anything/at\nall", True),
        ("**", "line\n", True),
        ("*.pdf", "two\nlines.pdf", True),
        ("a.b", "axb", False),
        ("a[", "a[", True),
    ],
)
def test_a_pattern_names_the_whole_path(pattern: str, path: str, matches: bool) -> None:
    assert bool(compile_pattern(pattern).fullmatch(path)) is matches


def test_what_lies_in_an_excluded_directory_is_excluded() -> None:
    matcher = Matcher(["cache", "**/*.log"])
    assert matcher("cache/deep/file")
    assert matcher("logs.log/inside")
    assert not matcher("other/cache/file")


@given(st.text(alphabet="ab/.*x\n", min_size=1, max_size=12).map(lambda t: t.strip("/")))
def test_a_literal_pattern_matches_itself_and_a_double_star_everything(path: str) -> None:
    if path and is_literal(path):
        assert compile_pattern(path).fullmatch(path)
    assert compile_pattern("**").fullmatch(path)
