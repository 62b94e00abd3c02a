"""`./biso demo` as a newcomer types it, in a fresh copy of the checkout: all that README says."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from biso_tasks.demo import site

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs("postgresql", "php", "ssh", "sshd", "rsync", "launcher"),
    pytest.mark.timeout(900),
]

REPOSITORY = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".biso", ".*_cache", "__pycache__")
# What takes room and is for developers.
_NOT_NEEDED = shutil.ignore_patterns("mypy*", "*mypyc*", "pip", "ruff*", "__pycache__")


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout with a .venv of its own; `become` are words that make another user of
    what follows them."""

    folder: Path
    become: tuple[str, ...]
    home: str

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.become, *words],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": self.home, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def files(self) -> set[str]:
        found = set()
        for here, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if name not in (".venv", "__pycache__")]
            found |= {os.path.relpath(os.path.join(here, name), self.folder) for name in files}
        return found


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def python_for(become: tuple[str, ...]) -> str:
    """A Python of the version that the packages are for, which that user can start."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in (os.path.realpath(sys.executable), f"/usr/bin/python{wanted}"):
        # By a shell: setpriv itself may start what its new user cannot reach.
        words = [*become, "sh", "-c", '"$@"', "sh", python, "-c", say]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.stdout.strip() == wanted:
            return python
    pytest.fail(f"no Python {wanted} that other users can start: apt install python{wanted}")


@pytest.fixture(params=["ordinary", pytest.param("root", marks=pytest.mark.whole)])
def checkout(request: pytest.FixtureRequest) -> Iterator[Checkout]:
    top = Path(tempfile.mkdtemp(prefix="biso demo ", dir="/var/tmp"))
    top.chmod(0o755)
    folder = top / "biso-tasks für alle"
    user = f"bisocmd{os.getpid()}"
    ordinary = request.param == "ordinary"
    try:
        if ordinary:
            words = ["useradd", "--create-home", "--shell", "/bin/bash", user]
            subprocess.run(words, check=True)
        become = (
            ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if ordinary else ()
        )
        shutil.copytree(REPOSITORY, folder, ignore=_LEFT_OUT, symlinks=True)
        if ordinary:
            subprocess.run(["chown", "-R", f"{user}:", folder], check=True)
        venv = folder / ".venv"
        make = [python_for(become), "-m", "venv", "--without-pip", "--symlinks", str(venv)]
        subprocess.run(make, check=True)
        shutil.copytree(Path(sys.prefix) / "biso-locks", venv / "biso-locks")
        packages = Path(sysconfig.get_path("purelib"))
        (target,) = venv.glob("lib/python3*/site-packages")
        shutil.copytree(
            packages, target, ignore=_NOT_NEEDED, symlinks=True, copy_function=link,
            dirs_exist_ok=True,
        )  # fmt: skip
        yield Checkout(folder, become, pwd.getpwnam(user if ordinary else "root").pw_dir)
    finally:
        site.clean(folder)
        shutil.rmtree(top, ignore_errors=True)
        if ordinary:
            subprocess.run(["userdel", "--remove", user], check=False, capture_output=True)


@pytest.mark.needs("root", "setpriv")
def test_the_demo_runs_is_refreshed_and_is_gone_again(
    checkout: Checkout, holding: Callable[[Path], list[str]]
) -> None:
    before = checkout.files()
    shown = checkout("./biso", "demo").stdout
    for words in ("production", "can be used", "it was away for", "Try next", "demo --stop"):
        assert words in shown
    built = site.load(checkout.folder)
    assert built is not None and built.ssh
    python = str(checkout.folder / ".venv/bin/python")
    where = "import biso_tasks; print(biso_tasks.__file__)"
    assert str(checkout.folder) in checkout(python, "-c", where).stdout

    refreshed = checkout(python, "-m", "invoke", "refresh-test", "--yes", "--json")
    document = json.loads(refreshed.stdout)
    assert document["ok"] and document["proof"]["leaks"] == []
    # A machine with other work to do is slower.
    patience = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert 0 < document["downtime_seconds"] < 3 * patience
    assert len(json.loads(checkout("./biso", "list", "--json").stdout)["sets"]) == 1

    checkout("./biso", "demo", "--stop")
    until = time.monotonic() + 20
    while (running := holding(checkout.folder)) and time.monotonic() < until:
        time.sleep(0.1)
    assert running == []
    checkout("./biso", "demo", "--clean")
    left = checkout.files() - before
    assert {name for name in left if not name.startswith(".biso/runs/")} == set()
    for instance in (built.prod, built.test):
        assert not instance.cluster.directory.exists()
        assert not instance.cluster.private.exists()
