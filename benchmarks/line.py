"""A line to a far machine: whatever goes through it arrives late, no faster than its rate, and is
counted. In user space, so that it needs neither root nor a kernel with netem.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Final

__all__ = ["Line"]

_PIECE: Final = 16 << 10
_BUFFER: Final = 256 << 10  # what may be under way one way: a window, as a real line has


class Line:
    """While inside, `port` of 127.0.0.1 leads to another port there: `delay` seconds one way,
    `rate` bytes a second each way for all connections together (0: none). `bytes` counts both
    ways."""

    def __init__(self, port: int, *, delay: float = 0.0, rate: float = 0.0) -> None:
        self._goal = port
        self._delay = delay
        self._ways = (_Way(rate), _Way(rate))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []
        self._over = False

    @property
    def port(self) -> int:
        number: int = self._server.getsockname()[1]
        return number

    @property
    def bytes(self) -> int:
        return sum(way.bytes for way in self._ways)

    def __enter__(self) -> Line:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        for one in (self._server, *self._lines):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while not self._over:
                near, _ = self._server.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._goal), 10)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._lines += [near, far]
                _Pipe(near, far, self._ways[0], self._delay).start()
                _Pipe(far, near, self._ways[1], self._delay).start()


class _Way:
    """One direction of the line, shared by all connections."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.bytes = 0
        self._free = 0.0
        self._lock = threading.Lock()

    def sent(self, count: int) -> float:
        """When that many bytes have left, if they begin as soon as the line is free."""
        with self._lock:
            self.bytes += count
            begin = max(time.monotonic(), self._free)
            self._free = begin + (count / self.rate if self.rate else 0.0)
            return self._free


class _Pipe:
    """Bytes from one socket to the other, each piece no earlier than its time."""

    def __init__(self, near: socket.socket, far: socket.socket, way: _Way, delay: float) -> None:
        self._near, self._far, self._way, self._delay = near, far, way, delay
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._changed = threading.Condition()

    def start(self) -> None:
        for work in (self._take, self._give):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        data = b"x"
        while data:
            try:
                data = self._near.recv(_PIECE)
            except OSError:
                data = b""
            arrives = (self._way.sent(len(data)) if data else time.monotonic()) + self._delay
            with self._changed:
                self._under_way.append((arrives, data))
                self._held += len(data)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._held < _BUFFER)

    def _give(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._under_way))
                arrives, data = self._under_way.popleft()
            time.sleep(max(0.0, arrives - time.monotonic()))
            try:
                if data:
                    self._far.sendall(data)
                else:
                    self._far.shutdown(socket.SHUT_WR)
            except OSError:
                # the far end is gone: the near one learns it, as from a reset
                with suppress(OSError):
                    self._near.shutdown(socket.SHUT_RDWR)
            with self._changed:
                self._held -= len(data)
                self._changed.notify_all()
            if not data:
                return
