"""The line of every key, in documents whose lines are known because the test wrote them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.config.findings import KeyPath
from biso_tasks.config.lines import lines_of

BARE = st.text("abcXYZ019_-", min_size=1, max_size=4)
ANY_KEY = st.one_of(BARE, st.text(max_size=5))
ONE_LINE = st.text(st.characters(codec="utf-8"), max_size=8)


def quoted(text: str) -> str:
    return tomli_w.dumps({"k": text}).removeprefix("k = ").rstrip("\n")


@st.composite
def scalars(draw: st.DrawFn) -> str:
    """A value in one of TOML's many spellings, on one line or several."""
    text = draw(ONE_LINE)
    return draw(
        st.sampled_from(
            [
                quoted(text),
                f'"""\n{quoted(text)[1:-1]}\n# no comment\n[no.table]\nno = "key" """',
                '"""two quotes at the end: """""',
                "'''\n'it''s\n[[x]]\n'''''",
                "'lit # eral\\'",
                "1979-05-27 07:32:00Z",
                "-1_000",
                "6.5e3",
                "true",
                "[]",
                "{}",
                "[ # [\n 1, # ]\n\n 2,\n]",
                '[["a", {b = "]", c = [1]}],\n"x"]',
                '{ a.b = "}", "c,}" = [1,\n 2] }',
            ]
        )
    )


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """A TOML text, and the line at which each of its top keys, tables and pairs was put."""
    lines: dict[KeyPath, int] = {}
    text = ""
    arrays: dict[str, int] = {}
    path: KeyPath = ()
    taken: set[KeyPath] = set()
    filler = st.sampled_from(["", "\n", "# [a]\n", "  \n\t# x = 1\n"])
    for _ in range(draw(st.integers(0, 8))):
        text += draw(filler)
        line = text.count("\n") + 1
        kind = draw(st.sampled_from(["pair", "pair", "dotted", "table", "array"]))
        name = draw(ANY_KEY)
        shown = f" {quoted(name)} " if kind != "array" else quoted(name)
        if kind in {"pair", "dotted"}:
            keys = (name,) if kind == "pair" else (name, draw(BARE))
            if (*path, name) in taken:
                continue
            taken.add((*path, name))
            joined = " . ".join([shown, *keys[1:]])
            text += f"{joined} = {draw(scalars())}  # = [\n"
            lines[(*path, *keys)] = line
            lines.setdefault((*path, name), line)
        elif kind == "table" and (name,) not in taken and name not in arrays:
            taken.add((name,))
            path = (name,)
            text += f"[{shown}] # ]\n"
            lines[path] = line
        elif kind == "array" and (name,) not in taken:
            arrays[name] = arrays.get(name, -1) + 1
            path = (name, arrays[name])
            text += f"[[{shown}]]\n"
            lines[path] = line
            lines.setdefault((name,), line)
    # A key of the first lines may have been used for a header since.
    return text, lines


def valid(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def paths(value: Any, at: KeyPath = ()) -> Iterator[KeyPath]:
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield from paths(item, (*at, key))


@given(documents(), st.sampled_from(["\n", "\r\n"]))
def test_every_key_is_found_at_the_line_where_it_was_written(
    document: tuple[str, dict[KeyPath, int]], newline: str
) -> None:
    text, expected = document
    assert valid(text)
    found = lines_of(text.replace("\n", newline))
    assert {path: found[path] for path in expected} == expected


@given(documents())
def test_whatever_tomllib_reads_has_a_line_and_nothing_else_has(
    document: tuple[str, dict[KeyPath, int]],
) -> None:
    text, _ = document
    assert set(lines_of(text)) == set(paths(tomllib.loads(text)))


TREES = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), ONE_LINE),
    lambda deeper: st.one_of(
        st.lists(deeper, max_size=3), st.dictionaries(st.text(max_size=3), deeper, max_size=3)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=3), TREES, max_size=4), st.booleans())
def test_what_a_toml_writer_writes_has_a_line_for_every_path(
    data: dict[str, Any], multiline: bool
) -> None:
    text = tomli_w.dumps(data, multiline_strings=multiline)
    assert set(lines_of(text)) == set(paths(tomllib.loads(text)))


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("[a.b]\nx = 1\n[a]\n", ("a",), 3),
        ("[a.b]\nx = 1\n", ("a",), 1),
        ("\na.b.c = 1\na.b.d = 2\n", ("a", "b"), 2),
        ("\na.b.c = 1\na.b.d = 2\n", ("a", "b", "d"), 3),
        ("[[a]]\n[[a]]\n[[a.b]]\n[[a.b]]\nx = 1\n", ("a", 1, "b", 1, "x"), 5),
        ("[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 1\n", ("a", 1, "b", "x"), 6),
        ("a = { b = [ 1,\n 2 ], c = 3 }", ("a", "c"), 2),
        ("a = [\n  # two\n  {x = 1},\n  {x = 1},\n]", ("a", 1, "x"), 4),
        ("a = '''\n\n'''\nb = 1", ("b",), 4),
        ('"a\\u002eb"."c d" = 1', ("a.b", "c d"), 1),
    ],
)
def test_awkward_documents(text: str, path: KeyPath, line: int) -> None:
    assert lines_of(text)[path] == line
