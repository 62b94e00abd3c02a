"""The demo site: a production and a test instance of the stand-in BISO, each with a PostgreSQL
cluster and, where this machine has sshd, ssh and rsync, an SSH server of its own.

Everything lies in `.biso/demo` beside biso.toml; what had to go elsewhere is recorded there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from biso_tasks.demo import sshd, web
from biso_tasks.demo.instances import (
    ALIASES,
    NAMES,
    Instance,
    find_instance,
    raise_instance,
    write,
)
from biso_tasks.demo.php import install_php
from biso_tasks.demo.postgres import find_binaries, load_cluster
from biso_tasks.demo.process import DemoError
from biso_tasks.demo.programs import CLIENT, write_wrappers
from biso_tasks.errors import Locked, Refused

__all__ = ["ALIASES", "DemoSite", "Instance", "alone", "build", "clean", "home", "load", "stop"]

_MARKER = "MADE_BY_BISO_DEMO"
_STATE = "state.json"
_LOCAL = "biso.local.toml"
_LOCAL_MARK = "# made by ./biso demo; `./biso demo --clean` removes it"
_LOCAL_TEXT = f"""\
{_LOCAL_MARK}
# No SSH servers here, so both instances are on this machine.
[environments.prod]
ssh = ""

[environments.test]
ssh = ""
"""
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

Source = Literal["machine", "wheel", "any"]


@dataclass(frozen=True, slots=True)
class DemoSite:
    """A built site. `notes` are sentences for the person: what is missing here, what that means."""

    root: Path
    prod: Instance
    test: Instance
    ssh: bool
    notes: tuple[str, ...]

    @property
    def home(self) -> Path:
        return home(self.root)

    @property
    def bin_dir(self) -> Path:
        return self.home / "bin"

    def environ(self) -> dict[str, str]:
        """This process's environment with the demo's psql, pg_dump and php first on the PATH: what
        tasks need while both instances are local."""
        path = os.environ.get("PATH", _PATH)
        return {**os.environ, "PATH": f"{self.bin_dir}{os.pathsep}{path}"}

    def serve(self, instance: Instance) -> str:
        """The URL of the instance's web server, started where it does not run. Raises DemoError."""
        return web.serve(instance.php, instance.webroot, _web(self.home, instance.name))

    def stop(self) -> None:
        stop(self.root)

    def clean(self) -> None:
        clean(self.root)


def home(root: Path) -> Path:
    """Where the demo of the site in `root` lies, built or not."""
    return root.absolute() / ".biso" / "demo"


def build(
    root: Path,
    *,
    ssh: bool | None = None,
    scale: float = 1.0,
    source: Source = "any",
    log_database: bool = False,
) -> DemoSite:
    """The running demo site of the folder `root`: the one that is there, else a new one.

    `ssh`: True demands SSH servers, False leaves them out, None takes what the machine has. `scale`
    1 is about 2,000 persons. `source` says where PostgreSQL and PHP come from. Raises DemoError,
    Refused where the place is not the demo's, Locked while another demo is at work there.
    """
    root = root.absolute()
    wanted = {
        "made_of": _fingerprint(),
        "scale": scale,
        "source": source,
        "log_database": log_database,
    }
    with alone(home(root).parent, "demo command"):
        _check_place(root)
        state = _state(root)
        fits = state is not None and all(state.get(key) == value for key, value in wanted.items())
        if state is not None and ssh is not None and state.get("ssh") != ssh:
            fits = False
        if not fits:
            _clean(root)
            _begin(root)
        try:
            return _build(root, ssh, wanted, source, fresh=not fits)
        except BaseException:
            if not fits:
                _clean(root)
            raise


def load(root: Path) -> DemoSite | None:
    """The site that was built in `root`, running or not; None where there is none."""
    state = _state(root)
    if state is None:
        return None
    return _site(root.absolute(), bool(state["ssh"]), tuple(state["notes"]))


def stop(root: Path) -> None:
    """End every process of the demo; the site stays and `build` brings it back."""
    with alone(home(root).parent, "demo command"):
        _stop(root)


def clean(root: Path) -> None:
    """End the demo and remove what it made, nothing else. Raises Refused where the folder that
    should be the demo's was not made by it."""
    with alone(home(root).parent, "demo command"):
        _check_place(root)
        _clean(root)
    with contextlib.suppress(OSError):
        home(root).parent.rmdir()


def _build(
    root: Path, ssh: bool | None, wanted: dict[str, object], source: Source, *, fresh: bool
) -> DemoSite:
    place = home(root)
    bins = find_binaries(source)
    write_wrappers(place / "bin", {name: bins / name for name in CLIENT if (bins / name).exists()})
    install_php(place / "lib", place / "bin", source=source)
    scale, log_database = float(str(wanted["scale"])), bool(wanted["log_database"])
    with ThreadPoolExecutor() as pool:
        servers = pool.submit(_servers, place, ssh)
        making = [
            pool.submit(raise_instance, place, name, bins, scale, log_database, fresh)
            for name in NAMES
        ]
        for one in making:
            one.result()
        notes = servers.result()
    over_ssh = notes is None
    said = () if notes is None else (notes, *_write_local(root))
    if over_ssh:
        _remove_local(root)
    (place / "backups").mkdir(exist_ok=True)
    write(place / _STATE, json.dumps({**wanted, "ssh": over_ssh, "notes": said}, indent=1) + "\n")
    return _site(root, over_ssh, said)


def _site(root: Path, over_ssh: bool, notes: tuple[str, ...]) -> DemoSite:
    prod, test = (find_instance(home(root), name, over_ssh) for name in NAMES)
    return DemoSite(root, prod, test, over_ssh, notes)


def _servers(place: Path, ssh: bool | None) -> str | None:
    """Start the SSH servers; None when they run, else why they do not."""
    if ssh is False:
        return "Both instances are on this machine: SSH was not asked for."
    try:
        sshd.start_servers(place / "ssh", ALIASES, path=f"{place / 'bin'}:{_PATH}")
    except DemoError as error:
        if ssh:
            raise
        advice = f" ({error.hint})" if error.hint else ""
        return f"Both instances are on this machine, without SSH: {error.message}{advice}."
    return None


def _web(place: Path, name: str) -> Path:
    return place / f"web-{name}.json"


def _stop(root: Path) -> None:
    place = home(root)
    for name in NAMES:
        web.stop(_web(place, name))
        cluster = load_cluster(place / name / "postgres")
        if cluster is not None:
            cluster.stop()
    sshd.stop(place / "ssh")


def _clean(root: Path) -> None:
    place = home(root)
    _stop(root)
    for name in NAMES:
        cluster = load_cluster(place / name / "postgres")
        if cluster is not None:
            cluster.remove()
    sshd.remove(place / "ssh")
    _remove_local(root)
    if place.exists():
        shutil.rmtree(place)


def _check_place(root: Path) -> None:
    place = home(root)
    if place.exists() and any(place.iterdir()) and not (place / _MARKER).exists():
        raise Refused(
            f"{place} exists and was not made by the demo", hint="move it away and try again"
        )


def _begin(root: Path) -> None:
    place = home(root)
    place.mkdir(parents=True)
    write(place / _MARKER, "Everything in this folder was made by ./biso demo.\n")


def _state(root: Path) -> dict[str, Any] | None:
    """What was recorded when the build was complete; None for none or half of one."""
    try:
        state: dict[str, Any] = json.loads((home(root) / _STATE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return state


def _write_local(root: Path) -> tuple[str, ...]:
    """Point biso.toml's environments at this machine; a file of the user's own is left alone."""
    local = root / _LOCAL
    if local.exists() and not local.read_text("utf-8", "replace").startswith(_LOCAL_MARK):
        return (f'{local} is your own and stays: set ssh = "" there for prod and test.',)
    write(local, _LOCAL_TEXT)
    return ()


def _remove_local(root: Path) -> None:
    local = root / _LOCAL
    with contextlib.suppress(FileNotFoundError):
        if local.read_text("utf-8", "replace").startswith(_LOCAL_MARK):
            local.unlink()


def _fingerprint() -> str:
    """Changes with the demo's own code: a site built by an older one is built again."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """One `what` at a time: an flock on the folder itself, which is made, leaves no lock file
    behind. Raises Locked."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(
                f"another {what} is at work in {folder}", hint="wait until it has ended"
            ) from error
        yield
    finally:
        os.close(handle)
