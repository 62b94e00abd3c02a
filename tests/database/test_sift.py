"""What the filter of a plain dump lets through, and what it leaves out."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biso_tasks.database.sift import FOLDING, SIFT, left_behind

HEAD = b"--\n-- Name: %s; Type: X; Schema: -; Owner: -\n--\n\n"
RULES = ("CREATE EVENT TRIGGER ", "CREATE USER MAPPING ", "SET transaction_timeout ")


def sift(text: bytes) -> tuple[int, bytes, bytes]:
    """By perl, and by sed: both give the same."""
    line = f'{FOLDING}\nfold | awk "$@"'
    words = ["bash", "-o", "pipefail", "-c", line, "x", SIFT, *RULES]
    found = []
    for path in ("/usr/bin:/bin", str(without_perl())):
        env = {"LC_ALL": "C", "PATH": path, "PERL_UNICODE": "SDA"}
        done = subprocess.run(
            words, input=text, capture_output=True, check=False, timeout=30, env=env
        )
        found.append((done.returncode, done.stdout, done.stderr))
    assert found[0] == found[1]
    return found[0]


@functools.cache
def without_perl() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="biso-sed-"))
    atexit.register(shutil.rmtree, folder)
    for name in ("bash", "sed", "awk"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def test_perl_and_sed_cut_alike() -> None:
    """What the filter rests on: a line of just the width is followed by an empty one."""
    text = b"".join(b"\xe4" * n + b"\n" for n in (0, 1, 999, 1000, 1001, 2000, 2500)) + b"y" * 1000
    for path in ("/usr/bin:/bin", str(without_perl())):
        done = subprocess.run(
            ["bash", "-c", f"{FOLDING}\nfold"], input=text, capture_output=True, check=True,
            env={"LC_ALL": "C", "PATH": path},
        )  # fmt: skip
        lines = done.stdout.split(b"\n")
        assert [len(line) for line in lines[:3]] == [0, 1, 999]
        assert max(map(len, lines)) == 1000
        assert b"".join(lines) == text.replace(b"\n", b"")
        wanted = [1000, 0, 1000, 1, 1000, 1000, 0, 1000, 1000, 500, 1000, 0]
        assert [len(line) for line in lines[3:]] == wanted


_PIECES = (
    b"x",
    b"\\\\.",
    b"'",
    b"$$",
    b"--",
    b"CREATE EVENT TRIGGER a",
    b"\xff",
    b"y" * 999,
    b"\x01",
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from(_PIECES), max_size=4).map(b"".join), max_size=6))
def test_rows_pass_as_they_are_whatever_they_look_like(rows: list[bytes]) -> None:
    lines = b"".join(row + b"\n" for row in [*rows, b"z" * 1000, b"z" * 2000, b"z" * 1001, b""])
    after = HEAD % b"after" + b"CREATE TABLE t (a int);\n"
    text = HEAD % b"t" + b"COPY public.t (a) FROM stdin;\n" + lines + b"\\.\n\n\n" + after
    assert sift(text) == (0, text, b"")


@pytest.mark.parametrize("width", [900, 990, 1000, 1040, 1100, 2000])
def test_a_statement_longer_than_a_line_of_the_filter_is_one(width: int) -> None:
    body = b"$" + b"t" * width + b"$\n\\.\nCREATE EVENT TRIGGER a\n$" + b"t" * width + b"$;\n"
    text = HEAD % b"f" + b"CREATE FUNCTION f() AS " + body
    text += HEAD % b"t" + b"COPY t (" + b"c" * width + b") FROM stdin;\n'\n\\.\n" + HEAD % b"u"
    assert sift(text) == (0, text, b"")


def test_what_is_left_out_takes_its_whole_entry_and_no_setting_with_it() -> None:
    code, out, said = sift(
        b"SET transaction_timeout = 0;\nSET xmloption = content;\n\n"
        b'DROP TABLE IF EXISTS public."a\n-- \';\n";\nDROP VIEW IF EXISTS v;\n'
        + HEAD % b"e"
        + b"CREATE EVENT TRIGGER e ON x\n   EXECUTE FUNCTION f();\n\n"
        + b"ALTER EVENT TRIGGER e DISABLE;\n\nSET default_table_access_method = heap;\n\n"
        + HEAD % b"m"
        + b"CREATE USER MAPPING FOR a SERVER s OPTIONS (\n    password 'geheim'\n);\n"
        + HEAD % b"t"
        + b"CREATE TABLE t ();\n"
    )
    kept = [line for line in out.split(b"\n") if line and not line.startswith(b"--")]
    assert code == 0
    assert kept == [
        b"SET xmloption = content;",
        b"SET default_table_access_method = heap;",
        b"CREATE TABLE t ();",
    ]
    assert left_behind(said) == [
        "left behind: EVENT TRIGGER e",
        "left behind: USER MAPPING FOR a SERVER s",
    ]


def test_a_row_of_many_megabytes_does_not_take_many_minutes() -> None:
    """mawk alone would need more than the 30 s of `sift`."""
    text = HEAD % b"t" + b"COPY t (a) FROM stdin;\n" + b"y" * 80_000_000 + b"\n\\.\n"
    assert sift(text) == (0, text, b"")
