"""The two instances of a session as they were when they were new, and the way back to that."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biso_tasks.demo import site as demo_site
from biso_tasks.demo.instances import Instance
from biso_tasks.demo.process import run
from biso_tasks.demo.site import DemoSite

__all__ = ["ORIGIN", "Pristine"]

ORIGIN: Final = "biso_origin"
"""On the test server: production's rows, for stages to be copied from."""

_KEPT: Final = "biso_pristine"
_SERVER: Final = "postgres"
_BASIC: Final = ("postgres", "template0", "template1", _KEPT, ORIGIN)
# A copy by TEMPLATE has none of these: they belong to the database and not to what is in it.
_SETTINGS: Final = """\
SELECT format('ALTER DATABASE %I SET %s = %L', '{new}', split_part(one, '=', 1),
              substr(one, strpos(one, '=') + 1))
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) AS one
WHERE setrole = 0 AND datname = '{old}'"""


@dataclass(frozen=True, slots=True)
class Pristine:
    """`demo` as it is now, and a copy of its trees in `trees`, of its databases beside them."""

    demo: DemoSite
    trees: Path

    @staticmethod
    def keep(demo: DemoSite, trees: Path) -> Pristine:
        """Remember what the instances are now."""
        for instance in (demo.prod, demo.test):
            _copy_database(instance, instance.dbname, _KEPT)
            place = demo.home / instance.name
            for path in place.iterdir():
                if path.name != _SERVER:
                    _copy(path, trees / instance.name)
        return Pristine(demo, trees)

    def bring_back(self, names: Collection[str]) -> None:
        """Make those instances what they were: what else stands beside them by now is gone."""
        for instance in (self.demo.prod, self.demo.test):
            if instance.name not in names:
                continue
            listed = instance.psql("SELECT datname FROM pg_database", dbname="postgres")
            for name in sorted(set(listed.split("\n")) - set(_BASIC)):
                _drop(instance, name)
            _copy_database(instance, _KEPT, instance.dbname)
            place = self.demo.home / instance.name
            for path in place.iterdir():
                if path.name != _SERVER:
                    _remove(path)
            for path in (self.trees / instance.name).iterdir():
                _copy(path, place)
        for path in (self.demo.home / "backups").iterdir():
            _remove(path)

    def remove(self) -> None:
        """End the servers and remove everything."""
        demo_site.clean(self.demo.root)
        for path in (self.demo.root, self.trees):
            shutil.rmtree(path)


def _copy_database(instance: Instance, old: str, new: str) -> None:
    instance.psql(f'CREATE DATABASE "{new}" TEMPLATE "{old}" OWNER {instance.user}', dbname=old)
    settings = _SETTINGS.format(new=new, old=old)
    for statement in filter(None, instance.psql(settings, dbname=new).split("\n")):
        instance.psql(statement, dbname=new)


def _drop(instance: Instance, name: str) -> None:
    quoted = name.replace('"', '""')
    # A run that was killed may have left it closed, or its sessions in it.
    instance.psql(f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)', dbname="postgres")


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run(["cp", "--archive", "--reflink=auto", "--", path, folder])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
