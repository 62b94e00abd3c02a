"""Where a command's output goes: with --json one document on stdout and nothing else there,
whatever a plugin or a child process prints; all else on stderr.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from biso_tasks.ui.terminal import Stream

__all__ = ["Output", "say", "stdout_aside"]


def say(text: str) -> None:
    """A line for the person, on stderr."""
    stream = Stream(sys.stderr)
    stream.write(text.rstrip("\n") + "\n")
    stream.flush()


@contextmanager
def stdout_aside() -> Iterator[None]:
    """Descriptor 1 points at stderr while inside, for foreign code that runs before a command and
    its --json are known: it may print by ways that Python's own stdout does not see."""
    real = _divert()
    try:
        yield
    finally:
        _restore(real)


class Output:
    """Made first of all: with `as_json`, descriptor 1 points at stderr from then on, for child
    processes and C libraries too."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._real = _divert() if as_json else None
        atexit.register(_flush)

    def text(self, text: str) -> None:
        """What the command is for: on stdout, unless --json was asked for. A reader that went away
        (`| head`) ends nothing."""
        stream = Stream(sys.stderr if self.as_json else sys.stdout)
        stream.write(text if text.endswith("\n") else text + "\n")
        stream.flush()
        if stream.gone and not self.as_json:
            _forget_reader()

    def document(self, document: dict[str, Any]) -> None:
        """The one JSON document; stdout is as before afterwards. Without --json nothing."""
        if self._real is None:
            return
        data = (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode("ascii")
        _restore(self._real)
        self._real = None
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(1, data) :]
        # What a plugin or a C library still has to say at the very end comes after the document.
        atexit.register(os.dup2, 2, 1)


def _divert() -> int:
    """A copy of what descriptor 1 was."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    return real


def _restore(real: int) -> None:
    sys.stdout.flush()
    os.dup2(real, 1)
    os.close(real)


def _flush() -> None:
    """Whatever was printed by whomever: a reader that went away ends nothing."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_reader()


def _forget_reader() -> None:
    """What Python still holds for stdout would fail at its very end, as exit code 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
