"""`test`: pytest in the checkout, with what it prints shown as it comes."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import biso_tasks
from biso_tasks.cli.call import Call
from biso_tasks.errors import Interrupted, StepFailed, UsageError

__all__ = ["selftest"]

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_COUNTS: Final = re.compile(r"=* ?((?:\d+ [a-z]+|no tests ran).* in [\d.:]+m?s.*?) ?=*")
_KEPT: Final = 20_000


def selftest(call: Call, args: str = "") -> None:
    """Run the tests. Raises UsageError where there are none, StepFailed with pytest's closing line
    where they do not pass."""
    root = _checkout()
    if find_spec("pytest") is None:
        raise UsageError(
            "pytest is not installed beside biso-tasks",
            hint="./biso test installs what the tests need; or pip install 'biso-tasks[dev]'",
        )
    try:
        own = shlex.split(args)
    except ValueError as error:
        raise UsageError(
            f"--args {args!r} cannot be split: {error}", hint="close the quotes"
        ) from None
    words = [sys.executable, "-m", "pytest", *_parallel(own), *_colour(call), *own]
    if call.options.plan:
        call.outlook("test", changes=[f"runs {shlex.join(words)} in {root}"])
        return
    code, tail = _run(words, root)
    closing = _closing(tail)
    call.document["tests"] = closing
    if code != 0:
        raise StepFailed(
            f"the tests did not pass: {closing or f'pytest ended with {code}'}",
            hint="what failed is listed above; --args 'tests/ui -x' runs a part and stops early",
        )


def _checkout() -> Path:
    package = Path(biso_tasks.__file__).resolve().parent
    root = package.parent
    if not (root / "tests").is_dir() or not (root / "pyproject.toml").is_file():
        raise UsageError(
            f"the installed package ({package}) comes without its tests",
            hint="run ./biso test in a checkout of the repository",
        )
    return root


def _parallel(own: list[str]) -> list[str]:
    """One more than there are cores, where pytest-xdist is there and nothing speaks against it:
    much of the time is spent waiting for servers and programs that were started. A few tests take
    a hundred times as long as the others: who has nothing left takes from whoever has."""
    apart = ("-n", "--numprocesses", "--dist", "--pdb", "--trace", "--collect-only", "--co", "-s")
    if find_spec("xdist") is None or "no:xdist" in " ".join(own):
        return []
    if any(word.startswith(apart) for word in own):
        return []
    return ["-n", str(_cores() + 1), "--dist=worksteal"]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _colour(call: Call) -> list[str]:
    """pytest sees a pipe, so that it is told where colours can be shown."""
    shown = sys.stdout.isatty() and not call.output.as_json and "NO_COLOR" not in os.environ
    return ["--color=yes"] if shown else []


def _run(words: list[str], root: Path) -> tuple[int, str]:
    """The exit code and the end of what it printed; all of it is shown as it comes. (With --json,
    our stdout leads to stderr.)"""
    # The tests build sites of their own: none of them may meet the user's. They start our program a
    # thousand times: its bytecode is kept.
    apart = ("BISO_CONFIG", "PYTHONDONTWRITEBYTECODE")
    environment = {key: value for key, value in os.environ.items() if key not in apart}
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    tail = ""
    sys.stdout.flush()
    with subprocess.Popen(
        words, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        assert child.stdout is not None
        try:
            while data := os.read(child.stdout.fileno(), 65536):
                text = decoder.decode(data)
                sys.stdout.write(text)
                sys.stdout.flush()
                tail = (tail + text)[-_KEPT:]
            return child.wait(), tail
        except KeyboardInterrupt:
            # The terminal has told pytest as well; it takes down what its tests started.
            child.wait()
            raise Interrupted("the tests were interrupted") from None


def _closing(tail: str) -> str:
    """pytest's last line: "12 passed, 1 skipped in 3.21s"."""
    for line in reversed(_ANSI.sub("", tail).splitlines()):
        if found := _COUNTS.fullmatch(line.strip()):
            return found[1]
    return ""
