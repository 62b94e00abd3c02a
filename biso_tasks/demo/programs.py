"""The demo's own `bin` folder: small wrappers that put PHP and PostgreSQL's client on the PATH."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

__all__ = ["CLIENT", "write_wrappers"]

CLIENT = ("psql", "pg_dump", "pg_restore", "pg_dumpall", "createdb", "dropdb", "pg_isready")

_WRAPPER = """\
#!/bin/sh
# made by ./biso demo
PATH={bin}:${{PATH:-/usr/bin:/bin}}
export PATH
exec {program} "$@"
"""


def write_wrappers(bin_dir: Path, programs: Mapping[str, Path]) -> None:
    """Write `bin_dir/NAME` for each program. A wrapper puts `bin_dir` first on the PATH, so that
    PHP finds psql wherever it was started from."""
    bin_dir.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        text = _WRAPPER.format(bin=shlex.quote(str(bin_dir)), program=shlex.quote(str(program)))
        fresh = bin_dir / f".{name}"
        fresh.write_text(text, "utf-8")
        fresh.chmod(0o755)
        fresh.replace(bin_dir / name)
