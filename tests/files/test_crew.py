"""What a process of a transfer says: its progress, and its reasons, also in one line."""

from __future__ import annotations

import os

import pytest

from biso_tasks.files.crew import Messages

PROGRESS = b"\r         32,768  10%    0.00kB/s    0:00:00  "
LAST = b"\r        303,000 100%  257.71MB/s    0:00:00 (xfr#2, to-chk=0/3)"


@pytest.mark.parametrize(
    ("end", "sent"),
    [(PROGRESS, 32768), (LAST, 303000), (b"\r  5 100%  1.00kB/s   ??:??:??", 5)],
)
def test_what_rsync_says_behind_its_progress_is_not_lost(end: bytes, sent: int) -> None:
    seen: list[int] = []
    why = b'rsync: [receiver] write failed on "/m/a": No space left on device (28)'
    reading, writing = os.pipe()
    messages = Messages(os.fdopen(reading, "rb", buffering=0), seen.append)
    os.write(writing, PROGRESS + end + why + b"\nrsync error: error in file IO (code 11)\n\n")
    os.close(writing)
    assert messages.lines() == [why.decode(), "rsync error: error in file IO (code 11)"]
    assert seen == [sent], "of what came at once, the newest alone"
