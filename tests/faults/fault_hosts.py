"""What befalls the hosts of a fault world while a run goes on, and how it is right again: a
PostgreSQL that restarts, a role that may not log in, a host that starts again, a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from biso_tasks.demo import site
from biso_tasks.demo.process import Running, descendants
from biso_tasks.demo.site import DemoSite, Instance
from biso_tasks.demo.sshd import load_servers

if TYPE_CHECKING:
    from fault_world import World

_ROOM = "600m"


def act(world: World, what: str, spec: Mapping[str, Any]) -> None:
    """What the program of a run asks for and cannot do itself."""
    instance: Instance = getattr(world.site, spec["at"])
    if what == "restart":
        os.kill(spec["postmaster"], signal.SIGQUIT if spec.get("crash") else signal.SIGINT)
        world.restart_database(spec["at"])
    elif what == "rights":
        _let_in(instance, spec, "NOLOGIN")
    elif what == "reboot":
        _reboot(world, instance, spec)


def _reboot(world: World, instance: Instance, spec: Mapping[str, Any]) -> None:
    """Nothing that ran on the host does any more, whatever it had detached itself from, and what
    was in its memory is gone; it is back after a moment."""
    servers = load_servers(world.site.home / "ssh")
    server = next(one for one in servers if one.alias == instance.ssh)
    os.kill(server.process.pid, signal.SIGSTOP)
    mark = re.compile(rb"SSH_CONNECTION=[^\0]* %d\0" % server.port)
    for _ in range(3):  # one may just be starting another
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark.search((entry / "environ").read_bytes()):
                    os.kill(int(entry.name), signal.SIGKILL)
        for one in descendants(Running(server.process.pid, "")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
    os.kill(spec["postmaster"], signal.SIGQUIT)
    for file in world.in_memory(instance):
        file.unlink(missing_ok=True)
    world.restart_database(instance.name)
    os.kill(server.process.pid, signal.SIGCONT)


def heal(world: World, spec: Mapping[str, Any]) -> None:
    """The link, the clock, the rights, the room and PostgreSQL are right again, and what hung goes
    on, with nobody there any more."""
    act = spec.get("act")
    stopped = Path(spec["stopped"])
    for pid in json.loads(stopped.read_text("utf-8")) if stopped.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    if act in ("silent", "stall"):
        for pid in spec["sshd"]:
            for one in [*descendants(Running(pid, "")), Running(pid, "")]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGCONT)
    elif act == "clock":
        Path(spec["clock"]).unlink(missing_ok=True)
    elif act == "full":
        Path(spec["fill"]).unlink(missing_ok=True)
    for name in ("prod", "test"):
        if not getattr(world.site, name).cluster.running():
            world.restart_database(name)
    if act == "rights":
        _let_in(getattr(world.site, spec["at"]), spec, "LOGIN")


def _let_in(instance: Instance, spec: Mapping[str, Any], how: str) -> None:
    """`role` of a fault is another one than the instance's, which need not be there yet."""
    role = spec.get("role", instance.user)
    instance.cluster.psql(
        f"DO $$BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') "
        f"THEN ALTER ROLE {role} {how}; END IF; END$$"
    )


def disk(world: World, at: str) -> Path:
    """The root of the filesystem that is a host's own, or the laptop's: see `own_disks`."""
    place = world.folder / "here-local" if at == "here" else world.site.home / at
    if not os.path.ismount(place):
        pytest.skip("a tmpfs cannot be mounted here (sudo ./biso test)")
    return place


def own_disks(folder: Path, demo: DemoSite) -> DemoSite:
    """Gives either host's files, and those of this machine's runs, a small filesystem of their own,
    where a tmpfs can be mounted; elsewhere all is as it was."""
    here = folder / "here-local"
    here.mkdir()
    if not _mounted(here):
        return demo
    demo.stop()
    for instance in (demo.prod, demo.test):
        place = demo.home / instance.name
        aside = place.with_name(f"{instance.name}.aside")
        place.rename(aside)
        place.mkdir()
        if not _mounted(place):
            raise RuntimeError(f"the second tmpfs could not be mounted on {place}")
        subprocess.run(["cp", "-a", f"{aside}/.", str(place)], check=True)
        shutil.rmtree(aside)
    return site.build(folder, ssh=True, scale=0.02)


def date_of_its_own(folder: Path) -> None:
    """What `date` says on either host is an hour behind while the clock is set back."""
    date = folder / "fake" / "date"
    real = shutil.which("date")
    date.write_text(
        f'#!/bin/sh\n[ ! -e "{folder}/clock" ] || set -- --date "1 hour ago" "$@"\n'
        f'exec {real} "$@"\n',
        "utf-8",
    )
    date.chmod(0o755)


def take_disks(folder: Path) -> None:
    """Unmounts what `own_disks` mounted; what was in it is gone."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", place], check=True)


def _mounted(place: Path) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM},mode=755", "none", str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
