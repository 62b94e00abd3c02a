"""Paths inside and outside of a Docker compose service: what the host calls /srv/biso/data, PHP in
its container may call /data. Outside of compose both are the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused
from biso_tasks.host.answer import answered, fields
from biso_tasks.host.command import Command, script
from biso_tasks.host.protocol import Host
from biso_tasks.instance.app import compose, running_containers
from biso_tasks.instance.layout import Layout

__all__ = [
    "Mount",
    "inside_paths",
    "read_mounts",
    "real_path",
    "require_fresh_binds",
    "to_host",
    "to_inside",
]

Mount = tuple[str, str]
"""A path on the host, links resolved, and the one inside."""

_REAL = r"""while IFS= read -r -d '' path; do realpath -m -z -- "$path"; done"""


def read_mounts(host: Host, environment: Environment) -> tuple[Mount, ...]:
    """The bind mounts of the web service, longest inside path first; empty outside of compose.

    Raises Refused where a service that biso.toml names does not exist.
    """
    services = environment.services
    if services.kind != "compose":
        return ()
    known = _services(host, environment)
    for key, names in (
        ("web", (services.web,)),
        ("database", (services.database,) if services.database else ()),
        ("stop", services.stop),
    ):
        for name in names:
            if name not in known:
                raise Refused(
                    f"{environment.name}: there is no compose service {name!r} (there are: "
                    f"{', '.join(sorted(known)) or 'none'})",
                    hint=f"correct environments.{environment.name}.services.{key} in biso.toml",
                )
    if services.database in services.stop:
        raise Refused(
            f"{environment.name}: services.stop holds {services.database!r}, the database service, "
            "which a swap needs",
            hint=f"take it out of environments.{environment.name}.services.stop in biso.toml",
        )
    return _binds(host, known[services.web])


def real_path(host: Host, path: str) -> str:
    """`path` of the host with links resolved; what is missing is left as it is."""
    return _real_paths(host, [path])[0]


def require_fresh_binds(
    host: Host, environment: Environment, layout: Layout, *, webroot: bool = False
) -> None:
    """Raises Refused where a service that runs would go on with the old data dir after a swap; with
    `webroot`, with the old webroot.

    A container looks a bind mount's source up when it starts: where that is the data dir itself,
    or lies in it, one that is not stopped meanwhile keeps the old directory under its feet. One
    that mounts a folder above it sees the new one.
    """
    services = environment.services
    if services.kind != "compose":
        return
    known = _services(host, environment)
    left = sorted(running_containers(host, environment) - set(services.stop))
    exchanged = _below_webroot if webroot else _is_exchanged
    stale = [
        name
        for name in left
        if any(exchanged(at, layout) for at, _ in _binds(host, known.get(name, {})))
    ]
    if stale:
        path, what = (layout.webroot, "webroot") if webroot else (layout.datadir, "data dir")
        raise Refused(
            f"{environment.name}: the running service {', '.join(map(repr, stale))} mounts "
            f"{path} and is not among services.stop: it would go on with the old {what} after a "
            "swap",
            hint=f"add it to environments.{environment.name}.services.stop in biso.toml",
        )


def to_inside(path: str, mounts: Sequence[Mount], environment: Environment) -> str:
    """The path that PHP sees for the real `path` of the host; raises Refused where it is not
    mounted."""
    best = max(
        (mount for mount in mounts if _below(path, mount[0])),
        key=lambda mount: len(mount[0]),
        default=None,
    )
    return _mapped(path, best, environment, "the host", "the container")


def to_host(path: str, mounts: Sequence[Mount], environment: Environment) -> str:
    """The host's path for `path` inside; raises Refused where it is not a bind mount."""
    best = next(((inside, at) for at, inside in mounts if _below(path, inside)), None)
    return _mapped(path, best, environment, "the container", "the host")


def inside_paths(path: str, mounts: Sequence[Mount]) -> frozenset[str]:
    """Every path inside under which the real `path` of the host, or a part of it, is seen."""
    whole = {target + path[len(at) :] for at, target in mounts if _below(path, at)}
    return frozenset(whole | {target for at, target in mounts if _below(at, path)})


def _is_exchanged(at: str, layout: Layout) -> bool:
    """A data dir that is a mount point itself stays; its entries are exchanged."""
    return _below(at, layout.datadir) and not (layout.datadir_is_mount and at == layout.datadir)


def _below_webroot(at: str, layout: Layout) -> bool:
    return _below(at, layout.webroot)


def _services(host: Host, environment: Environment) -> dict[str, Mapping[str, Any]]:
    command = Command(compose(environment, "config", "--format", "json"))
    out = host.run(command.as_root(environment.sudo)).out
    with answered(host.name, "its compose services"):
        model = json.loads(out)
    found: dict[str, Mapping[str, Any]] = model.get("services") or {}
    return found


def _binds(host: Host, service: Mapping[str, Any]) -> tuple[Mount, ...]:
    binds = [
        (str(volume["source"]), str(volume["target"]).rstrip("/"))
        for volume in service.get("volumes") or []
        if volume.get("type") == "bind"
    ]
    real = _real_paths(host, [source for source, _ in binds])
    found = [(at, target) for at, (_, target) in zip(real, binds, strict=True)]
    return tuple(sorted(found, key=lambda bind: len(bind[1]), reverse=True))


def _real_paths(host: Host, paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    given = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
    said = host.run(script(_REAL), stdin=given).out
    return fields(host.name, "where paths lead to", said, len(paths))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _mapped(path: str, best: Mount | None, environment: Environment, here: str, there: str) -> str:
    if environment.services.kind != "compose":
        return path
    if best is None:
        raise Refused(
            f"{environment.name}: {path} on {here} is not bind-mounted, so it has no path on "
            f"{there}",
            hint=f"bind-mount it in the service {environment.services.web!r} (a named volume or a "
            "path inside the image cannot be staged)",
        )
    return best[1] + path[len(best[0]) :]
