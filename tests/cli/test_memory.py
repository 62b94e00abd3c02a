"""What a process of ours leaves when it dies."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, os, resource, subprocess
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
from biso_tasks.cli.memory import leave_no_core
leave_no_core()
leave_no_core()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(subprocess.run(["sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_neither_it_nor_its_children_leave_a_core_dump() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True)
    assert done.stdout.split() == [b"0", b"0", b"0"]
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
