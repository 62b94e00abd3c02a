"""A checkout with the real launcher, tiny packages and a stub program; no network is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

_MAIN = """\
import importlib.util, json, os, sys
names = ("tiny_core", "tiny_demo", "tiny_dev")
found = [name for name in names if importlib.util.find_spec(name)]
facts = {"args": sys.argv[1:], "found": found, "cwd": os.getcwd(), "python": sys.executable}
facts["bytecode"] = not sys.dont_write_bytecode
print(json.dumps(facts))
"""
_TOOLS = ("sh", "dash", "env", "dirname", "readlink", "ln", "rm", "mv", "cp", "cmp", "mkdir", "cat")
_MORE_TOOLS = ("grep", "tail", "sed", "sleep", "ps", "uname")


def wheel(folder: Path, name: str, version: str = "1.0") -> str:
    """Write a wheel and give the lock line for it."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:VERSION.upper\n",
    }
    record = ""
    for file, content in files.items():
        digest = hashlib.sha256(content.encode()).digest()
        encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record += f"{file},sha256={encoded},{len(content)}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(file, content)
    digest_hex = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest_hex}\n"


@dataclass(frozen=True, slots=True)
class Checkout:
    """`root` holds the launcher; `tools` is the whole PATH of what runs there."""

    root: Path
    tools: Path
    wheels: Path
    calls: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": str(self.tools),
            "HOME": str(self.root.parent / "home"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_CALLS": str(self.calls),
        }

    def start(self, *args: str, **options: object) -> subprocess.Popen[str]:
        env = {**self.env, **options.pop("env", {})}  # type: ignore[dict-item]
        return subprocess.Popen(
            [str(options.pop("program", self.root / "biso")), *args],
            env={key: value for key, value in env.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )

    def run(self, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        with self.start(*args, **options) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def facts(self, *args: str, **options: object) -> dict[str, object]:
        done = self.run(*args, **options)
        assert done.returncode == 0, done.stderr
        facts: dict[str, object] = json.loads(done.stdout)
        return facts

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.root.glob(".venv*"))

    def use_uv(self) -> None:
        """Put a `uv` on the PATH that is quick: it unpacks the wheels that the lock files name."""
        shutil.copyfile(Path(__file__).with_name("fake_uv.py"), self.tools / "uv.py")
        program = (
            f'#!/bin/sh\nexec "{(self.tools / "python3").resolve()}" "{self.tools}/uv.py" "$@"\n'
        )
        self.tool("uv", program)

    def lock(self, name: str, version: str) -> None:
        """Lock the one tiny package of a set at this version."""
        line = wheel(self.wheels, f"tiny_{name}", version)
        text = f"# made by a test\n{line}"
        (self.root / "requirements" / f"{name}.txt").write_text(text, "utf-8")

    def interrupt(self, process: subprocess.Popen[str], number: signal.Signals) -> int:
        """Send a signal to the whole group, as a terminal does, and give the exit code."""
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
        return process.returncode

    def tool(self, name: str, text: str) -> None:
        path = self.tools / name
        path.unlink(missing_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)


def _python() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return _checkout(tmp_path, _python())


@pytest.fixture
def reachable() -> Iterator[Checkout]:
    """A checkout, and a Python, that every user of this machine can get to."""
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if found is None or not _is_new(found):
        pytest.skip("no Python 3.11 in /usr/bin for other users: apt install python3")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield _checkout(Path(folder), Path(found).resolve())


def _is_new(python: str) -> bool:
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", probe], check=False).returncode == 0


def _checkout(folder: Path, python: Path) -> Checkout:
    root, tools, wheels = folder / "mein Ordner ä", folder / "tools", folder / "wheels"
    for path in (root / "requirements", root / "biso_tasks" / "cli", tools, wheels):
        path.mkdir(parents=True)
    shutil.copy(REPOSITORY / "biso", root / "biso")
    for package in (root / "biso_tasks", root / "biso_tasks" / "cli"):
        (package / "__init__.py").touch()
    (root / "biso_tasks" / "cli" / "main.py").write_text(_MAIN, "utf-8")
    for name in _TOOLS + _MORE_TOOLS:
        found = shutil.which(name)
        if found is not None:
            (tools / name).symlink_to(found)
    (tools / "python3").symlink_to(python)
    checkout = Checkout(root, tools, wheels, folder / "calls")
    for name in ("core", "demo", "dev"):
        checkout.lock(name, "1.0")
    return checkout
