"""A page's transcript: each command is run at a terminal, and what it shows is compared with what
is printed there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BISO = (sys.executable, "-P", "-m", "biso_tasks.cli.main")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Command:
    """`shown`: the lines that must come, in this order; `typed`: what is answered."""

    words: tuple[str, ...]
    shown: tuple[str, ...]
    typed: str


def transcript(text: str) -> list[Command]:
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            first, *lines = part.splitlines()
            typed = "".join(f"{line[2:]}\n" for line in lines if line.startswith("> "))
            shown = [line for line in lines if line != "…" and not line.startswith("> ")]
            found.append(Command(tuple(first.split()), tuple(shown), typed))
    return found


def pattern(line: str) -> re.Pattern[str]:
    """The line with any numbers, however it was wrapped. What stands behind its end is not
    told."""
    words = [
        re.sub(r"\\?\d(?:\d|\\?[.,])*", lambda _: r"[0-9.,]+", re.escape(word))
        for word in line.split()
    ]
    return re.compile(r"\s+".join(words))


def at_a_terminal(
    words: Sequence[str], typed: str, cwd: Path, env: Mapping[str, str], code: int = 0
) -> str:
    """What it prints; it ends with `code`."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
                if typed and b"To go on, type" in said:
                    os.write(ours, typed.encode())
                    typed = ""
        except OSError:  # what Linux says of a terminal that nobody holds any more
            pass
        finally:
            os.close(ours)
    text = _ESCAPES.sub("", said.decode()).replace("\r", "\n")
    assert run.returncode == code, text
    return text


def follow(one: Command, here: Callable[[str], str], cwd: Path, env: Mapping[str, str]) -> None:
    """Run it, in the words of this machine by `here`: it ends with 0, and shows its lines in this
    order."""
    program, *rest = one.words
    words = [*(BISO if program == "biso" else (program,)), *map(here, rest)]
    said = at_a_terminal(words, one.typed, cwd, env)
    at = 0
    for line in one.shown:
        wanted = here(line)
        if os.geteuid() != 0:
            wanted = wanted.replace("as root", "as")
        found = pattern(wanted).search(said, at)
        assert found, f"{' '.join(one.words)}: not shown: {wanted!r}\n{said}"
        at = found.end()


def without_services(tools: Path) -> None:
    """Programs to stand first on a PATH: this machine's own services are nobody's business."""
    tools.mkdir()
    for name in ("systemctl", "docker"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
