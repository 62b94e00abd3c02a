"""`biso test`: what it starts, what it shows, how it ends. pytest is real, its suites are small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import biso_tasks
from biso_tasks.cli import selftest as module
from biso_tasks.cli.call import Options, run_command
from biso_tasks.cli.selftest import selftest

PASSES = "def test_that_passes():\n    assert True\n"
FAILS = "def test_that_fails():\n    assert 1 == 2\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a suite of its own."""
    package = tmp_path / "biso_tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    (tmp_path / "tests").mkdir()
    monkeypatch.setattr(biso_tasks, "__file__", str(package / "__init__.py"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def run(args: str = "", **options: bool) -> int:
    return run_command("test", Options(**options), lambda call: selftest(call, args))


def test_the_closing_line_of_pytest_reaches_the_terminal(checkout, capfd):
    (checkout / "tests/test_a.py").write_text(PASSES)
    assert run() == 0
    out, _ = capfd.readouterr()
    assert "1 passed in" in out.splitlines()[-1]


def test_tests_that_fail_end_with_1_and_the_counts(checkout, capfd):
    (checkout / "tests/test_a.py").write_text(PASSES + FAILS)
    assert run() == 1
    out, err = capfd.readouterr()
    assert "1 failed, 1 passed in" in out.splitlines()[-1]
    assert "error: the tests did not pass: 1 failed, 1 passed in" in err


def test_with_json_the_document_is_alone_on_stdout(checkout):
    (checkout / "tests/test_a.py").write_text(PASSES)
    # A process of its own: --json points descriptor 1 away, and pytest holds ours.
    code = (
        "import sys, biso_tasks; biso_tasks.__file__ = sys.argv[1]\n"
        "from biso_tasks.cli.call import Options, run_command\n"
        "from biso_tasks.cli.selftest import selftest\n"
        "sys.exit(run_command('test', Options(json=True), lambda call: selftest(call, '')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, checkout / "biso_tasks/__init__.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert '"tests": "1 passed in' in done.stdout
    assert "1 passed in" in done.stderr


def test_arguments_are_split_as_a_shell_would(checkout, capfd):
    (checkout / "tests/test_a.py").write_text(PASSES + FAILS)
    assert run("-n 0 -k 'passes and not fails'") == 0
    assert "1 passed, 1 deselected" in capfd.readouterr()[0]


def test_the_programs_that_tests_start_find_their_bytecode(checkout, capfd, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (checkout / "tests/test_a.py").write_text(
        "import os\n\n\ndef test_a():\n    assert 'PYTHONDONTWRITEBYTECODE' not in os.environ\n"
    )
    assert run() == 0


def test_no_test_at_all_is_a_failure(checkout, capfd):
    assert run() == 1
    assert "no tests ran" in capfd.readouterr()[1]


def test_quotes_that_are_not_closed_are_a_usage_error(checkout, capfd):
    assert run("-k 'open") == 2
    assert "close the quotes" in capfd.readouterr()[1]


def test_ci_reaches_the_tests_and_the_site_of_the_user_does_not(checkout, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("BISO_CONFIG", "/srv/site/biso.toml")
    (checkout / "tests/test_a.py").write_text(
        "import os\n\ndef test_environment():\n"
        "    assert os.environ['CI'] == 'true'\n    assert 'BISO_CONFIG' not in os.environ\n"
    )
    assert run() == 0


def test_an_installed_package_says_that_it_has_no_tests(tmp_path, monkeypatch, capfd):
    package = tmp_path / "site-packages/biso_tasks"
    package.mkdir(parents=True)
    # Somebody else's tests beside it are not ours.
    (package.parent / "tests").mkdir()
    monkeypatch.setattr(biso_tasks, "__file__", str(package / "__init__.py"))
    assert run() == 2
    assert "comes without its tests" in capfd.readouterr()[1]


def test_a_missing_pytest_is_named_with_what_installs_it(checkout, monkeypatch, capfd):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert run() == 2
    assert "./biso test" in capfd.readouterr()[1]


@pytest.mark.parametrize("own", [["-n", "4"], ["-n0"], ["--pdb"], ["-p", "no:xdist"], ["-s"]])
def test_two_processes_are_not_forced_on_whoever_asks_otherwise(own):
    assert module._parallel(own) == []


def test_two_processes_where_xdist_is_there(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    workers = ["-n", str(module._cores() + 1), "--dist=worksteal"]
    assert module._parallel(["tests/ui"]) == workers
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert module._parallel(["tests/ui"]) == []


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("==== 3 passed, 1 skipped in 1.20s ====\n", "3 passed, 1 skipped in 1.20s"),
        ("\x1b[32m== \x1b[1m12 passed\x1b[0m in 75.10s (0:01:15) ==\x1b[0m\n",
         "12 passed in 75.10s (0:01:15)"),
        ("1 failed in 0.10s\n", "1 failed in 0.10s"),
        ("==== no tests ran in 0.01s ====\n", "no tests ran in 0.01s"),
        ("INTERNALERROR> 12\n", ""),
    ],
)  # fmt: skip
def test_the_closing_line_is_found_in_every_dress(text, closing):
    assert module._closing(text) == closing


def test_this_checkout_is_found():
    assert (module._checkout() / "tests/cli" / Path(__file__).name).exists()
    assert module._checkout().samefile(Path(__file__).parents[2])
