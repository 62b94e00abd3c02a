"""Recipes of a site's own: what has to be typed first, and how they hold an environment."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.actions.recipes import read_book
from biso_tasks.cli import commands
from biso_tasks.cli.site import find_site, load_hooks
from biso_tasks.demo.php import install_php

ROOT = Path(__file__).parents[2]
SITE = """\
[environments.prod]
role = "production"
webroot = "/nowhere/prod"
[environments.test]
role = "test"
webroot = "{webroot}"
php = ["{php}"]
"""
STEP = '[[recipes.nightly.step]]\nname = "{name}"\non = "{on}"\nrun = ["touch", "{file}"]\n'

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BISO_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def run(site: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(code: int, **options: Any) -> dict[str, Any]:
        given = {"recipe": "nightly", "json": True, **options}
        got = commands.run("recipe", given)
        document: dict[str, Any] = json.loads(capfd.readouterr().out)
        assert got == code, document["error"]
        return document

    return call


def write(site: Path, text: str, *steps: tuple[str, str], more: str = "") -> Path:
    """The recipe with a step for each name and environment; what it does, each leaves a file."""
    text = SITE.format(webroot="/nowhere/test", php="php") + "[recipes.nightly]\n" + text
    for name, on in steps:
        text += STEP.format(name=name, on=on, file=site / f"did-{name}") + more
    (site / "biso.toml").write_text(text)
    return site / f"did-{steps[0][0]}"


@pytest.mark.parametrize(
    ("text", "more"), [('confirm = "test"\n', ""), ("", 'confirm = "test"\n')], ids=["all", "step"]
)
def test_a_name_that_is_to_be_typed_is_asked_for(
    site: Path, run: Run, text: str, more: str
) -> None:
    did = write(site, text, ("one", "test"), more=more)
    assert run(0, plan=True)["plan"][0]["name"] == "one"
    error = run(3)["error"]
    assert "was not confirmed, and there is no terminal" in error["message"]
    assert "--yes" in error["hint"]
    assert "--confirm test" in run(3, confirm="prod", yes=True)["error"]["hint"]
    assert not did.exists() and not (site / ".biso").exists()
    run(0, yes=True)
    did.unlink()
    run(0, confirm="test")
    assert did.exists()


def test_into_production_yes_is_not_enough(site: Path, run: Run) -> None:
    did = write(site, "", ("one", "test"), ("two", "prod"), more='confirm = "prod"\n')
    assert "--confirm prod" in run(3, yes=True)["error"]["hint"]
    assert not did.exists(), "not even the step before is run"
    run(0, confirm="prod")
    assert did.exists()


def test_each_name_is_asked_for_once(site: Path, run: Run) -> None:
    write(site, 'confirm = "test"\n', ("one", "prod"), ("two", "prod"), more='confirm = "prod"\n')
    assert "test was not confirmed" in run(3, confirm="prod")["error"]["message"]
    assert "--confirm prod" in run(3, confirm="test", yes=True)["error"]["hint"]
    run(0, confirm="prod", yes=True)


def test_a_command_on_production_that_says_nothing_asks_nothing(site: Path, run: Run) -> None:
    """Whether it only looks is known to who wrote it."""
    did = write(site, "", ("one", "prod"))
    run(0)
    assert did.exists()


def test_what_a_built_in_recipe_asks_for_is_not_replaced(site: Path) -> None:
    write(site, "", ("one", "test"))
    with (site / "biso.toml").open("a") as file:
        file.write('[recipes.backup]\nconfirm = "prod"\n[recipes.rollback]\nconfirm = "prod"\n')
    book = read_book(find_site(), load_hooks(find_site()))
    assert book.recipes["backup"].confirm == ("prod",)
    assert book.recipes["rollback"].confirm == ("target", "prod")


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"test\n", 0, b"one"),
        (b"tset\n", 3, b'"tset" was typed, not "test"'),
        (b"\n", 3, b"no name was typed"),
        (b"\x04", 3, b"no name was typed"),
        (b"\x03", 130, b"interrupted at the question"),
    ],
)
def test_on_a_terminal_the_name_is_typed(site: Path, typed: bytes, code: int, said: bytes) -> None:
    did = write(site, 'confirm = "test"\n', ("one", "test"))
    ended, shown = on_a_terminal(site, "nightly", typed=typed)
    assert ended == code, shown.decode()
    assert said in shown
    assert did.exists() is (code == 0)


def on_a_terminal(site: Path, *words: str, typed: bytes) -> tuple[int, bytes]:
    """Run it on a terminal of its own and type once it asks; exit code and all that was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        os.chdir(site)
        os.execv(sys.executable, [sys.executable, "-m", "biso_tasks.cli.main", *words])
    shown, asked = b"", False
    while True:
        if asked and typed.endswith(b"\x03") and not select.select([terminal], [], [], 1)[0]:
            # Pressed between the prompt and the wait for an answer, it is heard with the next one.
            os.write(terminal, b"\x03")
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # what Linux says at the end of a terminal
            data = b""
        if not data:
            break
        shown += data
        if not asked and b"type the name of" in shown and shown.rstrip().endswith(b">"):
            asked = True
            os.write(terminal, typed)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


# -- holding an environment --


HELD = """
[[recipes.nightly.step]]
name = "lock"
uses = "lock"
on = "test"
[[recipes.nightly.step]]
name = "guard"
uses = "guard"
on = "test"
[[recipes.nightly.step]]
name = "look"
on = "test"
run = ["bash", "{script}"]
"""
LET_GO = '[[recipes.nightly.step]]\nname = "unlock"\nuses = "unlock"\non = "test"\nalways = true\n'


@pytest.mark.real
@pytest.mark.needs("php")
@pytest.mark.parametrize("unlock", [LET_GO, ""], ids=["unlock", "forgotten"])
def test_a_recipe_of_ones_own_can_hold_an_environment(
    site: Path, run: Run, tmp_path: Path, unlock: str
) -> None:
    webroot, script = tmp_path / "web", tmp_path / "script"
    (webroot / "data").mkdir(parents=True)
    (webroot / "config.php").write_text(
        "<?php Config::set('env', 'dev'); Config::set('datadir', __DIR__ . '/data');"
        "Config::set('gaia.db', ['dbname' => 'x', 'user' => 'x', 'host' => 'h']);"
    )
    php = install_php(tmp_path / "lib", tmp_path / "bin")
    (site / "biso.toml").write_text(
        SITE.format(webroot=webroot, php=php) + HELD.format(script=script) + unlock
    )
    stage = tmp_path / ".biso-tasks-web"
    inner = f"{sys.executable} -m biso_tasks.cli.main nightly --json"
    script.write_text(
        f"set -e; cat {stage}/owner > {tmp_path}/owner\n"
        f"if [ -z $INNER ]; then INNER=1 PYTHONPATH={ROOT} {inner} > {tmp_path}/second; "
        "[ $? = 5 ]; fi\n".replace("set -e; ", "")
    )
    assert [one["uses"] for one in run(0, plan=True)["plan"]][:2] == ["lock", "guard"]
    assert not stage.exists(), "a plan changes nothing"
    document = run(0)
    assert json.loads((tmp_path / "owner").read_text())["run"] == document["run"]
    second = json.loads((tmp_path / "second").read_text())
    assert (second["exit_code"], second["error"]["kind"]) == (5, "locked")
    assert document["run"] in second["error"]["message"]

    script.write_text("exit 1")
    run(1)
    script.write_text("exit 0")
    run(0)
    left = subprocess.run(["ls", "-A", stage], capture_output=True, check=False).stdout
    assert left == b""
