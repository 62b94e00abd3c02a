"""A stage for one test, made of production's rows and files by the parts that a refresh uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from biso_tasks.config.load import FILE, load
from biso_tasks.demo.process import run
from biso_tasks.files.clone import clone
from biso_tasks.files.listing import DATA_EXCLUDES
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.session import Session
from biso_tasks.stage.build import build_webroot, open_stage
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.model import Stage, access, staged
from biso_tasks.stage.view import StageView
from biso_tasks.testing.pristine import ORIGIN, Pristine
from biso_tasks.testing.site import written

__all__ = ["Stages", "raised_stage"]


@dataclass(slots=True)
class Stages:
    """Makes the database of stages: production's rows are brought to the test server once."""

    pristine: Pristine
    brought: bool = False

    def fill(self, dbname: str) -> None:
        """Make the database `dbname` beside the test instance's, with production's rows."""
        test = self.pristine.demo.test
        if not self.brought:
            self._bring()
        test.psql(f'CREATE DATABASE "{dbname}" TEMPLATE {ORIGIN} OWNER {test.user}')

    def _bring(self) -> None:
        prod, test = self.pristine.demo.prod, self.pristine.demo.test
        where = ("-h", prod.cluster.socket_dir, "-p", str(prod.cluster.port))
        whole = ("--no-owner", "--no-privileges", "-U", prod.cluster.superuser, prod.dbname)
        dumped = run([prod.cluster.bins / "pg_dump", *where, *whole]).stdout.decode()
        test.psql(f"CREATE DATABASE {ORIGIN} OWNER {test.user}")
        test.psql(f"SET ROLE {test.user};\n{dumped}", dbname=ORIGIN)
        self.brought = True


@contextmanager
def raised_stage(stages: Stages, root: Path) -> Iterator[StageView]:
    """A stage of the test instance, with a site in the folder `root` that it belongs to."""
    prod = stages.pristine.demo.prod
    written(root, stages.pristine, {})
    hooks = PluginManager()
    hooks.load(root=root)
    with Session(load(root / FILE), hooks, say=lambda text: None) as session:
        instance = session.instance("test")
        stage = Stage(instance, "a-test", staged(instance))
        open_stage(stage)
        try:
            build_webroot(stage, (stage.main.live,))
            run(["rmdir", "--", stage.datadir])
            clone(access(instance), str(prod.datadir), stage.datadir, exclude=DATA_EXCLUDES)
            stages.fill(stage.main.stage)
            yield StageView(stage, neutralized=True)
        finally:
            discard_stage(instance, stage.databases)
