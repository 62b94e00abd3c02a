"""Where a command's output goes: with --json one document on stdout and nothing else there,
whatever a plugin or a child process prints; all else on stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

__all__ = ["Output"]


class Output:
    """Made first of all: with `as_json`, descriptor 1 points at stderr from then on, for child
    processes and C libraries too."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._real: int | None = None
        if as_json:
            sys.stdout.flush()
            self._real = os.dup(1)
            os.dup2(2, 1)

    def text(self, text: str) -> None:
        """What the command is for: on stdout, unless --json was asked for."""
        stream = sys.stderr if self.as_json else sys.stdout
        stream.write(text if text.endswith("\n") else text + "\n")
        stream.flush()

    def document(self, document: dict[str, Any]) -> None:
        """The one JSON document; stdout is as before afterwards. Without --json nothing."""
        if self._real is None:
            return
        data = (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode("ascii")
        sys.stdout.flush()
        os.dup2(self._real, 1)
        os.close(self._real)
        self._real = None
        while data:
            data = data[os.write(1, data) :]
