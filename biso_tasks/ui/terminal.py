"""What may be written where: coloured lines, streams that went away or know few characters, and
whether a stream is a terminal that can redraw."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TextIO, final

__all__ = ["Line", "Stream", "Style", "can_colour", "can_redraw", "join", "line"]

Style = Literal["", "good", "bad", "warn", "dim", "strong"]
Line = tuple[tuple[str, Style], ...]

# Colours of the terminal's own palette, so that they fit a light and a dark one.
_SGR: Final[Mapping[Style, str]] = {
    "good": "32",
    "bad": "1;31",
    "warn": "33",
    "dim": "2",
    "strong": "1",
}
_ASCII: Final = str.maketrans(
    {"├": "|", "│": "|", "└": "`", "─": "-", "━": "-", "→": ">", "…": "...", "·": "-", "–": "-"}
)


def line(*parts: str | tuple[str, Style]) -> Line:
    """Parts with or without a style as one line."""
    return tuple((part, "") if isinstance(part, str) else part for part in parts)


def join(lines: Iterable[Line], *, colour: bool) -> str:
    """The lines as text, each with its newline. Without colours the text is the same, less the
    escape sequences; blanks at the end of a line are left out."""
    return "".join(_joined(one, colour) + "\n" for one in lines)


def can_redraw(stream: TextIO, env: Mapping[str, str] | None = None) -> bool:
    """Whether this is a terminal on which lines can be drawn over."""
    env = os.environ if env is None else env
    return _isatty(stream) and env.get("TERM", "") not in ("", "dumb", "unknown")


def can_colour(stream: TextIO, env: Mapping[str, str] | None = None) -> bool:
    """Whether colours are wanted: a terminal that has them, and NO_COLOR not set."""
    env = os.environ if env is None else env
    return can_redraw(stream, env) and not env.get("NO_COLOR")


@final
class Stream(io.TextIOBase):
    """A text stream that never raises. A terminal that was closed and a pipe nobody reads must not
    become the failure of a run, nor a locale without "→" one of its lines."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._target, "encoding", None) or "utf-8"

    @property
    def gone(self) -> bool:
        """Whether what was written last did not arrive any more."""
        return self._gone

    def isatty(self) -> bool:
        return _isatty(self._target)

    def fileno(self) -> int:
        return self._target.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._try(lambda: self._target.write(self._fitting(text)))
        return len(text)

    def flush(self) -> None:
        self._try(self._target.flush)

    def put(self, lines: Iterable[Line], *, colour: bool = False) -> None:
        """Write the lines in one piece."""
        self.write(join(lines, colour=colour))
        self.flush()

    def _fitting(self, text: str) -> str:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            simple = text.translate(_ASCII)
            return simple.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return text

    def _try(self, call: Any) -> None:
        if self._gone:
            return
        try:
            call()
        except (OSError, ValueError):  # ValueError: the file was closed
            self._gone = True


def _joined(one: Line, colour: bool) -> str:
    parts = [(text, style) for text, style in one if text]
    while parts and not parts[-1][0].rstrip(" "):
        parts.pop()
    if parts:
        parts[-1] = (parts[-1][0].rstrip(" "), parts[-1][1])
    if not colour:
        return "".join(text for text, _ in parts)
    return "".join(f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style else text for text, style in parts)


def _isatty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False
