"""The plugin log_export: what a release hands out of the log, and when it does not."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.api import ConfigError, StepFailed, placeholder
from biso_tasks.demo.data import PLANTED
from biso_tasks.testing import Plugin, ThrowawaySite
from biso_tasks.testing.plugin import load_plugin

pytest_plugins = ["biso_tasks.testing"]

PLUGINS = Path(__file__).parents[2] / "plugins"
real = [pytest.mark.real, pytest.mark.needs("postgresql", "php")]


def loaded(name: str, **section: Any) -> Plugin:
    return load_plugin(name, section, folders=[PLUGINS])


def steps(plugin: Plugin, recipe: str) -> list[tuple[str, str]]:
    found = plugin.call("biso_steps", recipe=SimpleNamespace(name=recipe), site=None)
    return [(one.name, one.after) for one in found]


class TestARelease:
    pytestmark = real

    @pytest.fixture
    def exports(self, biso_site: ThrowawaySite, tmp_path: Path) -> Path:
        """A site whose releases export the log, with pictures; the folder of the exports."""
        biso_site.add_log_database()
        scrub = {"folders": [{"pattern": "dateien/**", "copy": ["jpg"]}]}
        biso_site.use(loaded("attachment_scrub", **scrub))
        biso_site.use(loaded("log_database", refresh="copy"))
        folder = tmp_path / "exports"
        section = {"attachments": ["dateien/**"], "without": ["log_eintrag.benutzer"], "keep": 1}
        biso_site.use(loaded("log_export", folder=str(folder), **section))
        return folder

    def test_exports_the_anonymised_log_and_scrubbed_pictures_and_nothing_else(
        self, biso_site: ThrowawaySite, exports: Path
    ) -> None:
        pictures = [*biso_site.prod.datadir.glob("dateien/**/*.jpg")]
        assert pictures and all(b"@" in one.read_bytes() for one in pictures), "they name somebody"
        (exports / ".log-export-killed").mkdir(parents=True)
        (exports / "log-20200101_000000-test.tar.gz").touch()
        (exports / "another.tar.gz").touch()
        made = biso_site.run("release")
        (archive,) = exports.glob("log-*")
        assert archive.name == f"log-{made['set']}.tar.gz"
        assert archive.stat().st_mode & 0o777 == 0o600
        assert {one.name for one in exports.iterdir()} == {archive.name, "another.tar.gz"}
        with tarfile.open(archive) as opened:
            members = {one.name: one for one in opened if one.isfile()}
            held = {name: opened.extractfile(one).read() for name, one in members.items()}
        assert {(one.uid, one.gid, one.uname) for one in members.values()} == {(0, 0, "")}
        names = [str(one.relative_to(biso_site.prod.datadir)) for one in pictures]
        assert len(held) == 2 + len(names)
        assert made["set"] in held.pop("README.txt").decode()
        rows = list(csv.DictReader(io.StringIO(held.pop("log/log_eintrag.csv").decode())))
        assert len(rows) == 20
        assert list(rows[0]) == ["id", "zeit", "nachricht", "kontext"]
        assert all(name.startswith("attachments/dateien/") for name in held)
        for name, data in held.items():
            assert data.startswith(b"\xff\xd8") and data != placeholder(name)
            assert b"@" not in data
        whole = "\n".join([*held, str(rows), *(str(data) for data in held.values())])
        assert not [word for word in PLANTED if word in whole]

    def test_leaves_nothing_where_it_ends_before_the_seal(
        self, biso_site: ThrowawaySite, exports: Path
    ) -> None:
        (biso_site.root / "plugins/zz_late.py").write_text(
            "from biso_tasks.api import Insert, hookimpl\n\n\n"
            "@hookimpl\n"
            "def biso_steps(recipe, site):\n"
            "    if recipe.name != 'release':\n"
            "        return []\n"
            "    return [Insert('late', after='log-export', on='target', run=('false',))]\n"
        )
        ended = biso_site.run("release", ok=False)
        assert [one["status"] for one in ended["steps"] if one["name"] == "log-export"] == [
            "undone"
        ], ended["stderr"]
        assert list(exports.iterdir()) == []

    def test_a_log_that_was_not_copied_is_no_empty_export(
        self, biso_site: ThrowawaySite, exports: Path
    ) -> None:
        biso_site.use(loaded("log_database", refresh="schema"))
        ended = biso_site.run("release", ok=False)
        assert ended["exit_code"] == 1
        assert "holds no row" in ended["error"]["message"]
        assert list(exports.iterdir()) == []

    def test_a_folder_in_the_webroot_is_refused_while_planning(
        self, biso_site: ThrowawaySite
    ) -> None:
        link = biso_site.root / "link"
        link.symlink_to(biso_site.test.webroot)
        biso_site.use(loaded("log_export", folder=f"{link}/x/../exports"))
        ended = biso_site.run("release", "--plan", ok=False)
        assert ended["exit_code"] == 3
        assert "lies in the webroot" in ended["error"]["message"]


class TestColumns:
    pytestmark = real

    def test_a_column_to_be_left_out_that_is_not_there_is_an_error(self, biso_stage: Any) -> None:
        folder = f"{biso_stage.datadir}/../exports"
        section = {"folder": folder, "key": "gaia.db", "without": ["person.nachnahme"]}
        (export, _) = loaded("log_export", **section).call("biso_actions", site=None)
        step = SimpleNamespace(
            stage=biso_stage,
            on="test",
            environment=biso_stage.environment,
            values={"run": "r", "set.id": "s"},
            run=lambda words: biso_stage.host_run(words),
        )
        with pytest.raises(StepFailed, match=r"no column person\.nachnahme"):
            export.run(step)


def test_only_a_release_exports_and_only_where_a_folder_is_named() -> None:
    plugin = loaded("log_export", folder="/srv/exports")
    assert steps(plugin, "release") == [("log-export", "verify"), ("log-hand-out", "seal-release")]
    for recipe in ("refresh-test", "backup", "restore", "refresh-in-place"):
        assert steps(plugin, recipe) == []
    assert steps(loaded("log_export"), "release") == []


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"folder": "exports"}, "begins with /"),
        ({"keep": 0}, "at least 1"),
        ({"without": ["benutzer"]}, 'not like "table.column"'),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded("log_export", **section)
