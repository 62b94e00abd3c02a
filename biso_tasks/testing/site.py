"""A site for one test: its biso.toml, its plugins, its instances, and a way to run tasks in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomli_w

from biso_tasks.config.load import FILE, load
from biso_tasks.config.model import Site
from biso_tasks.demo import site as demo_site
from biso_tasks.demo.instances import Instance, add_log_database
from biso_tasks.errors import StepFailed
from biso_tasks.testing.plugin import Plugin
from biso_tasks.testing.pristine import Pristine

__all__ = ["ThrowawaySite", "raise_site", "written"]

_SCALE: Final = 0.01  # 20 persons: enough for every kind of row and file that there is


def raise_site(folder: Path) -> Pristine:
    """Build production and test in `folder`, both on this machine, without SSH. Raises DemoError
    where a part is missing."""
    built = demo_site.build(folder / "demo", ssh=False, scale=_SCALE)
    return Pristine.keep(built, folder / "pristine")


def written(root: Path, pristine: Pristine, plugins: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the biso.toml of a site with these instances, each plugin with its section."""
    demo = pristine.demo
    php = str(demo.bin_dir / "php")
    environments = {
        instance.name: {
            "role": "production" if instance.name == "prod" else "test",
            "webroot": str(instance.webroot),
            "php": [php],
            "biso_cli": [php, "biso-cli"],
            "services": {"kind": "none"},
        }
        for instance in (demo.prod, demo.test)
    }
    document = {
        "site": {"name": "throwaway", "plugins": ["plugins"]},
        "environments": environments,
        "backup": {"environment": "prod", "path": str(demo.home / "backups")},
        "refresh": {"from": "prod", "to": "test"},
        "plugins": plugins,
    }
    (root / "plugins").mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(tomli_w.dumps(document), "utf-8")


@dataclass(slots=True)
class ThrowawaySite:
    """A site that lasts for a test. `touched` are the instances to be brought back after it."""

    root: Path
    pristine: Pristine
    touched: set[str] = field(default_factory=set)
    _sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @staticmethod
    def write(root: Path, pristine: Pristine) -> ThrowawaySite:
        """A new site in the folder `root`."""
        written(root, pristine, {})
        return ThrowawaySite(root, pristine)

    @property
    def config(self) -> Site:
        """The site as hooks receive it."""
        return load(self.root / FILE)

    @property
    def prod(self) -> Instance:
        """The production instance."""
        self.touched.add("prod")
        return self.pristine.demo.prod

    @property
    def test(self) -> Instance:
        """The test instance."""
        self.touched.add("test")
        return self.pristine.demo.test

    def add_log_database(self) -> None:
        """Give both instances a log database, with production's entries in production's. A backup
        then needs the plugin log_database, as it does in a site."""
        for instance in (self.prod, self.test):
            add_log_database(instance)

    def use(self, plugin: Plugin) -> None:
        """From here on, tasks of this site run with the plugin and its section; one that is in use
        already gets this section."""
        source = Path(plugin.source)
        if source.exists():  # else it is installed, and found anyway
            source = source.parent if source.name == "__init__.py" else source
            link = self.root / "plugins" / source.name
            link.unlink(missing_ok=True)
            link.symlink_to(source)
        if plugin.section:
            self._sections[plugin.name] = plugin.section
        written(self.root, self.pristine, self._sections)

    def run(self, task: str, *words: str, ok: bool = True) -> dict[str, Any]:
        """Run a task as a person does, e.g. run("refresh-test", "--no-anonymize"), without being
        asked; gives its JSON document, with what it said beside it under "stderr". Raises
        StepFailed with that where it does not end well, unless `ok` is False."""
        self.touched |= {"prod", "test"}
        done = subprocess.run(
            [sys.executable, "-m", "biso_tasks.cli.main", task, *words, "--json", "--yes"],
            cwd=self.root,
            env={**self.pristine.demo.environ(), "BISO_CONFIG": str(self.root / FILE)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if not done.stdout.startswith("{") or (ok and done.returncode != 0):
            raise StepFailed(
                f"`biso {task}` ended with {done.returncode}:\n{done.stderr}",
                hint="ok=False gives the document of a run that fails",
            )
        return {**json.loads(done.stdout), "stderr": done.stderr}
