"""The how-tos' transcripts, one after the other as one site lives through them: it is set up over
SSH, copies its sets off the host, and loses the host."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from transcript import REPOSITORY, follow, transcript, without_services

from biso_tasks.demo import site as demo
from biso_tasks.demo.site import DemoSite

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "rsync", "ssh", "sshd", "restic"),
]
COPY = "sftp:copies@nas.example.ch:/srv/biso"


def page(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text("utf-8")


@dataclass(frozen=True)
class Reader:
    """Whoever follows the pages, in a folder, with words of this machine for those of the pages."""

    folder: Path
    env: Mapping[str, str]
    here: Callable[[str], str]

    @property
    def config(self) -> Path:
        return self.folder / "biso.toml"

    def follows(self, name: str, part: str = "# ", until: str = "\0") -> None:
        """The commands of a page, or of that below one heading up to another."""
        text = page(name).partition(part)[2].partition(until)[0]
        commands = transcript(text)
        assert commands, f"{name} has no command there"
        for one in commands:
            follow(one, self.here, self.folder, self.env)

    def writes(self, block: str) -> None:
        """A block of a page into biso.toml: into its section, where there is one."""
        head, _, keys = self.here(block).partition("\n")
        text = self.config.read_text("utf-8")
        if f"\n{head}" not in text:
            text += f"\n{head}\n"
        self.config.write_text(
            re.sub(rf"^{re.escape(head)}.*$", lambda _: f"{head}\n{keys}", text, flags=re.M)
        )


@pytest.fixture
def built() -> Iterator[DemoSite]:
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield demo.build(Path(folder), scale=0.01, ssh=True)
        demo.clean(Path(folder))


@pytest.fixture
def reader(built: DemoSite, tmp_path: Path) -> Reader:
    places = {
        "/var/www/biso-test": str(built.test.webroot),
        "/var/www/biso": str(built.prod.webroot),
        "/var/backups/biso": f"{built.root}/sets",
        COPY: f"{built.root}/copies",
        "nas:/srv/biso": f"biso-test:{built.root}/elsewhere",
        "/etc/biso/restic": f"{built.root}/password",
    }

    def here(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    without_services(tmp_path / "tools")
    (home / ".ssh").mkdir(parents=True)
    config = (built.home / "ssh/config").read_text("utf-8")
    (home / ".ssh/config").write_text(config.replace("Host biso-demo-", "Host biso-"))
    shutil.copy(built.home / "ssh/known_hosts", home / ".ssh")
    password = built.root / "password"
    password.write_text("ein langes Geheimnis\n")
    password.chmod(0o600)
    env = {k: v for k, v in built.environ().items() if k != "BISO_CONFIG"}
    env |= {"PATH": f"{tmp_path}/tools:{env['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    return Reader(folder, {**env, "HOME": str(home), "COLUMNS": "160"}, here)


def lose(built: DemoSite) -> None:
    """All that production's host had; what a new one of the demo's kind says of its server."""
    built.prod.psql("DROP DATABASE biso WITH (FORCE)", dbname="postgres")
    built.prod.psql("DROP ROLE biso", dbname="postgres")
    for path in (built.prod.webroot, built.prod.datadir, built.root / "sets"):
        shutil.rmtree(path)
    for stage in built.prod.webroot.parent.glob(".biso-tasks-*"):
        shutil.rmtree(stage)


def test_a_site_is_set_up_copied_and_lost_as_the_pages_say(built: DemoSite, reader: Reader) -> None:
    first, copies = page("first-site.md"), page("offsite.md")
    (store,) = re.findall(r"^```toml\n(.*?)^```", first, re.M | re.S)
    (plugin,) = re.findall(r"^```toml\n(.*?)^```", copies, re.M | re.S)
    reader.follows("first-site.md", "# ", "## 4.")
    reader.writes(store)
    reader.follows("first-site.md", "## 4.")
    reader.follows("offsite.md", "## Once", "## From then on")
    reader.writes(plugin)
    reader.follows("offsite.md", "## From then on")
    persons = built.prod.psql("SELECT count(*) FROM person")

    shutil.copytree(built.root / "sets", built.root / "elsewhere", symlinks=True)
    older = min((built.root / "elsewhere/sets").iterdir())
    shutil.rmtree(older)
    lose(built)
    cluster = built.prod.cluster
    admin = f'admin = {{ user = "{cluster.superuser}" }}'
    reader.writes(
        "[environments.prod.database]\n"
        f'host = "{cluster.socket_dir}"\nport = {cluster.port}\n{admin}\n'
    )
    reader.follows("disaster.md")
    assert built.prod.psql("SELECT count(*) FROM person") == persons
    assert any(built.prod.datadir.iterdir())
