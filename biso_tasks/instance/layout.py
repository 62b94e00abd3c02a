"""Where everything of an instance is on its host: the real paths of what is live, and the stage
directory beside it with all that a run keeps there.

    <stage_dir>/            0700, outside every document root, on the filesystem of what it replaces
        stage/              the stage: webroot/ and data/
        previous/           the data dir (and webroot) that served before the last swap
        in-place/           what the in-place strategy needs to put things back
        lock owner intent.json instance.json
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused
from biso_tasks.host.answer import fields
from biso_tasks.host.command import script
from biso_tasks.host.protocol import Host

__all__ = ["Layout", "inside", "read_layout", "require_live"]

_PROBE = r"""
cd / # the login's home may be closed to this user
for path in "$1" "$2"; do
  # -m: in the middle of a swap that was killed, the live path is not there for a moment.
  real=$(realpath -m -z -- "$path" | tr -d '\0' && printf x); real=${real%x}
  id='' mount=0
  if [ -d "$real" ]; then
    id=$(stat -c %d:%i -- "$real")
    # st_dev does not see a bind mount of the same filesystem.
    if mountpoint -q -- "$real" || [ "$(stat -c %d "$real")" != "$(stat -c %d "$real/..")" ]; then
      mount=1
    fi
  fi
  above=''; up=$real
  while [ "$up" != / ] && [ -n "$id" ]; do
    up=$(dirname -- "$up"); above="$above $(stat -c %d:%i -- "$up")"
  done
  printf '%s\0%s\0%s\0%s\0' "$real" "$id" "$mount" "$above"
done
cat /proc/sys/kernel/random/boot_id 2>/dev/null || hostname
printf '\0%s\0' "$(id -un)"
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Real paths on the host. Identities are "device:inode", `above` those of all folders that the
    two lie in; `machine` is the host's boot id, which tells one running machine from another even
    where one was cloned from the other."""

    webroot: str
    webroot_id: str
    datadir: str
    datadir_id: str
    datadir_is_mount: bool
    above: frozenset[str]
    machine: str
    user: str
    stage_dir: str

    @property
    def stage(self) -> str:
        return f"{self.stage_dir}/stage"

    @property
    def stage_webroot(self) -> str:
        return f"{self.stage}/webroot"

    @property
    def stage_datadir(self) -> str:
        return f"{self.stage}/data"

    @property
    def previous(self) -> str:
        return f"{self.stage_dir}/previous"

    @property
    def previous_datadir(self) -> str:
        return f"{self.previous}/data"

    @property
    def in_place(self) -> str:
        return f"{self.stage_dir}/in-place"

    @property
    def datadir_in_webroot(self) -> str:
        """The data dir's path below the webroot, or "" where it lies outside."""
        return inside(self.datadir, self.webroot)


def inside(path: str, folder: str) -> str:
    """`path` relative to `folder` where it lies strictly inside, else ""."""
    prefix = folder.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else ""


def read_layout(host: Host, environment: Environment, datadir: str) -> Layout:
    """Look at the live paths, as the application's user. A path that is not there has the
    identity "". Raises Refused where the stage directory would be reachable by the web server."""
    probe = script(_PROBE, environment.webroot, datadir).as_user(environment.host_user)
    found = fields(host.name, "the webroot and the data dir", host.run(probe).out, 10)
    webroot, webroot_id, _, webroot_above, real, datadir_id, mount, above, machine, user = found
    machine = machine.strip()
    is_mount = mount == "1"
    stage_dir = environment.stage_dir or _default_stage_dir(webroot, real, is_mount)
    if not is_mount or environment.stage_dir:
        _refuse_served(environment, stage_dir, webroot)
    return Layout(
        webroot=webroot,
        webroot_id=webroot_id,
        datadir=real,
        datadir_id=datadir_id,
        datadir_is_mount=is_mount,
        above=frozenset(webroot_above.split() + above.split()),
        machine=machine,
        user=user,
        stage_dir=stage_dir.rstrip("/"),
    )


def require_live(layout: Layout, environment: Environment) -> None:
    """Raises Refused where webroot or data dir is not there: nothing can be read or replaced."""
    for what, path, identity in (
        ("webroot", layout.webroot, layout.webroot_id),
        ("data dir", layout.datadir, layout.datadir_id),
    ):
        if not identity:
            raise Refused(
                f"{environment.name}: the {what} {path} is not there, or {layout.user} may not "
                "enter it",
                hint=f"check environments.{environment.name} in biso.toml and its config.php; a "
                "disk that is not mounted? an interrupted swap (then: biso recover)? One that is "
                "gone comes back from a set: biso restore",
            )


def _default_stage_dir(webroot: str, datadir: str, is_mount: bool) -> str:
    """Beside what is replaced: a rename cannot leave the filesystem. A data dir that is a mount
    point is exchanged entry by entry, inside the mount."""
    if is_mount:
        return f"{datadir}/.biso-tasks"
    beside = webroot if inside(datadir, webroot) else datadir
    return f"{posixpath.dirname(beside)}/.biso-tasks-{posixpath.basename(beside)}"


def _refuse_served(environment: Environment, stage_dir: str, webroot: str) -> None:
    if stage_dir.rstrip("/") == webroot or inside(stage_dir, webroot):
        raise Refused(
            f"{environment.name}: the stage directory {stage_dir} lies in the webroot, so that the "
            "web server would serve data that is not anonymised yet",
            hint=f"set environments.{environment.name}.stage_dir to a directory on the same "
            "filesystem, outside every document root",
        )
