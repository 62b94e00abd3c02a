from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable

import pytest

from biso_tasks.errors import ConfigError, Refused
from biso_tasks.ui import errors
from biso_tasks.ui.terminal import Stream, can_colour, can_redraw, join, line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return super().isatty() or True  # a closed one raises, as a real one does


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("env", "redraw", "colour"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
    ],
)
def test_term_and_no_color_are_respected(env: dict[str, str], redraw: bool, colour: bool) -> None:
    assert (can_redraw(Terminal(), env), can_colour(Terminal(), env)) == (redraw, colour)


def test_a_file_and_a_closed_stream_are_no_terminals() -> None:
    closed = Terminal()
    closed.close()
    assert not can_redraw(io.StringIO(), {"TERM": "xterm"})
    assert not can_redraw(closed, {"TERM": "xterm"})


def test_colours_add_escape_sequences_and_nothing_else() -> None:
    lines = [line("a ", ("b", "bad"), "  "), line()]
    assert join(lines, colour=False) == "a b\n\n"
    assert join(lines, colour=True) == "a \x1b[1;31mb\x1b[0m\n\n"


def test_a_pipe_that_nobody_reads_any_more_is_no_failure() -> None:
    with pytest.raises(BrokenPipeError):
        Gone().write("x")
    Stream(Gone()).put([line("x")])


def test_a_terminal_that_was_closed_is_no_failure() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb", buffering=0) as raw:
        terminal = io.TextIOWrapper(raw, write_through=True)
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            terminal.write("x\n")
        stream = Stream(terminal)
        stream.put([line("x")])
        stream.put([line("x")])


def test_a_closed_file_is_no_failure() -> None:
    file = io.StringIO()
    file.close()
    Stream(file).put([line("x")])


def test_a_locale_without_arrows_gets_signs_that_it_has() -> None:
    raw = io.BytesIO()
    latin = io.TextIOWrapper(raw, encoding="latin-1", errors="strict")
    with pytest.raises(UnicodeEncodeError):
        latin.write("→")
    Stream(latin).put([line("  → Müller 表 ├─ …")])
    assert raw.getvalue() == "  > Müller \\u8868 |- ...\n".encode("latin-1")


def test_an_error_is_shown_with_its_hint_in_one_shape() -> None:
    out = io.StringIO()
    errors.show(Refused("test: env is PROD", hint="correct config.php\nor the role"), out)
    assert out.getvalue() == ("error: test: env is PROD\n  → correct config.php\n    or the role\n")


def test_an_error_of_several_lines_keeps_them_aligned() -> None:
    out = io.StringIO()
    errors.show(ConfigError("biso.toml:1: a\nbiso.toml:2: b"), out)
    assert out.getvalue() == "error: biso.toml:1: a\n       biso.toml:2: b\n"


def test_an_error_cannot_carry_sequences_to_the_terminal(
    hostile: str, without_colours: Callable[[str], str]
) -> None:
    out = Terminal()
    errors.show(Refused(hostile, hint=hostile), out, {"TERM": "xterm"})
    assert without_colours(out.getvalue()).replace("\n", "").isprintable()
    assert "owned" not in out.getvalue(), "a title for the terminal is no text"
    assert "\\u202e<script>" in out.getvalue()


def test_an_error_as_json_has_what_scripts_rely_on() -> None:
    assert errors.as_json(Refused("no", hint="so")) == {
        "kind": "refused",
        "message": "no",
        "hint": "so",
    }
