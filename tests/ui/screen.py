"""A terminal of a fixed size in which a program is run, and its screen as a page: for the pictures
in docs/."""

from __future__ import annotations

import html
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fcntl import ioctl
from itertools import groupby
from pathlib import Path

import pyte

__all__ = ["Recording", "page", "record"]

# Named colours as a terminal of today draws them, on the page's own ground.
_COLOURS = {
    "light": {"green": "#1a7f37", "red": "#cf222e", "brown": "#9a6700", "cyan": "#1b7c83",
              "magenta": "#8250df", "blue": "#0969da", "default": "#1f2328", "ground": "#ffffff",
              "dim": "#59636e", "frame": "#d1d9e0"},
    "dark": {"green": "#3fb950", "red": "#ff7b72", "brown": "#d29922", "cyan": "#39c5cf",
             "magenta": "#d2a8ff", "blue": "#79c0ff", "default": "#e6edf3", "ground": "#0d1117",
             "dim": "#9198a1", "frame": "#30363d"},
}  # fmt: skip


class _Screen(pyte.Screen):
    """Knows dim text, which pyte leaves out: it is drawn in a colour of its own."""

    def select_graphic_rendition(self, *codes: int) -> None:
        super().select_graphic_rendition(*codes)
        if 2 in codes:
            self.cursor.attrs = self.cursor.attrs._replace(fg="dim")


class Recording:
    """What a program printed, in pieces, with the seconds since its start."""

    def __init__(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)
        self.pieces: list[tuple[float, bytes]] = []

    def screens(self) -> Iterator[tuple[float, _Screen]]:
        """The screen after each piece: always the same one, as it is then."""
        screen = _Screen(*self.size)
        screen.set_mode(pyte.modes.LNM)
        stream = pyte.ByteStream(screen)
        for at, piece in self.pieces:
            stream.feed(piece)
            yield at, screen

    def until(self, fits: Callable[[list[str]], bool]) -> _Screen:
        """The screen at the first moment when its lines fit. Raises LookupError."""
        for _, screen in self.screens():
            if fits([line.rstrip() for line in screen.display]):
                return screen
        raise LookupError("it was never on the screen")

    def last(self) -> _Screen:
        *_, (_, screen) = self.screens()
        return screen


def record(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], columns: int, rows: int
) -> Recording:
    """Run `words` in a terminal of that size, to its end. Raises CalledProcessError."""
    found = Recording(columns, rows)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    began = time.monotonic()
    with subprocess.Popen(
        list(words), cwd=cwd, env={**env, "TERM": "xterm-256color"}, stdin=subprocess.DEVNULL,
        stdout=theirs, stderr=theirs, start_new_session=True,
    ) as run:  # fmt: skip
        os.close(theirs)
        try:
            while piece := os.read(ours, 65536):
                found.pieces.append((time.monotonic() - began, piece))
        except OSError:  # what Linux says of a terminal that nobody holds any more
            pass
        finally:
            os.close(ours)
    if run.returncode != 0:
        said = b"".join(piece for _, piece in found.pieces)
        raise subprocess.CalledProcessError(run.returncode, list(words), said)
    return found


def page(screen: pyte.Screen, title: str, scheme: str) -> str:
    """The screen as HTML: as wide as the terminal, as high as what stands on it."""
    colours = _COLOURS[scheme]
    lines = [line.rstrip() for line in screen.display]
    used = max((n + 1 for n, line in enumerate(lines) if line), default=1)
    body = "\n".join(_row(screen, row, colours) for row in range(used))
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title><style>'
        f"body{{margin:0;background:{colours['ground']};color:{colours['default']}}}"
        "figure{margin:12px;display:inline-block;border:1px solid "
        f"{colours['frame']};border-radius:8px}}"
        f"figcaption{{font:13px sans-serif;color:{colours['dim']};padding:6px 12px;"
        f"border-bottom:1px solid {colours['frame']}}}"
        "pre{margin:0;padding:10px 12px;font:13px/1.35 'DejaVu Sans Mono',monospace}</style>"
        f"<figure><figcaption>{html.escape(title)}</figcaption><pre>{body}</pre></figure>"
    )


def _row(screen: pyte.Screen, row: int, colours: Mapping[str, str]) -> str:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    while cells and cells[-1].data == " ":
        cells.pop()
    text = ""
    for style, run in groupby(cells, lambda cell: (cell.fg, cell.bold)):
        said = html.escape("".join(cell.data for cell in run))
        colour, bold = style
        css = f"color:{colours.get(colour, '#' + colour)}" if colour != "default" else ""
        css += ";font-weight:600" if bold else ""
        text += f'<span style="{css}">{said}</span>' if css else said
    return text
