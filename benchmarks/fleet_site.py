"""Many installations for one command: copies of the demo's, each with databases, files and an SSH
server of its own, in one biso.toml.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from biso_tasks.demo import site as demo
from biso_tasks.demo import sshd
from biso_tasks.demo.instances import Instance

__all__ = ["FleetSite", "standing"]

_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class FleetSite:
    """The site in `root`. `names` are those of the productions; NAME-test is the copy of each."""

    root: Path
    built: demo.DemoSite
    names: tuple[str, ...]

    @property
    def config(self) -> Path:
        """One biso.toml with all of them."""
        return self.root / "biso.toml"

    @property
    def folder(self) -> Path:
        """A folder of sites, one each, with a store of its own."""
        return self.root / "sites"

    def webroot(self, name: str) -> Path:
        """Of a production or its copy."""
        return self.root / "installations" / name / "webroot"

    def write(self, changes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Both, with `changes` to single environments."""
        made = changes or {}
        pairs = {name: self._pair(name, made) for name in self.names}
        every = {key: one for pair in pairs.values() for key, one in pair.items()}
        self._write(self.config, "cantons", every, self.root / "backups")
        for name, pair in pairs.items():
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            store = self.root / "installations" / name / "backups"
            self._write(self.folder / name / "biso.toml", name, pair, store)

    def _pair(self, name: str, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        php = str(self.built.bin_dir / "php")
        roles = {name: {"role": "production"}, f"{name}-test": {"role": "test", "copy_of": name}}
        return {
            environment: {
                **role,
                "ssh": f"host-{name}",
                "webroot": str(self.webroot(environment)),
                "php": [php],
                "biso_cli": [php, "biso-cli"],
                "services": {"kind": "none"},
                **changes.get(environment, {}),
            }
            for environment, role in roles.items()
        }

    def _write(self, file: Path, name: str, environments: dict[str, Any], store: Path) -> None:
        ssh = self.root / "ssh"
        document = {
            "site": {"name": name},
            "environments": environments,
            "ssh": {"config": str(ssh / "config"), "known_hosts": str(ssh / "known_hosts")},
            "backup": {"path": str(store)},
        }
        file.write_text(tomli_w.dumps(document), "utf-8")


@contextmanager
def standing(root: Path, number: int) -> Iterator[FleetSite]:
    """That many installations in the new folder `root`, each small as can be; all ended and removed
    afterwards. Raises DemoError."""
    (root / "model").mkdir(parents=True)
    try:
        built = demo.build(root / "model", ssh=False, scale=0.01)
        names = tuple(f"kanton-{one:02}" for one in range(1, number + 1))
        for name in names:
            _copy(root, built.prod, name)
            _copy(root, built.test, f"{name}-test")
        path = f"{built.bin_dir}:{_PATH}"
        sshd.start_servers(root / "ssh", [f"host-{name}" for name in names], path=path)
        site = FleetSite(root, built, names)
        site.write()
        yield site
    finally:
        sshd.remove(root / "ssh")
        demo.clean(root / "model")
        shutil.rmtree(root)


def _copy(root: Path, instance: Instance, name: str) -> None:
    """The instance under another name, in the same cluster."""
    place = root / "installations" / name
    dbname = name.replace("-", "_")
    instance.psql(
        f"CREATE DATABASE {dbname} TEMPLATE {instance.dbname} OWNER {instance.user}",
        dbname="postgres",
    )
    shutil.copytree(instance.webroot, place / "webroot", symlinks=True)
    if instance.datadir != instance.webroot / "data":
        shutil.copytree(instance.datadir, place / "data", symlinks=True)
    config = place / "webroot" / "config.php"
    text = config.read_text("utf-8")
    for named in (f"'dbname'   => '{instance.dbname}'", f"['dbname'] = '{instance.dbname}'"):
        text = text.replace(named, named.replace(f"'{instance.dbname}'", f"'{dbname}'"))
    config.write_text(text, "utf-8")
