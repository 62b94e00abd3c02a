"""Paths inside and outside of a Docker compose service: what the host calls /srv/biso/data, PHP in
its container may call /data. Outside of compose both are the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused
from biso_tasks.host.command import Command
from biso_tasks.host.protocol import Host
from biso_tasks.instance.app import compose

__all__ = ["Mount", "read_mounts", "to_host", "to_inside"]

Mount = tuple[str, str]
"""A path on the host and the one inside."""


def read_mounts(host: Host, environment: Environment) -> tuple[Mount, ...]:
    """The bind mounts of the web service, longest inside path first; empty outside of compose.

    Raises Refused where the service does not exist.
    """
    services = environment.services
    if services.kind != "compose":
        return ()
    command = Command(compose(environment, "config", "--format", "json"))
    model = json.loads(host.run(command.as_root(environment.sudo)).out)
    service = model.get("services", {}).get(services.web)
    if service is None:
        known = ", ".join(sorted(model.get("services", {}))) or "none"
        raise Refused(
            f"{environment.name}: there is no compose service {services.web!r} (but: {known})",
            hint=f"correct environments.{environment.name}.services.web in biso.toml",
        )
    binds = [
        (str(volume["source"]).rstrip("/"), str(volume["target"]).rstrip("/"))
        for volume in service.get("volumes", [])
        if volume.get("type") == "bind"
    ]
    return tuple(sorted(binds, key=lambda bind: len(bind[1]), reverse=True))


def to_inside(path: str, mounts: Sequence[Mount], environment: Environment) -> str:
    """The path that PHP sees for `path` of the host; raises Refused where it is not mounted."""
    best = max(
        (mount for mount in mounts if _below(path, mount[0])),
        key=lambda mount: len(mount[0]),
        default=None,
    )
    return _mapped(path, best, mounts, environment, "the host", "the container")


def to_host(path: str, mounts: Sequence[Mount], environment: Environment) -> str:
    """The host's path for `path` inside; raises Refused where it is not a bind mount."""
    best = next(((inside, at) for at, inside in mounts if _below(path, inside)), None)
    return _mapped(path, best, mounts, environment, "the container", "the host")


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _mapped(
    path: str,
    best: Mount | None,
    mounts: Sequence[Mount],
    environment: Environment,
    here: str,
    there: str,
) -> str:
    if environment.services.kind != "compose":
        return path
    if best is None:
        raise Refused(
            f"{environment.name}: {path} on {here} is not bind-mounted: it has no path on {there}",
            hint=f"bind-mount it in the service {environment.services.web!r} (a named volume or a "
            "path inside the image cannot be staged)",
        )
    return best[1] + path[len(best[0]) :]
