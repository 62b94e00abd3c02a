"""Completion: what may follow, and each shell's own machinery asking for it."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = """\
[site]
name = "x"
[environments.prod]
role = "production"
webroot = "/srv/x"
[environments.kanton-test]
role = "test"
webroot = "/srv/t"
[refresh]
to = "kanton-test"
[recipes.night-watch]
[[recipes.night-watch.step]]
name = "disk"
on = "prod"
run = ["df"]
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a site and with the program, by a name with a space."""
    folder = tmp_path / "a site"
    folder.mkdir()
    (folder / "biso.toml").write_text(SITE)
    program = folder / "biso"
    words = f'{shlex.quote(sys.executable)} -P -m biso_tasks.cli.main "$@"'
    program.write_text(f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {words}\n")
    program.chmod(0o755)
    return folder


def environment(here: Path) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("LANG", "LD_LIBRARY_PATH") if key in os.environ}
    paths = f"{here}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": paths, "HOME": str(here), "TERM": "dumb"}


def run(here: Path, *words: str) -> str:
    done = subprocess.run(
        words, cwd=here, env=environment(here), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def script(here: Path, shell: str) -> Path:
    path = here / f"completion.{shell}"
    path.write_text(run(here, "./biso", "--print-completion-script", shell))
    return path


CASES = [
    (["rollb"], ["rollback"]),
    (["night"], ["night-watch"]),  # the site's own
    (["--versi"], ["--version"]),
    (["rollback", "--e"], ["--env"]),
    (["refresh-test", "--no"], ["--no-anonymize"]),
    (["refresh-test", "--to", "kan"], ["kanton-test"]),
    (["refresh-test", "--plan", "--from", ""], ["kanton-test", "prod"]),
    (["refresh-test", "--source", "l"], ["latest", "live"]),
    (["verify", "--on", "rollback"], []),
    (["restore", "la"], []),  # a set, which only its host knows
    (["--help", "rollb"], ["rollback"]),
    (["--print-completion-script", ""], ["bash", "fish", "zsh"]),
    (["--", "'"], []),
]


@pytest.mark.parametrize(("words", "found"), CASES, ids=lambda one: " ".join(one))
def test_the_program_says_what_may_follow(here: Path, words: list[str], found: list[str]) -> None:
    assert sorted(run(here, "./biso", "--complete", "--", *words).split()) == found


@pytest.mark.parametrize("words", [["--to=k"], ["--to", "=", "k"]])
def test_a_value_may_stand_behind_an_equals_sign(here: Path, words: list[str]) -> None:
    found = run(here, "./biso", "--complete", "--", "refresh-test", *words)
    assert found.strip().removeprefix("--to=") == "kanton-test"


def test_a_broken_biso_toml_costs_only_what_it_declares(here: Path) -> None:
    (here / "biso.toml").write_text("[site")
    assert run(here, "./biso", "--complete", "--", "rollb") == "rollback\n"
    assert run(here, "./biso", "--complete", "--", "rollback", "--env", "") == ""


def test_another_shell_is_refused_with_those_that_there_are(here: Path) -> None:
    done = subprocess.run(
        ["./biso", "--print-completion-script", "csh"],
        cwd=here, env=environment(here), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "no completion for 'csh': there are bash, fish, zsh" in done.stderr


# -- the shells --


def typed(here: Path, argv: list[str], start: str, keys: str, wanted: str) -> str:
    """What an interactive shell shows once `keys` were pressed, up to `wanted` or 20 seconds."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(here)
        os.execvpe(argv[0], argv, environment(here))
    shown = ""
    try:
        for text, until in ((f"{start}; echo re''ady\n", "ready"), (keys, wanted)):
            os.write(terminal, text.encode())
            begun, end = len(shown), time.monotonic() + 20
            while until not in shown[begun:] and time.monotonic() < end:
                if select.select([terminal], [], [], 0.2)[0]:
                    shown += os.read(terminal, 4096).decode(errors="replace")
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return shown


KEYS = [
    ("biso nigh\t", "night-watch "),
    ("./biso refresh-test --no\t", "--no-anonymize "),
    ("~/biso refresh-test --to kan\t", "--to kanton-test "),
    ("biso refresh-test --to=kan\t", "--to=kanton-test "),
    ("./biso plugin-new biso.t\t", "biso.toml "),
]


@pytest.mark.parametrize(
    "argv",
    [["bash", "--norc", "-i"], pytest.param(["zsh", "-f", "-i"], marks=pytest.mark.needs("zsh"))],
    ids=lambda argv: argv[0],
)
@pytest.mark.parametrize(("keys", "wanted"), KEYS)
def test_the_tab_key(here: Path, argv: list[str], keys: str, wanted: str) -> None:
    source = f"source {shlex.quote(str(script(here, argv[0])))}"
    shown = typed(here, argv, source, keys, wanted)
    assert wanted in shown, shown


@pytest.mark.needs("fish")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("./biso rollb", ["rollback"]),
        ("biso refresh-test --to ", ["kanton-test", "prod"]),
        ("~/biso refresh-test --to=k", ["--to=kanton-test"]),
        ("biso plugin-new biso.t", ["biso.toml"]),
    ],
)
def test_the_function_of_fish(here: Path, line: str, found: list[str]) -> None:
    asked = f"source {shlex.quote(str(script(here, 'fish')))}; complete -C {shlex.quote(line)}"
    said = run(here, "fish", "--no-config", "-c", asked)
    assert sorted(one.split("\t")[0] for one in said.splitlines()) == found
