"""The tasks as people call them: `invoke` and `biso`, exit codes, JSON and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = """
[environments.prod]
role = "production"
webroot = "/nowhere/prod"
[environments.test]
role = "test"
webroot = "/nowhere/test"
[recipes.nightly-check]
help = "What the night shift looks at"
[[recipes.nightly-check.step]]
name = "say"
on = "test"
run = ["echo", "all is well"]
"""
TASKS = (
    "refresh-test", "rollback", "recover", "anonymize", "doctor", "init", "runs", "report",
    "plugins", "hooks", "demo", "test", "backup", "list", "show", "pin", "unpin", "verify",
    "restore", "baseline", "reset-test", "release", "prune", "schedule", "bench",
    "plugin-new",
)  # fmt: skip


def run(
    folder: Path,
    *words: str,
    program: tuple[str, ...] = ("-m", "biso_tasks.cli.main"),
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    for name in ("BISO_CONFIG", "PYTHONDONTWRITEBYTECODE"):
        own.pop(name, None)
    return subprocess.run(
        [sys.executable, *program, *words],
        cwd=folder,
        env={**own, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "biso.toml").write_text(SITE)
    (tmp_path / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    return tmp_path


@pytest.mark.parametrize("program", [("-m", "biso_tasks.cli.main"), ("-m", "invoke")])
def test_the_list_shows_every_task_and_the_sites_recipes_with_a_description(
    site: Path, program: tuple[str, ...]
) -> None:
    done = run(site, "--list", program=program)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for task in (*TASKS, "nightly-check"):
        assert len(lines[task].split()) > 2, task
    assert "What the night shift looks at" in done.stdout


@pytest.mark.parametrize("unwanted", [False, True])
def test_what_a_task_imports_is_compiled_once_and_not_at_each_start(
    tmp_path: Path, unwanted: bool
) -> None:
    """invoke turns that off; whoever does not want it has Python's own switch."""
    kept = tmp_path / "kept"
    switch = {"PYTHONDONTWRITEBYTECODE": "1"} if unwanted else {}
    run(tmp_path, "runs", environment={"PYTHONPYCACHEPREFIX": str(kept), **switch})
    assert bool(list(kept.rglob("commands.*.pyc"))) is not unwanted


def test_a_broken_config_still_lists_the_tasks_and_says_what_is_wrong(site: Path) -> None:
    (site / "biso.toml").write_text(SITE.replace('"production"', '"prodction"') + "\n[refrsh]\n")
    done = run(site, "--list")
    assert done.returncode == 0
    assert "refresh-test" in done.stdout
    assert "biso.toml:3: environments.prod.role" in done.stderr
    assert "refrsh" in done.stderr
    wanted = run(site, "refresh-test", "--json")
    assert wanted.returncode == 2
    document = json.loads(wanted.stdout)
    assert document["exit_code"] == 2
    assert document["error"]["kind"] == "config"
    assert document["error"]["message"].count("biso.toml:") == 2


def test_a_recipe_of_the_site_is_a_task_with_a_plan(site: Path) -> None:
    planned = run(site, "nightly-check", "--plan", "--json")
    assert planned.returncode == 0, planned.stderr
    (step,) = json.loads(planned.stdout)["plan"]
    assert step == {
        "name": "say", "on": "test", "uses": "", "needs": [],
        "changes": ["runs echo 'all is well'"], "destroys": [],
    }  # fmt: skip
    assert not (site / ".biso").exists(), "a plan changes nothing"
    done = run(site, "nightly-check", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [(one["name"], one["status"]) for one in document["steps"]] == [("say", "ok")]
    listed = json.loads(run(site, "runs", "--json").stdout)
    assert [one["task"] for one in listed["runs"]] == ["nightly-check"]


def test_whatever_a_plugin_prints_stdout_holds_the_document_only(site: Path) -> None:
    (site / "plugins").mkdir()
    (site / "plugins" / "noisy.py").write_text(
        "import os\n"
        "from biso_tasks.api import hookimpl\n"
        "print('imported')\n"
        "@hookimpl\n"
        "def biso_before_step(step):\n"
        "    print('before', step.name)\n"
        "    os.system('echo from a child process')\n"
    )
    done = run(site, "nightly-check", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    assert "imported" in done.stderr
    assert "from a child process" in done.stderr


def test_an_observer_that_fails_costs_75_and_not_the_run(site: Path) -> None:
    (site / "plugins").mkdir()
    (site / "plugins" / "bad.py").write_text(
        "from biso_tasks.api import hookimpl\n"
        "@hookimpl\n"
        "def biso_run_finished(report):\n"
        "    raise RuntimeError('no mail today')\n"
    )
    done = run(site, "nightly-check", "--json")
    assert done.returncode == 75
    document = json.loads(done.stdout)
    assert document["steps"][0]["status"] == "ok"
    assert "no mail today" in document["error"]["message"]


def test_a_step_that_fails_is_1_and_a_wrong_command_line_2(site: Path) -> None:
    text = SITE.replace('["echo", "all is well"]', '["false"]')
    (site / "biso.toml").write_text(text)
    assert run(site, "nightly-check").returncode == 1
    assert run(site, "nightly-check", "--nonsense").returncode == 2
    assert run(site, "no-such-task").returncode == 2


def test_without_a_site_it_says_where_to_begin(tmp_path: Path) -> None:
    done = run(tmp_path, "refresh-test")
    assert done.returncode == 2
    assert "there is no biso.toml here or above" in done.stderr
    assert "biso init" in done.stderr


def test_production_is_never_a_target_and_nothing_is_contacted(site: Path) -> None:
    for words in (
        ("refresh-test", "--to", "prod", "--yes"),
        ("refresh-test", "--from", "test", "--to", "prod", "--yes", "--confirm", "prod"),
        ("anonymize", "--env", "prod", "--yes", "--confirm", "prod"),
        ("rollback", "--env", "prod", "--yes"),
        ("restore", "latest", "--to", "prod", "--yes"),
        ("restore", "latest", "--to", "prod", "--yes", "--confirm", "test"),
    ):
        done = run(site, *words, "--json")
        assert done.returncode == 3, (words, done.stderr)
        assert json.loads(done.stdout)["error"]["kind"] == "refused"
        assert "production environment" in done.stderr or '"prod"' in done.stderr


NOISY_EARLY = """
import os
from biso_tasks.api import RecipeText, hookimpl
os.write(1, b"imported\\n")

@hookimpl
def biso_recipes(site):
    os.system("echo from a child process")
    text = 'name = "of-a-plugin"\\n[[steps]]\\nname = "a"\\non = "test"\\nrun = ["true"]\\n'
    return [RecipeText(text, "noisy.py")]
"""


@pytest.mark.parametrize("program", [("-m", "biso_tasks.cli.main"), ("-m", "invoke")])
def test_a_plugin_that_writes_past_python_before_the_task_is_known_stays_off_stdout(
    site: Path, program: tuple[str, ...]
) -> None:
    (site / "plugins").mkdir()
    (site / "plugins/noisy.py").write_text(NOISY_EARLY)
    done = run(site, "of-a-plugin", "--json", program=program)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] == "of-a-plugin"
    for noise in ("imported", "from a child process"):
        assert noise in done.stderr


def test_what_a_plugin_says_at_the_very_end_comes_to_stderr_too(site: Path) -> None:
    (site / "plugins").mkdir()
    (site / "plugins/late.py").write_text(
        "import atexit, os\natexit.register(os.write, 1, b'good bye')\n"
        "atexit.register(print, 'and farewell')\n"
    )
    done = run(site, "nightly-check", "--json")
    assert json.loads(done.stdout)["ok"]
    assert "good bye" in done.stderr and "and farewell" in done.stderr


@pytest.mark.parametrize(
    "hook", ["biso_recipes(site):\n    return [RecipeText(5, 'x')]", "biso_recipes(site):\n    1/0"]
)
def test_a_plugin_with_broken_recipes_costs_only_the_tasks_that_need_plugins(
    site: Path, hook: str
) -> None:
    (site / "plugins").mkdir()
    (site / "plugins/bad.py").write_text(
        f"from biso_tasks.api import RecipeText, hookimpl\n@hookimpl\ndef {hook}\n"
    )
    assert run(site, "--list").returncode == 0
    done = run(site, "nightly-check", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["kind"] in ("plugin", "defect")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_nothing(site: Path) -> None:
    for words in ("hooks", "hooks --json", "nightly-check --plan", "nightly-check --json"):
        program = f"{sys.executable} -m biso_tasks.cli.main {words}"
        script = f"{program} | true; echo ${{PIPESTATUS[0]}}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "-c", script], cwd=site, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (words, done.stdout.split()[-1]) == (words, "0"), done.stderr
        assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
