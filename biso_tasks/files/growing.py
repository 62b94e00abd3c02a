"""How large what a host writes has become, while it is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from biso_tasks.errors import BisoError
from biso_tasks.host.command import Command
from biso_tasks.host.protocol import Host

__all__ = ["growing"]

_EVERY: Final = 1.0  # seconds
_PATIENCE: Final = 2.0  # seconds for an answer behind a link that was cut


@contextmanager
def growing(host: Host, path: str, progress: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, tells `progress` each second how many bytes lie in the file or folder
    `path`, as the login. That nobody can look is no failure: then nothing is told."""
    over = threading.Event()

    def look() -> None:
        with suppress(BisoError):
            while not over.wait(_EVERY):
                said = host.run(Command(("du", "-sb", "--", path)), ok=None).text.split()
                # It grows while it is read: a file that went meanwhile is no reason to stop.
                if said and said[0].isdigit():
                    progress(int(said[0]))

    thread = threading.Thread(target=look, name="biso-growing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_PATIENCE)
