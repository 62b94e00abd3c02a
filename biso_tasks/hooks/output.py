"""Keeps what plugins print off stdout: there, `--json` promises one document and nothing else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast, final

__all__ = ["Diversion"]


@final
class Diversion:
    """While a thread is `inside()`, what it prints goes to stderr; other threads print as before.

    `contextlib.redirect_stdout` would not do: it changes sys.stdout for all threads, and two that
    overlap leave it changed for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._proxy: _Proxy | None = None

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._proxy = _Proxy(sys.stdout)
                sys.stdout = cast("TextIO", self._proxy)
            self._users += 1
            proxy = self._proxy
        assert proxy is not None
        before = getattr(proxy.local, "diverted", False)
        proxy.local.diverted = True
        try:
            yield
        finally:
            proxy.local.diverted = before
            with self._lock:
                self._users -= 1
                # Somebody else may have put a stdout of their own there meanwhile.
                if self._users == 0 and sys.stdout is cast("TextIO", proxy):
                    sys.stdout = proxy.plain


class _Proxy:
    def __init__(self, plain: TextIO) -> None:
        self.plain = plain
        self.local = threading.local()

    def _now(self) -> TextIO:
        return sys.stderr if getattr(self.local, "diverted", False) else self.plain

    def write(self, text: str) -> int:
        return self._now().write(text)

    def flush(self) -> None:
        self._now().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)
